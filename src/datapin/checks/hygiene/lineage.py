"""hygiene: rows and what they were made of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.findings import Finding, Severity
from datapin.base.id_columns import arrow_numbers
from datapin.checks.check import MOST_LISTED, Check
from datapin.checks.hygiene.origins import (
    Ancestors,
    Origin,
    ancestors_of,
    differs,
    fresh_rows,
    gives_splits,
    made_anew,
    origin_of,
    predecessors,
)
from datapin.checks.hygiene.rows import DatasetRows, counted, each_dataset, places_of, rows_of
from datapin.checks.subject import Subject
from datapin.manifest.columns.columns import flags
from datapin.pipeline.operators.partners import PARTNER
from datapin.pipeline.operators.recipe import TRAIN
from datapin.pipeline.splits.crossing import Codes, Mask, crossings, id_codes

PARENT = "hygiene.parent-in-another-split"
ANCESTOR = "hygiene.ancestor-in-two-splits"
OUTSIDE = "hygiene.augmented-outside-train"
MISSING = "hygiene.parent-missing"
MISMATCH = "hygiene.parent-mismatch"
CHANGED = "hygiene.row-changed"


def _parents(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows = rows_of(subject, dataset)
    if rows.splits is None:
        return
    seen = _off_parents(subject, rows)
    first = sorted(seen)[:MOST_LISTED]
    hint = _again(origin_of(subject, dataset))
    findings = [Finding("error", PARENT, rows.where(row), f"in {rows.split_of(row)}{seen[row]}", hint) for row in first]
    yield from counted(findings, len(seen), "rows")


def _off_parents(subject: Subject, rows: DatasetRows) -> dict[int, str]:
    """Rows in another split than what they were made of, and what that is."""

    def find() -> dict[int, str]:
        seen: dict[int, str] = {}
        for other, places, how in _parent_places(subject, rows):
            for row in _in_another_split(rows, other, places):
                seen.setdefault(row, how.format(other.where(int(places[row])), other.split_of(int(places[row]))))
        return seen

    return subject.once(f"hygiene.off-parents:{rows.dataset}", find)


def _in_another_split(rows: DatasetRows, other: DatasetRows, places: Codes) -> list[int]:
    """Rows whose row in the other dataset, of those that are in a split, is in another one."""
    if rows.splits is None or other.splits is None:
        return []
    theirs = rows_in_terms_of(rows, other)[places]
    found: list[int] = np.flatnonzero((places >= 0) & (theirs != -1) & (theirs != rows.splits.codes)).tolist()
    return found


def rows_in_terms_of(rows: DatasetRows, other: DatasetRows) -> Codes:
    """The splits of `other` in the codes of `rows`, -2 for splits that those do not have, then a -1 for no row."""
    assert rows.splits is not None
    assert other.splits is not None
    codes = {name: code for code, name in enumerate(rows.splits.names)}
    table = np.array([*(codes.get(name, -2) for name in other.splits.names), -1], dtype=np.int64)
    return np.append(table[other.splits.codes], -1)


def _parent_places(subject: Subject, rows: DatasetRows) -> Iterator[tuple[DatasetRows, Codes, str]]:
    """Where the predecessors of rows are: by key, by the parent's key, by the parent's asset; -1 for none."""
    origin = origin_of(subject, rows.dataset)
    inputs = origin.inputs if origin is not None and not gives_splits(subject, origin) else ()
    copies = rows.copies.copy()
    for source in inputs:
        before = rows_of(subject, source)
        same, parents = predecessors(subject, rows.dataset, source)
        yield before, same, ", but in the dataset before {} is in {}"
        own = rows.copies & ~_handed_on(subject, rows, source, same)
        copies &= own
        if own.any():
            yield before, np.where(own, parents, -1), ", but its parent {} is in {}"
            yield before, _by_asset(rows, before, own), ", but {} with the asset that it was made from is in {}"
            yield before, _by_asset(rows, before, own, PARTNER), ", but {} with the asset of its partner is in {}"
    column = rows.column("parent")
    if column is not None and copies.any():
        yield rows, np.where(copies, places_of(column, rows.keys), -1), ", but its parent {} is in {}"
        yield rows, _by_asset(rows, rows, copies), ", but {} with the asset that it was made from is in {}"
        yield rows, _by_asset(rows, rows, copies, PARTNER), ", but {} with the asset of its partner is in {}"


def _by_asset(rows: DatasetRows, other: DatasetRows, copies: Mask, name: str = "parent_id") -> Codes:
    """For each of these copies a row of `other` with the asset that it says it was made from."""
    chosen, ids = rows.named_ids(name)
    places = np.full(len(rows), -1, dtype=np.int64)
    is_copy = copies[chosen]
    chosen, ids = chosen[is_copy], ids[is_copy]
    codes = id_codes(np.concatenate([other.ids, ids]))
    first = np.full(int(codes.max(initial=-1)) + 1, -1, dtype=np.int64)
    first[codes[: len(other)][::-1]] = np.arange(len(other))[::-1]
    places[chosen] = first[codes[len(other) :]]
    return places


def _ancestors(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows = rows_of(subject, dataset)
    if rows.splits is None:
        return
    told = np.zeros(len(rows), dtype=np.bool_)  # by the check of parents, or here for a nearer ancestor
    told[list(_off_parents(subject, rows))] = True
    findings: list[Finding] = []
    total = 0
    for line in ancestors_of(subject, dataset):
        before = rows_of(subject, line.dataset)
        if line.hands_on and line.steps > 1:
            off = np.array(_in_another_split(rows, before, line.rows), dtype=np.int64)
            off = off[fresh_rows(subject, dataset)[off] & ~told[off]] if len(off) else off
            findings += [_off_ancestor(rows, before, line, int(row)) for row in off[:MOST_LISTED]]
            total += len(off)
            told[off] = True
        for what, things in _things(before):
            ours = np.where(told, -1, np.append(things, -1)[line.rows])
            found = crossings(ours, rows.splits.codes, most=MOST_LISTED)
            if found.things:  # only now: it compares with the dataset before
                fresh = fresh_rows(subject, dataset)
                found = crossings(ours, rows.splits.codes, fresh, most=MOST_LISTED)
            findings += [_shared_ancestor(rows, before, line, pair, what) for pair in found.pairs]
            total += found.things
            if found.things:
                told |= np.isin(ours, ours[[one for pair in found.pairs for one in pair]])
    yield from counted(findings, total, "rows or ancestors")


def _things(rows: DatasetRows) -> Iterator[tuple[str, Codes]]:
    yield "asset", rows.assets
    if rows.groups is not None:
        yield "group", rows.groups.codes


def _off_ancestor(rows: DatasetRows, before: DatasetRows, line: Ancestors, row: int) -> Finding:
    place = int(line.rows[row])
    message = f"in {rows.split_of(row)}, but its ancestor {before.where(place)} is in {before.split_of(place)}"
    return Finding("error", ANCESTOR, rows.where(row), message, _ONE_SPLIT)


def _shared_ancestor(
    rows: DatasetRows, before: DatasetRows, line: Ancestors, pair: tuple[int, int], what: str
) -> Finding:
    one, other = pair
    mine, theirs = (before.where(int(line.rows[row])) for row in pair)
    shared = f"comes from {mine}" if mine == theirs else f"comes from {mine}, which shares its {what} with {theirs}"
    message = f"in {rows.split_of(one)}, {shared}; so does {rows.keys[other].as_py()} in {rows.split_of(other)}"
    return Finding("error", ANCESTOR, rows.where(one), message, _ONE_SPLIT)


def _outside(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows = rows_of(subject, dataset)
    if rows.splits is None or not rows.copies.any():
        return
    train = rows.splits.names.index(TRAIN) if TRAIN in rows.splits.names else -2
    outside = rows.copies & (rows.splits.codes != train)
    if outside.any():
        outside &= fresh_rows(subject, dataset)
    found = np.flatnonzero(outside)
    hint = _again(origin_of(subject, dataset))
    parents = rows.column("parent")
    assert parents is not None
    findings = []
    for row in found[:MOST_LISTED].tolist():
        message = f"a copy of {parents[row].as_py()} in {rows.split_of(row)}; only train rows may be augmented"
        findings.append(Finding("error", OUTSIDE, rows.where(row), message, hint))
    yield from counted(findings, len(found), "rows")


def _missing(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows, origin = rows_of(subject, dataset), origin_of(subject, dataset)
    parents = rows.column("parent")
    lost = rows.copies.copy()
    stranger = np.zeros(len(rows), dtype=np.bool_)
    if origin is None or not origin.inputs:
        lost &= places_of(parents, rows.keys) < 0 if parents is not None else False
        severity: Severity = "warning" if origin is None else "error"
        where = dataset
    else:
        severity, where = "error", ", ".join(origin.inputs)
        known = np.zeros(len(rows), dtype=np.bool_)
        for source in origin.inputs:
            same, named = predecessors(subject, dataset, source)
            known |= same >= 0
            lost &= (named < 0) & ~((same >= 0) & _handed_on(subject, rows, source, same))
        stranger = ~known & ~rows.copies if origin.kind is not None else stranger
    hint = _again(origin)
    findings = []
    found = np.flatnonzero(lost | stranger)
    for row in found[:MOST_LISTED].tolist():
        name = parents[row].as_py() if parents is not None and lost[row] else None
        message = f"comes from no row of {where}" if name is None else f"its parent {name} is no row of {where}"
        findings.append(Finding(severity, MISSING, rows.where(row), message, hint))
    yield from counted(findings, len(found), "rows")


def _handed_on(subject: Subject, rows: DatasetRows, source: str, same: Codes) -> Mask:
    """Rows whose lineage is, as it is, that of their row in `source`: it is checked there."""
    before = rows_of(subject, source)
    chosen = np.flatnonzero(same >= 0)
    is_same = np.ones(len(chosen), dtype=np.bool_)
    for name in ("parent", "parent_id", PARTNER):
        is_same &= ~differs(rows.column(name), before.column(name), chosen, same[chosen])
    found = np.zeros(len(rows), dtype=np.bool_)
    found[chosen[is_same]] = True
    return found


def _mismatch(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows, origin = rows_of(subject, dataset), origin_of(subject, dataset)
    named, parent_ids = rows.parent_ids
    findings: list[Finding] = []
    total = 0
    for source in (origin.inputs or (dataset,)) if origin is not None else (dataset,):
        before = rows_of(subject, source)
        if source == dataset:
            parents = rows.column("parent")
            places = np.full(len(rows), -1) if parents is None else places_of(parents, rows.keys)
            places = np.where(rows.copies, places, -1)
        else:
            same, by_name = predecessors(subject, dataset, source)
            handed_on = _handed_on(subject, rows, source, same)
            places = np.where(handed_on, -1, np.where(rows.copies, by_name, same))
        of_named = places[named]
        known = of_named >= 0
        wrong = (before.ids[of_named[known]] != parent_ids[known]).any(axis=1)
        unnamed = rows.copies & (places >= 0)
        unnamed[named] = False
        off = np.sort(np.concatenate([named[known][wrong], np.flatnonzero(unnamed)]))
        total += len(off)
        for row in off[: MOST_LISTED - len(findings)].tolist():
            place = int(places[row])
            asset = before.ids[place].tobytes().hex()[:12]
            column = rows.column("parent_id")
            seen = column[row].as_py() if column is not None else None
            message = f"names the asset {(seen or 'of no row')[:12]} as its parent's; {before.where(place)} has {asset}"
            findings.append(Finding("error", MISMATCH, rows.where(row), message, _again(origin)))
    yield from counted(findings, total, "rows")


def _changed(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows, origin = rows_of(subject, dataset), origin_of(subject, dataset)
    if origin is None or origin.kind is None:
        return
    findings: list[Finding] = []
    total = 0
    for source in origin.inputs:
        before = rows_of(subject, source)
        same, named = predecessors(subject, dataset, source)
        for what, off, places in _changes(rows, before, same, named, origin):
            total += len(off)
            for row in off[: MOST_LISTED - len(findings)].tolist():
                mine, theirs = rows.column(what), before.column(what)
                seen = None if mine is None else mine[row].as_py()
                was = None if theirs is None else theirs[int(places[row])].as_py()
                message = f"{what} is {seen!r}, but {before.where(int(places[row]))}, which it comes from, has {was!r}"
                findings.append(Finding("error", CHANGED, rows.where(row), message, _again(origin)))
    yield from counted(findings, total, "values")


def _changes(
    rows: DatasetRows, before: DatasetRows, same: Codes, named: Codes, origin: Origin
) -> Iterator[tuple[str, Codes, Codes]]:
    """Columns with the rows in which they are not what the stage makes of the row before, and those rows' places."""
    handed_on = np.flatnonzero(same >= 0)
    made_anew = _made_anew(rows, before, same) if origin.kind == "prepare" else np.zeros(len(rows), dtype=np.bool_)
    other_asset = (rows.ids[handed_on] != before.ids[same[handed_on]]).any(axis=1)
    yield "asset_id", handed_on[other_asset & ~made_anew[handed_on]], same
    lineage = () if origin.kind == "prepare" else ("parent", "parent_id", PARTNER, "operator")
    for name in ("label", "group", *lineage):
        mine, theirs = rows.column(name), before.column(name)
        off = differs(mine, theirs, handed_on, same[handed_on])
        if name == "label" and origin.kind == "prepare" and theirs is not None:
            off &= ~_is_no_label(theirs, same[handed_on])
        yield name, handed_on[off], same
        if name in ("label", "group"):
            copies = np.flatnonzero((same < 0) & (named >= 0))
            yield name, copies[differs(mine, theirs, copies, named[copies])], named


def _made_anew(rows: DatasetRows, before: DatasetRows, same: Codes) -> Mask:
    """Rows that say that prepare made their asset from that of the same key before."""
    found = np.zeros(len(rows), dtype=np.bool_)
    named, ids = rows.parent_ids
    parents = rows.column("parent")
    if parents is not None and len(named):
        own_key = flags(pc.fill_null(pc.equal(parents, rows.keys), False))[named]
        fits = (before.ids[same[named]] == ids).all(axis=1) & (same[named] >= 0)
        found[named[own_key & fits]] = True
    return found


def _is_no_label(labels: pa.Array, places: Codes) -> Mask:
    """Labels that prepare takes for none: an empty text, a number that is none."""
    taken = labels.take(arrow_numbers(places))
    if pa.types.is_string(taken.type):
        return flags(pc.fill_null(pc.equal(taken, ""), False))
    if pa.types.is_floating(taken.type):
        return flags(pc.fill_null(pc.is_nan(taken), False))
    return np.zeros(len(places), dtype=np.bool_)


def _again(origin: Origin | None) -> str:
    return "correct the rows: `datapin help update`" if origin is None else f"make them anew with {made_anew(origin)}"


_ONE_SPLIT = "keep what comes from one thing in one split: give these rows one group before splits are made"

CHECKS: tuple[Check, ...] = (
    Check(
        PARENT, "Is every row in the split of what it was made of?", partial(each_dataset, check=PARENT, look=_parents)
    ),
    Check(
        ANCESTOR,
        "Do rows of different splits come from different ancestors, however far back?",
        partial(each_dataset, check=ANCESTOR, look=_ancestors),
    ),
    Check(OUTSIDE, "Are augmented rows in train only?", partial(each_dataset, check=OUTSIDE, look=_outside)),
    Check(
        MISSING,
        "Does every row come from a row of the dataset that its stage read?",
        partial(each_dataset, check=MISSING, look=_missing),
    ),
    Check(
        MISMATCH,
        "Is the asset that a row says it was made from the asset of its parent?",
        partial(each_dataset, check=MISMATCH, look=_mismatch),
    ),
    Check(
        CHANGED,
        "Have rows the asset, label, group and lineage that the stages hand on?",
        partial(each_dataset, check=CHANGED, look=_changed),
    ),
)
