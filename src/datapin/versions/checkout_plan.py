"""What a checkout will do to a folder: looked at first, refused or carried out as a whole afterwards."""

from __future__ import annotations

import posixpath
from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import BadRows, listed
from datapin.base.id_columns import IdMatrix, ids_from_hex
from datapin.manifest.columns import arrow_flags, arrow_numbers, flags, is_ascending, numbers
from datapin.manifest.keys import check_keys
from datapin.versions.checkout_early import StartedLook
from datapin.versions.checkout_state import CheckoutState
from datapin.versions.checkout_survey import Present, survey
from datapin.versions.safe_tree import Obstructed, SafeTree


@dataclass(frozen=True, slots=True)
class CheckoutPlan:
    """What a checkout will do. `writes` and `unchanged` are wanted rows, `removals` and `edited` are keys."""

    writes: npt.NDArray[np.int64]
    unchanged: npt.NDArray[np.int64]
    removals: list[str]
    edited: list[str]


@dataclass(frozen=True, slots=True)
class WantedFiles:
    """The files that a folder will hold: keys, checked, and raw ids of their assets [n, 32], aligned."""

    keys: pa.StringArray
    ids: IdMatrix

    @classmethod
    def of_table(cls, table: pa.Table, *, where: str) -> WantedFiles:
        """From columns key and asset_id; `where` is for messages. Raises BadKeys, BadRows."""
        return cls(_checked_keys(table, where), ids_from_hex(table["asset_id"]))


@dataclass(frozen=True, slots=True)
class Look:
    """A folder that was looked at for the files `wanted`: what lies there, and what a checkout would do."""

    wanted: WantedFiles
    present: Present
    plan: CheckoutPlan

    def is_still(self, tree: SafeTree) -> bool:
        """Whether what the checkout will touch is as it was when it was looked at."""
        present, keys = self.present, self.wanted.keys
        others = np.flatnonzero(~_same(self.wanted.ids, present))
        is_new = np.ones(len(keys), np.bool_)
        is_new[present.rows[present.rows >= 0]] = False
        names = [*present.keys.take(arrow_numbers(others)).to_pylist(), *keys.filter(arrow_flags(is_new)).to_pylist()]
        expected = [*map(tuple, present.stats[others].tolist()), *[None] * int(is_new.sum())]
        try:
            return all(tree.stat_row(key) == stats for key, stats in zip(names, expected, strict=True))
        except Obstructed:
            return False


def look(
    tree: SafeTree, known: CheckoutState, wanted: WantedFiles, *, force: bool, started: StartedLook | None = None
) -> Look:
    """Look at the open folder, of which `known` is the state; `started` as in `survey`. Raises OSError."""
    present = survey(tree, known, wanted.keys, force=force, started=started)
    plan = plan_checkout(wanted.ids, present, _written_before(known, present, wanted.ids), force=force)
    return Look(wanted, present, plan)


def plan_checkout(wanted_ids: IdMatrix, present: Present, ours: Set[tuple[str, bytes]], *, force: bool) -> CheckoutPlan:
    """What to write, to leave, to remove and to refuse; pure.

    `ours` holds (key, raw id) of what earlier checkouts wrote. A file that is neither wanted as it is nor ours as it is
    was edited. With `force` an edited file is overwritten if its key is wanted, and left to the user if not.
    """
    is_wanted = present.rows >= 0
    same = _same(wanted_ids, present)
    to_write = np.ones(len(wanted_ids), np.bool_)
    to_write[present.rows[same]] = False
    removals, edited = [], []
    others = np.flatnonzero(~same)
    for number, key in zip(others.tolist(), present.keys.take(arrow_numbers(others)).to_pylist(), strict=True):
        if (key, present.ids[number].tobytes()) in ours:
            if not is_wanted[number]:
                removals.append(key)
        elif not force:
            edited.append(key)
    return CheckoutPlan(np.flatnonzero(to_write), np.flatnonzero(~to_write), removals, sorted(edited))


def _checked_keys(table: pa.Table, where: str) -> pa.StringArray:
    """The keys, checked again: they come from a file that anybody may have written."""
    keys = table["key"].cast(pa.string()).combine_chunks()
    check_keys(keys, where=where)
    if not is_ascending(keys) and len(keys.unique()) != len(keys):
        raise BadRows(where, "a key appears more than once")
    folders: set[str] = set()
    parts = pc.split_pattern(keys, "/", max_splits=1, reverse=True)
    is_below = arrow_flags(np.diff(numbers(parts.offsets)) > 1)
    for folder in pc.list_element(parts.filter(is_below), 0).unique().to_pylist():
        while folder and folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    both = keys.filter(pc.is_in(keys, value_set=pa.array(sorted(folders), pa.string()))).to_pylist()
    if both:
        raise BadRows(where, f"{len(both)} key(s) are both a file and a folder: {listed(both, 5)}")
    return keys


def _written_before(known: CheckoutState, present: Present, wanted_ids: IdMatrix) -> set[tuple[str, bytes]]:
    """Key and raw id of all that earlier checkouts wrote, or were about to, among the files that are not as wanted."""
    keys = present.keys.filter(arrow_flags(~_same(wanted_ids, present)))
    pairs: set[tuple[str, bytes]] = set()
    for records in (known.records, known.intents):
        rows = np.flatnonzero(flags(pc.is_in(records.keys, value_set=keys)))
        names = records.keys.take(arrow_numbers(rows)).to_pylist()
        pairs.update((name, records.ids[row].tobytes()) for name, row in zip(names, rows, strict=True))
    return pairs


def _same(wanted_ids: IdMatrix, present: Present) -> npt.NDArray[np.bool_]:
    """Which of the files that lie there are wanted as they are."""
    is_wanted: npt.NDArray[np.bool_] = present.rows >= 0
    if not len(wanted_ids):
        return is_wanted
    rows = np.where(is_wanted, present.rows, 0)
    # Eight bytes at a time: three times as fast.
    here, wanted = (np.ascontiguousarray(ids).view(np.uint64) for ids in (present.ids, wanted_ids[rows]))
    same: npt.NDArray[np.bool_] = (here == wanted).all(axis=1)
    return is_wanted & same
