"""What differs between two manifests: rows by key, columns by value. Shards with equal digests are not read.

The others are compared where their ranges of keys overlap, mostly one with one, so that memory holds few of them; a
column that both store in the same bytes is not unpacked.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.id_columns import numbers
from datapin.manifest.columns.columns import Mask, arrow_flags, decoded, flags, one_array
from datapin.manifest.comparing.compare import rows_differ
from datapin.manifest.files.footers import Chunk, Footer, read_footer, readable
from datapin.manifest.manifest import Manifest

_THREADS = 2  # each holds a shard of both sides; Arrow shares one column's pages among threads of its own


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
    """Which keys were added, changed and removed. A column that one side lacks counts as null there."""
    old, new = _Side(before, after), _Side(after, before)

    def compare(group: tuple[list[int], list[int]]) -> Comparison:
        return _compare(old.part(group[0]), new.part(group[1]))

    with ThreadPoolExecutor(_THREADS) as threads:
        parts = list(threads.map(compare, _overlapping(old, new)))
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(dict(part.columns))
    none = pa.nulls(0, pa.string())
    return Comparison(
        added=pa.concat_arrays([none, *(part.added for part in parts)]),
        changed=pa.concat_arrays([none, *(part.changed for part in parts)]),
        removed=pa.concat_arrays([none, *(part.removed for part in parts)]),
        columns=tuple((name, counts[name]) for name in dict.fromkeys([*new.names, *old.names]) if counts[name]),
    )


def cells_differ(one: pa.Array, other: pa.Array) -> Mask:
    """True where the values of two columns of any types differ; nulls are equal."""
    one, other = decoded(one), decoded(other)
    if one.type != other.type:
        if pa.types.is_null(one.type):
            one = one.cast(other.type)
        elif pa.types.is_null(other.type):
            other = other.cast(one.type)
        else:  # a column of another type holds other values in every row that has one
            return flags(pc.or_(pc.is_valid(one), pc.is_valid(other)))
    return rows_differ(one, other)


def _overlapping(old: _Side, new: _Side) -> Iterator[tuple[list[int], list[int]]]:
    """Numbers of the shards of both sides, in groups that have no key in common with any other group."""
    group: tuple[list[int], list[int]] = ([], [])
    last = ""
    for first_key, last_key, side, number in sorted([*old.ranges(0), *new.ranges(1)]):
        if first_key > last and (group[0] or group[1]):
            yield group
            group = ([], [])
        group[side].append(number)
        last = max(last, last_key)
    if group[0] or group[1]:
        yield group


def _compare(old: _Part, new: _Part) -> Comparison:
    none = pa.nulls(0, pa.string())
    if not old.numbers or not new.numbers:
        return Comparison(new.read("key"), none, old.read("key"), ())
    alike = old.equally_stored(new)
    if "key" in alike:
        return _compare_aligned(old, new, alike)
    for part in (old, new):
        part.load(leaving=alike)
    old_keys, new_keys = old.read("key"), new.read("key")
    if old_keys.equals(new_keys):
        return _compare_aligned(old, new, alike)
    places = pc.index_in(new_keys, value_set=old_keys)
    is_known = pc.is_valid(places)
    shared_old = places.drop_null()
    is_kept = np.zeros(len(old_keys), dtype=bool)
    is_kept[numbers(shared_old)] = True
    differs, columns = _columns(old, new, shared=(shared_old, pc.indices_nonzero(is_known)))
    changed = new_keys.filter(is_known).filter(arrow_flags(differs)) if columns else none
    added, removed = new_keys.filter(pc.invert(is_known)), old_keys.filter(arrow_flags(~is_kept))
    return Comparison(added, changed, removed, columns)


def _compare_aligned(old: _Part, new: _Part, alike: frozenset[str]) -> Comparison:
    """As `_compare`, where both have the same keys."""
    none = pa.nulls(0, pa.string())
    for part in (old, new):
        part.load(leaving=alike)
    differs, columns = _columns(old, new, alike=alike)
    changed = new.read("key").filter(arrow_flags(differs)) if columns else none
    return Comparison(none, changed, none, columns)


def _columns(
    old: _Part, new: _Part, *, alike: frozenset[str] = frozenset(), shared: tuple[pa.Array, pa.Array] | None = None
) -> tuple[Mask, tuple[tuple[str, int], ...]]:
    """Which rows differ, and how many in each column but those in `alike`.

    `shared` are the places of the rows to compare on both sides; without it, all rows of both, one with one.
    """
    places = (None, None) if shared is None else shared
    differs = np.zeros(new.rows if shared is None else len(shared[0]), dtype=bool)
    columns = []
    for name in dict.fromkeys([*new.names, *old.names]) if len(differs) else ():
        if name == "key" or name in alike:
            continue
        one, other = old.taken(name, places[0]), new.taken(name, places[1])
        if one is None or other is None:
            mask = flags(pc.is_valid(other if one is None else one))
        else:
            mask = cells_differ(one, other)
        if mask.any():
            columns.append((name, int(mask.sum())))
            differs |= mask
    return differs, tuple(columns)


class _Side:
    """The shards of one manifest that the other one does not have."""

    def __init__(self, manifest: Manifest | None, other: Manifest | None) -> None:
        self._manifest = manifest
        known = set() if other is None else {shard.digest for shard in other.shards}
        shards = () if manifest is None else manifest.shards
        self._numbers = [number for number, shard in enumerate(shards) if shard.rows and shard.digest not in known]
        self.names = [] if manifest is None else list(manifest.schema.names)

    def ranges(self, side: int) -> list[tuple[str, str, int, int]]:
        """First key, last key, `side` and number of each shard."""
        shards = () if self._manifest is None else self._manifest.shards
        return [(shards[number].first_key, shards[number].last_key, side, number) for number in self._numbers]

    def part(self, wanted: list[int]) -> _Part:
        """Some of the shards."""
        return _Part(self._manifest, wanted)


class _Part:
    """Some shards of one manifest, and the columns of them that were read."""

    def __init__(self, manifest: Manifest | None, wanted: list[int]) -> None:
        self._manifest = manifest
        self._columns: dict[str, pa.Array] = {}
        self.numbers = wanted
        self.names = [] if manifest is None else list(manifest.schema.names)

    @property
    def rows(self) -> int:
        """How many there are."""
        return 0 if self._manifest is None else sum(self._manifest.shards[number].rows for number in self.numbers)

    def equally_stored(self, other: _Part) -> frozenset[str]:
        """Columns that both store in the same bytes; none if that is not to be seen."""
        if self._manifest is None or other._manifest is None or len(self.numbers) != 1 or len(other.numbers) != 1:
            return frozenset()
        one, twin = self._manifest.shards[self.numbers[0]].path, other._manifest.shards[other.numbers[0]].path
        if one is None or twin is None or self.rows != other.rows:
            return frozenset()
        return equally_stored(one, twin, self._manifest.name)

    def load(self, *, leaving: Collection[str] = ()) -> None:
        """Read the columns of single values at once, but those named: a file is opened and checked once, not often."""
        schema = () if self._manifest is None else self._manifest.schema
        names = [f.name for f in schema if f.name not in leaving and not pa.types.is_nested(f.type)]
        if names:
            self._read(names)

    def read(self, name: str) -> pa.Array:
        """One column of all rows."""
        if self._manifest is None or not self.numbers:
            return pa.nulls(0, pa.string() if self._manifest is None else self._manifest.schema.field(name).type)
        if name in self._columns:
            return self._columns[name]
        return self._read([name])[name]

    def taken(self, name: str, places: pa.Array | None) -> pa.Array | None:
        """One column of the rows at these places, or of all; None if there is no such column."""
        if name not in self.names:
            return None
        return self.read(name) if places is None else self.read(name).take(places)

    def _read(self, names: list[str]) -> dict[str, pa.Array]:
        """These columns of all rows; single values are kept, vectors are too large for that."""
        assert self._manifest is not None
        parts = [self._manifest.read_shard(number, names) for number in self.numbers]
        found = {}
        for name in names:
            chunks = [chunk for part in parts for chunk in part.column(name).chunks]
            found[name] = one_array(pa.chunked_array(chunks, self._manifest.schema.field(name).type))
            if not pa.types.is_nested(found[name].type):
                self._columns[name] = found[name]
        return found


# Which columns two shards store in the same bytes: their values are the same, and need not be unpacked to know it.


_BLOCK_BYTES = 1 << 20


def equally_stored(one: Path, other: Path, shown: str) -> frozenset[str]:
    """Columns of two files of ours with equal types and equal bytes; others may have equal values all the same.

    Raises DamagedManifest, ManifestMissing or StorageFailed.
    """
    first, second = read_footer(one, shown), read_footer(other, shown)
    if not (first.is_ours and second.is_ours and _group_rows(first) == _group_rows(second)):
        return frozenset()
    chunks, others = _by_column(first), _by_column(second)
    types = {field.name: field.type for field in second.schema}
    names = [f.name for f in first.schema if f.name in chunks and f.name in others and f.type == types.get(f.name)]
    with readable(one, shown), open(one, "rb", buffering=0) as a, open(other, "rb", buffering=0) as b:
        return frozenset(n for n in names if _are_equal(a.fileno(), b.fileno(), chunks[n], others[n]))


def _group_rows(footer: Footer) -> list[int]:
    return [group.rows for group in footer.groups]


def _by_column(footer: Footer) -> dict[str, list[Chunk]]:
    chunks = sorted((chunk for group in footer.groups for chunk in group.chunks), key=lambda chunk: chunk.path[0])
    return {name: list(found) for name, found in groupby(chunks, key=lambda chunk: chunk.path[0])}


def _are_equal(one: int, other: int, chunks: list[Chunk], others: list[Chunk]) -> bool:
    if [_form(chunk) for chunk in chunks] != [_form(chunk) for chunk in others]:
        return False
    return all(
        chunk.start > 0 and _same_bytes(one, other, chunk, twin) for chunk, twin in zip(chunks, others, strict=True)
    )


def _form(chunk: Chunk) -> tuple[object, ...]:
    return chunk.path, chunk.codec, chunk.has_dictionary, chunk.form, chunk.stored_bytes


def _same_bytes(one: int, other: int, chunk: Chunk, twin: Chunk) -> bool:
    for place in range(0, chunk.stored_bytes, _BLOCK_BYTES):
        count = min(_BLOCK_BYTES, chunk.stored_bytes - place)
        block = os.pread(one, count, chunk.start + place)
        if len(block) != count or block != os.pread(other, count, twin.start + place):
            return False
    return True
