"""What differs between two manifests: rows by key, columns by value. Shards with equal digests are not read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.manifest.columns import Mask, arrow_flags, flags, one_array
from datapin.manifest.compare import rows_differ
from datapin.manifest.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Changes:
    """How many rows differ; `columns` says in how many changed rows each column does."""

    added: int
    changed: int
    removed: int
    columns: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """The keys that differ, each column sorted by key."""

    added: pa.Array
    changed: pa.Array
    removed: pa.Array
    columns: tuple[tuple[str, int], ...]


def count_changes(before: Manifest | None, after: Manifest | None) -> Changes:
    """How many rows were added, changed and removed from one manifest to another; None has no rows."""
    found = compare_manifests(before, after)
    return Changes(len(found.added), len(found.changed), len(found.removed), found.columns)


def compare_manifests(before: Manifest | None, after: Manifest | None) -> Comparison:
    """Which keys were added, changed and removed. A column that one side lacks counts as null there.

    Memory holds the keys of the shards that differ, and two columns at a time.
    """
    old, new = _Side(before, after), _Side(after, before)
    old_keys, new_keys = old.read("key"), new.read("key")
    places = pc.index_in(new_keys, value_set=old_keys)
    is_known = pc.is_valid(places)
    removed = old_keys.filter(pc.invert(pc.is_in(old_keys, value_set=new_keys)))
    shared_new = pc.indices_nonzero(is_known)
    shared_old = places.drop_null()
    differs = np.zeros(len(shared_old), dtype=bool)
    columns = []
    for name in dict.fromkeys([*new.names, *old.names]) if len(shared_old) else ():
        if name == "key":
            continue
        mask = _column_differs(old, new, name, shared_old, shared_new)
        if mask.any():
            columns.append((name, int(mask.sum())))
            differs |= mask
    changed = new_keys.take(shared_new).filter(arrow_flags(differs))
    return Comparison(new_keys.filter(pc.invert(is_known)), changed, removed, tuple(columns))


def _column_differs(old: _Side, new: _Side, name: str, shared_old: pa.Array, shared_new: pa.Array) -> Mask:
    if name not in old.names or name not in new.names:
        side, shared = (old, shared_old) if name in old.names else (new, shared_new)
        return flags(pc.is_valid(side.read(name).take(shared)))
    one, other = old.read(name).take(shared_old), new.read(name).take(shared_new)
    if one.type != other.type:
        if pa.types.is_null(one.type):
            one = one.cast(other.type)
        elif pa.types.is_null(other.type):
            other = other.cast(one.type)
        else:  # a column of another type holds other values in every row that has one
            return flags(pc.or_(pc.is_valid(one), pc.is_valid(other)))
    return rows_differ(one, other)


class _Side:
    """The shards of one manifest that the other one does not have."""

    def __init__(self, manifest: Manifest | None, other: Manifest | None) -> None:
        self._manifest = manifest
        known = set() if other is None else {shard.digest for shard in other.shards}
        shards = () if manifest is None else manifest.shards
        self._numbers = [number for number, shard in enumerate(shards) if shard.rows and shard.digest not in known]
        self.names = [] if manifest is None else list(manifest.schema.names)

    def read(self, name: str) -> pa.Array:
        if self._manifest is None or not self._numbers:
            kind = pa.string() if self._manifest is None else self._manifest.schema.field(name).type
            return pa.nulls(0, kind)
        parts = [self._manifest.read_shard(number, [name]).column(name) for number in self._numbers]
        return one_array(pa.chunked_array([chunk for part in parts for chunk in part.chunks], parts[0].type))
