"""What stages refuse to work on: rows of two splits that share an asset, a group or an ancestor, copies outside train.

A model that was measured on what it learned from looks better than it is, and nothing else shows it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import StageRefused, listed
from datapin.base.id_columns import IdMatrix, arrow_numbers, ids_from_hex, numbers
from datapin.manifest.columns.columns import flags, one_array, shown
from datapin.pipeline.operators.partners import PARTNER
from datapin.pipeline.operators.recipe import TRAIN
from datapin.pipeline.splits.crossing import Codes, Crossings, Mask, NamedCodes, crossings, id_codes, named

LEAK_COLUMNS = ("key", "asset_id", "split", "group", "parent", "parent_id", PARTNER)
SPLIT_NAMES = ("train", "val", "test")
_MOST_NAMED = 5


_Leak = tuple[str, str]  # what is wrong, and what to do


def leak_columns(names: Collection[str]) -> list[str]:
    """Which of a manifest's columns `refuse_leaks` reads."""
    return [name for name in LEAK_COLUMNS if name in names]


def refuse_leaks(stage: str, dataset: str, table: pa.Table, *, may_be_augmented: Collection[str] = ("train",)) -> None:
    """Raise StageRefused if rows of two splits are related, or augmented rows lie outside `may_be_augmented`.

    `table` has the columns that `leak_columns` names; one without splits has nothing to leak.
    """
    if "split" not in table.column_names or not table.num_rows:
        return
    for problem, advice in _leaks(dataset, table, may_be_augmented):
        raise StageRefused(stage, problem, advice)


def is_augmented(table: pa.Table) -> Mask:
    """Which rows are copies made of other rows. A prepared row keeps its key, also where its asset was made anew."""
    if "parent" not in table.column_names:
        return np.zeros(table.num_rows, dtype=np.bool_)
    return flags(pc.fill_null(pc.not_equal(one_array(table["parent"]), one_array(table["key"])), False))


def own_train_assets(table: pa.Table) -> IdMatrix:
    """The assets that copies may take something from, uint8 [n, 32]: those of train rows that are no copies."""
    is_train = flags(pc.fill_null(pc.equal(one_array(table["split"]), TRAIN), False))
    return ids_from_hex(one_array(table["asset_id"]).filter(pa.array(is_train & ~is_augmented(table))))


def lookalikes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Names of splits that only differ from another one, or from a usual one, in case, spaces or their code points."""
    given = list(dict.fromkeys(names))
    plain = {_plain(name): name for name in reversed([*SPLIT_NAMES, *given]) if name == _plain(name)}
    first: dict[str, str] = {}
    for name in given:
        first.setdefault(_plain(name), name)
    twins = [(name, plain.get(_plain(name), first[_plain(name)])) for name in given]
    return [(name, other) for name, other in twins if name != other]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _leaks(dataset: str, table: pa.Table, may_be_augmented: Collection[str]) -> Iterator[_Leak]:
    keys, splits = one_array(table["key"]), named(table["split"])
    for name, other in lookalikes(splits.names):
        yield f"{dataset}: the split {shown(name)} reads like {shown(other)}", _EDITED
    copies = is_augmented(table)
    outside = np.flatnonzero(copies & ~_in(splits, may_be_augmented))
    if len(outside):
        problem = f"{dataset}: {len(outside)} augmented row(s) are not in train: {_rows(keys, splits, outside)}"
        yield problem, _EDITED
    if copies.any():
        yield from _strange_parents(dataset, table, keys, splits, copies)
    assets = ids_from_hex(table["asset_id"])
    count = table.num_rows
    # A row is its asset, and the assets that it was made from.
    ids, rows = assets, np.arange(count)
    for name in ("parent_id", PARTNER):
        if name in table.column_names and copies.any():
            has_one = np.flatnonzero(flags(one_array(table[name]).is_valid()) & copies)
            parents = ids_from_hex(one_array(table[name]).take(arrow_numbers(has_one)))
            ids, rows = np.concatenate([ids, parents]), np.concatenate([rows, has_one])
    yield from _shared(dataset, "asset", keys, splits, crossings(id_codes(ids), splits.codes[rows]), rows)
    if "group" in table.column_names:
        yield from _shared(dataset, "group", keys, splits, crossings(named(table["group"]).codes, splits.codes))


def _strange_parents(
    dataset: str, table: pa.Table, keys: pa.Array, splits: NamedCodes, copies: Mask
) -> Iterator[_Leak]:
    rows = np.flatnonzero(copies)
    parents = numbers(pc.index_in(one_array(table["parent"]).take(arrow_numbers(rows)), value_set=keys).fill_null(-1))
    known = parents >= 0
    odd = rows[known][splits.codes[rows[known]] != splits.codes[parents[known]]]
    if len(odd):
        problem = f"{dataset}: {len(odd)} row(s) are in another split than their parent: {_rows(keys, splits, odd)}"
        yield problem, _EDITED


def _shared(
    dataset: str, what: str, keys: pa.Array, splits: NamedCodes, found: Crossings, rows: Codes | None = None
) -> Iterator[_Leak]:
    if not found.things:
        return
    pairs = found.pairs if rows is None else [(int(rows[one]), int(rows[other])) for one, other in found.pairs]
    texts = [f"{_row(keys, splits, one)} and {_row(keys, splits, other)}" for one, other in pairs[:_MOST_NAMED]]
    texts += [""] * (found.things - len(texts))  # counted, not named
    problem = f"{dataset}: {found.things} {what}(s) are in two splits: {listed(texts, _MOST_NAMED)}"
    yield problem, "run `dvc repro prepare`, which keeps them together; or remove rows with `datapin remove`"


def _in(splits: NamedCodes, names: Collection[str]) -> Mask:
    wanted = np.array([name in names for name in splits.names] + [False], dtype=np.bool_)
    return wanted[splits.codes]  # a null is -1: the last


def _rows(keys: pa.Array, splits: NamedCodes, rows: Codes) -> str:
    texts = [_row(keys, splits, int(row)) for row in rows[:_MOST_NAMED]]
    return listed(texts + [""] * (len(rows) - len(texts)), _MOST_NAMED)


def _row(keys: pa.Array, splits: NamedCodes, row: int) -> str:
    return f"{keys[row].as_py()} ({splits.at(row)})"


_EDITED = "these rows were edited: run `dvc repro` to make them anew from the stage before"
