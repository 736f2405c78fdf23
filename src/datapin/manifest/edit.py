"""Edit manifests: rows put and rows removed, touching only the shards concerned."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import BadRows, listed
from datapin.base.id_columns import arrow_numbers, numbers
from datapin.manifest.columns.columns import Column, Mask, arrow_flags, flags, one_array, shown, without_rows
from datapin.manifest.columns.schema import REQUIRED, aligned, merged_schema, normalise, sorted_by_key
from datapin.manifest.comparing.compare import rows_differ
from datapin.manifest.comparing.diff import cells_differ
from datapin.manifest.files.shards import CUT, CutRules
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import ShardSink, new_directory, property_pairs

_WHERE = "the rows to put"


@dataclass(frozen=True, slots=True)
class EditReport:
    """What an edit did. `unchanged` counts rows that were put again with the values they had."""

    manifest: Manifest
    added: int
    changed: int
    removed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class _Edits:
    """The edits that fall to one shard, sorted by key."""

    upserts: pa.Table
    removed: pa.Array
    dropped: tuple[str, ...]
    retyped: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.upserts.num_rows and not len(self.removed)


def edit_manifest(
    previous: Manifest | None,
    directory: Path,
    *,
    upserts: pa.Table | None = None,
    removed: Column | None = None,
    properties: Mapping[str, str] | None = None,
    drop_columns: Sequence[str] = (),
    retyped: Sequence[str] = (),
    rules: CutRules = CUT,
) -> EditReport:
    """Write `previous`, edited, to `directory`, which must not exist; durable when it returns, gone if it fails.

    `upserts` put rows by key, in any order; a column they lack keeps its values (nulls in new rows), a column that is
    new has nulls in the other rows; those that are `retyped` take the type they have there, and every row must be put.
    `removed` names keys; those that are not there are ignored. `properties` None
    keeps them. Shards without edits are copied byte for byte, unless columns change. Raises BadRows, BadKeys,
    Refused or StorageFailed.
    """
    edits = replace(_checked_edits(previous, upserts, removed, drop_columns), retyped=tuple(retyped))
    schema = _edited_schema(previous, edits)
    if properties is None:
        properties = previous.properties if previous is not None else {}
    counts = np.zeros(4, dtype=np.int64)
    shards = [] if previous is None else [n for n, shard in enumerate(previous.shards) if shard.rows]
    bounds = [] if previous is None else _bounds(edits, [previous.shards[n].last_key for n in shards])
    pairs = property_pairs(properties)
    with new_directory(directory), ShardSink(directory, schema, pairs, previous, rules) as sink:
        if not shards:
            counts += _edit_shard(sink, without_rows(schema), edits, schema)
        for number, mine in zip(shards, bounds, strict=True):
            assert previous is not None
            if mine.is_empty and not mine.dropped and sink.pass_on(previous.shards[number]):
                continue
            counts += _edit_shard(sink, previous.read_shard(number), mine, schema)
        manifest = sink.close()
    added, changed, gone, unchanged = (int(count) for count in counts)
    return EditReport(manifest, added=added, changed=changed, removed=gone, unchanged=unchanged)


def _checked_edits(
    previous: Manifest | None, upserts: pa.Table | None, removed: Column | None, drop_columns: Sequence[str]
) -> _Edits:
    given = without_rows(pa.schema([("key", pa.string())])) if upserts is None else upserts
    rows = sorted_by_key(normalise(given, where=_WHERE, required=("key",)), where=_WHERE)
    keys = pa.nulls(0, pa.string()) if removed is None else one_array(removed).cast(pa.string())
    keys = pc.unique(keys.drop_null())
    keys = keys.take(pc.sort_indices(keys))
    both = pc.filter(keys, pc.is_in(keys, value_set=one_array(rows.column("key"))))
    if len(both):
        names = tuple(shown(key) for key in both.slice(0, 21).to_pylist())
        raise BadRows(_WHERE, f"{len(both)} key(s) are to be put and to be removed: {listed(names, 5)}")
    for name in drop_columns:
        if previous is None or name not in previous.schema.names or name in REQUIRED or name in rows.column_names:
            raise BadRows("columns to drop", f"{shown(name)} is not there, or is needed")
    return _Edits(rows, keys, tuple(drop_columns))


def _edited_schema(previous: Manifest | None, edits: _Edits) -> pa.Schema:
    names = edits.upserts.column_names
    if previous is None:
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise BadRows(_WHERE, f"no column {listed(tuple(missing))}; seen {listed(tuple(names))}")
        return edits.upserts.schema
    gone = {*edits.dropped, *edits.retyped}
    kept = pa.schema([field for field in previous.schema if field.name not in gone])
    return merged_schema(kept, [edits.upserts.schema], where=_WHERE)


def _bounds(edits: _Edits, last_keys: list[str]) -> list[_Edits]:
    """The edits of each shard: keys up to the shard's last one; the last shard takes all that follow."""
    upserts, removed = one_array(edits.upserts.column("key")), edits.removed
    result = []
    start, start_removed = 0, 0
    for number, last_key in enumerate(last_keys):
        is_last = number == len(last_keys) - 1
        end = len(upserts) if is_last else _count_up_to(upserts, last_key, start)
        end_removed = len(removed) if is_last else _count_up_to(removed, last_key, start_removed)
        mine = edits.upserts.slice(start, end - start)
        gone = removed.slice(start_removed, end_removed - start_removed)
        result.append(replace(edits, upserts=mine, removed=gone))
        start, start_removed = end, end_removed
    return result


def _count_up_to(keys: pa.Array, last_key: str, start: int) -> int:
    # Python compares text by code points, which is the order of the UTF-8 bytes.
    return bisect_right(range(len(keys)), last_key, lo=start, key=lambda row: keys[row].as_py())


def _edit_shard(sink: ShardSink, old: pa.Table, edits: _Edits, schema: pa.Schema) -> npt.NDArray[np.int64]:
    """Add the edited rows of one shard to the sink; how many were added, changed, removed, put but unchanged."""
    old_keys, new_keys = one_array(old.column("key")), one_array(edits.upserts.column("key"))
    places = pc.index_in(new_keys, value_set=old_keys)
    is_known = flags(pc.is_valid(places))
    _check_complete(edits.upserts, is_known)
    is_removed = flags(pc.is_in(old_keys, value_set=edits.removed))
    known_places = numbers(places.drop_null())

    has_changed = np.zeros(old.num_rows, dtype=bool)
    has_changed[known_places] = _changes(
        old.take(arrow_numbers(known_places)), edits.upserts.filter(arrow_flags(is_known)), edits.retyped
    )
    was_put = np.zeros(old.num_rows, dtype=bool)
    was_put[known_places] = True
    for name in edits.dropped:
        has_changed |= flags(pc.is_valid(one_array(old.column(name))))
    has_changed &= ~is_removed

    is_kept = ~is_removed & ~was_put
    put = _completed(edits.upserts, old, places, schema)
    kept = old.drop_columns([*edits.retyped]).filter(arrow_flags(is_kept))
    if edits.retyped and kept.num_rows:
        raise BadRows(_WHERE, f"column {shown(edits.retyped[0])} changes its type, but not all rows are put")
    rows = pa.concat_tables([aligned(kept, schema, where=_WHERE), put])
    sink.add(rows.take(pc.sort_indices(one_array(rows.column("key")))) if put.num_rows else rows)
    unchanged = int((was_put & ~has_changed).sum())
    return np.array([int((~is_known).sum()), int(has_changed.sum()), int(is_removed.sum()), unchanged])


def _check_complete(upserts: pa.Table, is_known: Mask) -> None:
    missing = [name for name in REQUIRED if name not in upserts.column_names]
    if missing and not is_known.all():
        key = upserts.column("key")[int(np.flatnonzero(~is_known)[0])].as_py()
        raise BadRows(_WHERE, f"key {shown(key)} is new and needs a column {listed(tuple(missing))}")


def _changes(before: pa.Table, after: pa.Table, retyped: Collection[str]) -> Mask:
    """Which rows, the same keys in both, the upserts change."""
    mask = np.zeros(after.num_rows, dtype=bool)
    for name in after.column_names:
        new = one_array(after.column(name))
        if name not in before.column_names:
            mask |= flags(pc.is_valid(new))
        elif name in retyped:
            mask |= cells_differ(one_array(before.column(name)), new)
        elif name != "key":
            old = one_array(before.column(name))
            kind = new.type if pa.types.is_null(old.type) else old.type
            mask |= rows_differ(old.cast(kind), _fitted(new, kind, name))
    return mask


def _fitted(array: pa.Array, kind: pa.DataType, name: str) -> pa.Array:
    try:
        return array if array.type == kind else array.cast(kind)
    except pa.ArrowInvalid as error:
        raise BadRows(_WHERE, f"column {shown(name)}: {shown(str(error).splitlines()[0], 160)[1:-1]}") from None


def _completed(upserts: pa.Table, old: pa.Table, places: pa.Array, schema: pa.Schema) -> pa.Table:
    """The rows to put with every column of `schema`: those they lack come from the old rows."""
    columns = {}
    for field in schema:
        if field.name in upserts.column_names:
            columns[field.name] = upserts.column(field.name)
        elif field.name in old.column_names:
            columns[field.name] = pa.chunked_array([one_array(old.column(field.name)).take(places)])
    return aligned(pa.Table.from_arrays(list(columns.values()), names=list(columns)), schema, where=_WHERE)
