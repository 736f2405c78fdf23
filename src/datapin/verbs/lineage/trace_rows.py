"""From the rows of a derived manifest to the rows and assets of the sources, step by step, by columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import UnknownKey
from datapin.manifest.manifest import Manifest

_COLUMNS = ("key", "asset_id", "split", "label", "parent", "parent_id")


@dataclass(frozen=True, slots=True)
class Lineage:
    """A manifest and those that its stage made it from; none for a source."""

    dataset: str
    manifest: Manifest
    inputs: Sequence[Lineage]


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """A row, and the source row that it came from; the source's fields are None if no input has its parent."""

    key: str
    asset_id: str
    split: str | None
    label: str | None
    source: str | None
    source_key: str | None
    source_asset_id: str | None


def origins_of(lineage: Lineage, key: str | None = None) -> list[RowOrigin]:
    """The source of each row, or of the one row `key`, in key order. Raises UnknownKey."""
    rows = _rows(lineage.manifest)
    if key is not None:
        rows = rows.filter(pc.equal(rows["key"], key))
        if not rows.num_rows:
            raise UnknownKey(lineage.dataset, key, ())
    found = _descend(rows, lineage)
    names = [name for name in ("key", "asset_id", "split", "label") if name in rows.column_names]
    came = zip(*(found[name].to_pylist() for name in found.column_names), strict=True)
    return [
        RowOrigin(row["key"], row["asset_id"], row.get("split"), _as_text(row.get("label")), *origin)
        for row, origin in zip(rows.select(names).to_pylist(), came, strict=True)
    ]


def _as_text(label: object) -> str | None:
    return None if label is None else str(label)


def _descend(rows: pa.Table, lineage: Lineage) -> pa.Table:
    """Source dataset, key and asset of each of these rows of the manifest; nulls where an input lacks the parent."""
    if not lineage.inputs:
        return pa.table(
            {
                "source": pa.array([lineage.dataset] * rows.num_rows, pa.string()),
                "source_key": rows["key"],
                "source_asset_id": rows["asset_id"],
            }
        )
    best: pa.Table | None = None
    for one in lineage.inputs:
        above = _rows(one.manifest)
        place = _places(rows, above)
        taken = above.take(pc.fill_null(place, 0)) if above.num_rows else None
        if taken is None:
            continue
        found = _descend(taken, one)
        is_there = pc.is_valid(place)
        found = pa.table({name: _where(is_there, found[name]) for name in found.column_names})
        if best is None:
            best = found
        else:
            best = pa.table({name: pc.coalesce(best[name], found[name]) for name in best.column_names})
    if best is None:
        none = pa.nulls(rows.num_rows, pa.string())
        best = pa.table({"source": none, "source_key": none, "source_asset_id": none})
    return best


def _places(rows: pa.Table, above: pa.Table) -> pa.ChunkedArray:
    """Where in the input `above` each row came from: the same row (key and asset), else its parent; null if nowhere."""
    same = pc.index_in(rows["key"], value_set=above["key"])
    is_same = _agrees(above["asset_id"], same, rows["asset_id"])
    if "parent" not in rows.column_names:
        return _where(is_same, same)
    parent = pc.index_in(rows["parent"], value_set=above["key"], skip_nulls=True)
    is_parent = _agrees(above["asset_id"], parent, rows["parent_id"])
    return pc.if_else(is_same, same, _where(is_parent, parent))


def _agrees(ids: pa.ChunkedArray, places: pa.ChunkedArray, expected: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(ids.take(places), expected), False)


def _where(mask: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(mask, values, pa.scalar(None, values.type))


def _rows(manifest: Manifest) -> pa.Table:
    names = [name for name in _COLUMNS if name in manifest.schema.names]
    return manifest.to_table(names).combine_chunks()
