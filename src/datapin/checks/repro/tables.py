"""Manifests and Parquet files, pinned and made again: the first row and column that differ, how many, by how much."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.checks.repro.difference import CLOSE_REPORTS, CLOSE_ROWS, Difference, NumberGaps
from datapin.manifest.columns.columns import decoded, one_array, shown
from datapin.manifest.comparing.diff import Comparison, cells_differ, compare_manifests
from datapin.manifest.files.footers import open_parquet, read_footer, read_writer, readable
from datapin.manifest.manifest import Manifest
from datapin.manifest.select import rows_of

_BLOCK_ROWS = 65_536
_FIXED_LISTS = 5  # of the differing columns, so many are named


def compare_manifest_rows(before: Manifest, after: Manifest) -> Difference:
    """What differs between two manifests whose bytes differ. Raises what reading them raises."""
    if before.digest == after.digest:
        return Difference("equal", f"the rows are equal, the bytes differ: {_why(before, after)}")
    found = compare_manifests(before, after)
    gaps = CellGaps(CLOSE_ROWS)
    names = [name for name, _ in found.columns]
    schema = pa.schema([_field(name, after, before) for name in ["key", *names]])
    old_schema = pa.schema([_field(name, before, after) for name in ["key", *names]])
    for start in range(0, len(found.changed), _BLOCK_ROWS):
        keys = found.changed.slice(start, _BLOCK_ROWS)
        gaps.add(keys, rows_of(before, keys, old_schema), rows_of(after, keys, schema))
    return _difference(found, gaps, before.rows, names)


def compare_parquet(before: Path, after: Path, name: str) -> Difference:
    """What differs between two Parquet files whose bytes differ; rows are matched by `key` where both have it."""
    old, new = _read(before, f"{name} (as pinned)"), _read(after, name)
    if old.equals(new):
        return Difference("equal", f"the rows are equal, the bytes differ: {_writers(before, after, name)}")
    gaps = CellGaps(CLOSE_REPORTS)
    none = pa.nulls(0, pa.string())
    if "key" in old.column_names and "key" in new.column_names:
        old_keys, new_keys = one_array(old["key"]).cast(pa.string()), one_array(new["key"]).cast(pa.string())
        places = pc.index_in(new_keys, value_set=old_keys)
        added = new_keys.filter(pc.is_null(places))
        removed = old_keys.filter(pc.invert(pc.is_in(old_keys, value_set=new_keys)))
        keys = new_keys.filter(pc.is_valid(places))
        gaps.add(keys, old.take(places.drop_null()), new.filter(pc.is_valid(places)))
    else:
        count = min(len(old), len(new))
        keys = pa.array([f"row {number}" for number in range(count)], pa.string())
        gaps.add(keys, old.slice(0, count), new.slice(0, count))
        added = pa.array([f"row {number}" for number in range(count, len(new))], pa.string())
        removed = pa.array([f"row {number}" for number in range(count, len(old))], pa.string())
    changed = pa.concat_arrays([none, *([keys.slice(0, gaps.rows)] if gaps.rows else [])])
    return _difference(Comparison(added, changed, removed, ()), gaps, len(old), list(gaps.columns))


class CellGaps:
    """What differs between rows that belong together, taken block by block."""

    def __init__(self, most: float) -> None:
        self.rows = 0
        self.columns: Counter[str] = Counter()
        self.first: tuple[str, str] | None = None  # key, and which cell with its values
        self.numbers = NumberGaps(most)
        self.only_fractions = True

    def add(self, keys: pa.Array, before: pa.Table, after: pa.Table) -> None:
        """Rows of both sides with the same keys, in the same order."""
        differs = np.zeros(len(keys), dtype=bool)
        cells: list[tuple[str, npt.NDArray[np.intp]]] = []
        for name in dict.fromkeys([*after.column_names, *before.column_names]):
            was, now = (_column(table, name) for table in (before, after))
            places = np.flatnonzero(cells_differ(was, now))
            if not len(places):
                continue
            self.columns[name] += len(places)
            differs[places] = True
            cells.append((name, places))
            index = pa.array(places)
            self._measure(name, keys.take(index), was.take(index), now.take(index))
        self.rows += int(differs.sum())
        if self.first is None and cells:
            row = int(np.flatnonzero(differs)[0])
            name = next(name for name, places in cells if places[0] == row)
            text = _cell_text(name, _column(before, name).slice(row, 1), _column(after, name).slice(row, 1))
            self.first = (keys[row].as_py(), text)

    @property
    def are_close(self) -> bool:
        """Whether only numbers with fractions differ, and none by much."""
        return self.only_fractions and self.numbers.are_close

    def _measure(self, name: str, keys: pa.Array, before: pa.Array, after: pa.Array) -> None:
        was, now = _matrix(before), _matrix(after)
        if was is None or now is None or was.shape != now.shape:
            self.only_fractions = False
            return
        self.only_fractions &= _has_fractions(before.type) and _has_fractions(after.type)
        gap = np.abs(was - now)
        both_nan = np.isnan(was) & np.isnan(now)
        scale = np.maximum(1.0, np.maximum(np.abs(was), np.abs(now)))
        with np.errstate(invalid="ignore"):
            self.numbers.are_close &= bool((both_nan | (gap <= self.numbers.most * scale)).all())
        if not np.isnan(gap).all():
            place = np.unravel_index(int(np.nanargmax(gap)), gap.shape)
            where = f"{name}[{place[1]}]" if gap.shape[1] > 1 else name
            self.numbers.note(float(gap[place]), f"{where} of {keys[int(place[0])].as_py()}")


def _difference(found: Comparison, gaps: CellGaps, rows: int, names: list[str]) -> Difference:
    count = len(found.added) + len(found.removed) + len(found.changed)
    kinds = [(len(found.added), "added"), (len(found.removed), "missing"), (len(found.changed), "changed")]
    text = f"{count} row(s) of {rows} differ ({', '.join(f'{many} {kind}' for many, kind in kinds if many)})"
    firsts = [
        (group[0].as_py(), kind)
        for group, kind in ((found.added, "is new"), (found.removed, "is missing"))
        if len(group)
    ]
    if gaps.first is not None:
        firsts.append(gaps.first)
    key, what = min(firsts, default=("", "differs in ways that rows do not show"))
    text += f", first {shown(key)}: {what}"
    if gaps.rows and len(names) > 1:
        listed = [f"{name} in {gaps.columns[name]}" for name in names[:_FIXED_LISTS]]
        text += f"; columns: {', '.join(listed)}{', …' if len(names) > _FIXED_LISTS else ''}"
    is_close = gaps.are_close and not len(found.added) and not len(found.removed) and gaps.rows > 0
    return Difference("close" if is_close else "different", text + gaps.numbers.text)


def _cell_text(name: str, before: pa.Array, after: pa.Array) -> str:
    was, now = _matrix(before), _matrix(after)
    if was is not None and now is not None and was.shape == now.shape and was.shape[1] > 1:
        odd = np.flatnonzero((was != now)[0] & ~(np.isnan(was) & np.isnan(now))[0])
        if len(odd):
            return f"{name}[{odd[0]}] {was[0, odd[0]]:.9g} → {now[0, odd[0]]:.9g}"
    one, other = before[0].as_py(), after[0].as_py()
    if before.type != after.type:
        return f"{name} {before.type} {shown(str(one))} → {after.type} {shown(str(other))}"
    return f"{name} {shown(one)} → {shown(other)}"


def _matrix(array: pa.Array) -> npt.NDArray[np.float64] | None:
    """Numbers, or vectors of numbers, as float64 [n, d]; nulls are NaN. None for anything else."""
    kind, width = array.type, 1
    if pa.types.is_fixed_size_list(kind):
        kind, width = kind.value_type, kind.list_size
        if array.null_count or width == 0:
            return None
        array = array.flatten()
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64).reshape(-1, width)


def _has_fractions(kind: Any) -> bool:
    return bool(pa.types.is_floating(kind.value_type if pa.types.is_fixed_size_list(kind) else kind))


def _column(table: pa.Table, name: str) -> pa.Array:
    return decoded(one_array(table[name])) if name in table.column_names else pa.nulls(table.num_rows)


def _field(name: str, manifest: Manifest, other: Manifest) -> pa.Field:
    return (manifest if name in manifest.schema.names else other).schema.field(name)


def _why(before: Manifest, after: Manifest) -> str:
    told = [
        name
        for name in sorted({*before.properties, *after.properties})
        if before.properties.get(name) != after.properties.get(name)
    ]
    if told:
        return f"the property {', '.join(told)} is another one"
    old, new = (sorted(shard.path for shard in one.shards if shard.path is not None) for one in (before, after))
    if len(old) != len(new):
        return f"{len(old)} file(s) are now {len(new)}"
    for one, other in zip(old, new, strict=True):
        if read_writer(one, before.name) != read_writer(other, after.name):
            return _writers(one, other, after.name)
    return "the writer is the same, its settings or compression library are not"


def _writers(before: Path, after: Path, name: str) -> str:
    was, now = read_writer(before, f"{name} (as pinned)"), read_writer(after, name)
    if was == now:
        return f"{now or 'an unnamed program'} wrote both, with other settings or another compression library"
    return f"{was or 'an unnamed program'} wrote what is pinned, {now or 'an unnamed program'} this"


def _read(path: Path, name: str) -> pa.Table:
    read_footer(path, name)
    with readable(path, name), open_parquet(path) as file:
        return file.read()
