"""Which rows differ between two manifests, row by row and cell by cell; SQL may select among them.

Memory holds the keys of the shards that differ and a block of rows at a time; shards with equal digests are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.manifest.columns.columns import Mask, arrow_flags, decoded, flags, one_array
from datapin.manifest.columns.values import python_rows, python_values
from datapin.manifest.comparing.diff import Comparison, cells_differ, compare_manifests
from datapin.manifest.manifest import Manifest
from datapin.manifest.query import select_rows
from datapin.manifest.select import rows_of

ADDED, REMOVED, CHANGED = "added", "removed", "changed"

_BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that differs: `change` is added, removed or changed.

    A changed row has the cells that differ, any other the whole row on its one side. Vectors are left out; where one
    has changed, its type stands for it.
    """

    key: str
    change: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def compare_rows(before: Manifest | None, after: Manifest | None, where: str | None = None) -> Comparison:
    """The rows that differ; with `where`, those for which this SQL is true of the row before, or of the row after.

    A column that one side lacks is null there. Raises BadQuery.
    """
    found = compare_manifests(before, after)
    if where is None or (before is None and after is None):
        return found
    was = _matching(before, after, [found.removed, found.changed], where)
    now = _matching(after, before, [found.added, found.changed], where)
    changed = _among(found.changed, pa.concat_arrays([was, now]))
    columns = found.columns
    if len(changed) < len(found.changed):
        counts = ((name, int(_differing(before, after, changed, name).sum())) for name, _ in columns)
        columns = tuple((name, count) for name, count in counts if count)
    return Comparison(_among(found.added, now), changed, _among(found.removed, was), columns)


def list_changes(
    before: Manifest | None, after: Manifest | None, comparison: Comparison, limit: int | None = None
) -> list[RowChange]:
    """The rows of a comparison of these manifests in key order, at most `limit` of them."""
    return list(islice(_iter_changes(before, after, comparison, limit), limit))


def _iter_changes(
    before: Manifest | None, after: Manifest | None, comparison: Comparison, limit: int | None
) -> Iterator[RowChange]:
    groups = [comparison.removed, comparison.changed, comparison.added]
    parts = groups if limit is None else [group.slice(0, limit) for group in groups]
    keys = pa.concat_arrays(parts)
    kinds = np.repeat([REMOVED, CHANGED, ADDED], [len(part) for part in parts])
    order = pc.sort_indices(keys)
    keys, kinds = keys.take(order), kinds[order.to_numpy()]
    for start in range(0, len(keys) if limit is None else min(limit, len(keys)), _BLOCK_ROWS):
        block, kind = keys.slice(start, _BLOCK_ROWS), kinds[start : start + _BLOCK_ROWS]
        removed, changed, added = (block.filter(arrow_flags(kind == name)) for name in (REMOVED, CHANGED, ADDED))
        found = {key: RowChange(key, REMOVED, row, None) for key, row in _whole_rows(before, removed)}
        found |= {key: RowChange(key, ADDED, None, row) for key, row in _whole_rows(after, added)}
        found |= {row.key: row for row in _changed_rows(before, after, changed, comparison.columns)}
        yield from (found[key] for key in block.to_pylist())


def _whole_rows(manifest: Manifest | None, keys: pa.Array) -> Iterator[tuple[str, dict[str, Any]]]:
    if manifest is not None and len(keys):
        names = [field.name for field in manifest.schema if not pa.types.is_fixed_size_list(field.type)]
        for row in python_rows(rows_of(manifest, keys, manifest.schema, names)):
            yield row.pop("key"), row


def _changed_rows(
    before: Manifest | None, after: Manifest | None, keys: pa.Array, columns: Sequence[tuple[str, int]]
) -> Iterator[RowChange]:
    cells: list[tuple[dict[str, Any], dict[str, Any]]] = [({}, {}) for _ in range(len(keys))]
    for name, _ in columns if len(keys) else ():
        was, now = _cells(before, after, keys, name), _cells(after, before, keys, name)
        differing = cells_differ(was, now)
        places = np.flatnonzero(differing).tolist()
        shown = (_shown(array.filter(arrow_flags(differing))) for array in (was, now))
        for place, one, other in zip(places, *shown, strict=True):
            cells[place][0][name], cells[place][1][name] = one, other
    for key, (old, new) in zip(keys.to_pylist(), cells, strict=True):
        yield RowChange(key, CHANGED, old, new)


def _shown(cells: pa.Array) -> list[Any]:
    if pa.types.is_fixed_size_list(cells.type):
        return [str(cells.type) if is_there else None for is_there in flags(pc.is_valid(cells)).tolist()]
    return python_values(cells)


def _differing(before: Manifest | None, after: Manifest | None, keys: pa.Array, name: str) -> Mask:
    return cells_differ(_cells(before, after, keys, name), _cells(after, before, keys, name))


def _cells(manifest: Manifest | None, other: Manifest | None, keys: pa.Array, name: str) -> pa.Array:
    """One column of these rows, as this manifest stores it, decoded."""
    return decoded(one_array(rows_of(manifest, keys, _schema(manifest, other), [name])[name]))


class _RowsByKey:
    """Rows of a manifest for a query that says itself which columns it reads."""

    def __init__(self, manifest: Manifest, keys: pa.Array, schema: pa.Schema) -> None:
        self.schema = schema
        self._manifest = manifest
        self._keys = keys

    def to_table(self, columns: Sequence[str]) -> pa.Table:
        return rows_of(self._manifest, self._keys, self.schema, columns)


def _matching(manifest: Manifest | None, other: Manifest | None, groups: Sequence[pa.Array], where: str) -> pa.Array:
    """The keys among `groups` for whose rows in `manifest` the SQL is true."""
    keys = pa.concat_arrays(groups)
    if manifest is None:
        return keys.slice(0, 0)
    keys = keys.take(pc.sort_indices(keys))
    return keys.take(select_rows(_RowsByKey(manifest, keys, _schema(manifest, other)), where))


def _among(keys: pa.Array, wanted: pa.Array) -> pa.Array:
    return keys.filter(pc.is_in(keys, value_set=wanted))


def _schema(manifest: Manifest | None, other: Manifest | None) -> pa.Schema:
    """The columns of a manifest and, after them, those that only the other one has."""
    fields = [] if manifest is None else list(manifest.schema)
    names = {field.name for field in fields}
    return pa.schema([*fields, *(f for f in (other.schema if other is not None else ()) if f.name not in names)])
