"""How many rows differ from one version to the next, for many versions in a row: each column is unpacked once.

The same numbers as `count_changes`, several times as fast along a history: what was read of one version serves the next
pair, a column that two shards store in the same bytes is unpacked for both, and no rule is checked that does not change
the counts. Only files that our writer made are counted here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from datapin.base.errors import StorageFailed
from datapin.manifest.columns import Mask, arrow_numbers, flags, numbers, one_array
from datapin.manifest.compare import rows_differ
from datapin.manifest.diff import Changes, cells_differ, count_changes
from datapin.manifest.footers import DIGEST_MARK, open_parquet, read_footer, readable
from datapin.manifest.manifest import SHARD_NAME, Manifest

_MOST_HELD_ROWS = 1_000_000  # of one version: about 150 MB

ShardFiles = Sequence[tuple[str, Path]]  # name and file of every shard of a version, in order
_Stored = tuple[object, ...]


class PairCounter:
    """Counts changes between versions; what it read of the last pair is kept for the next one."""

    def __init__(self) -> None:
        self._held: dict[Path, _Shard] = {}

    def count(self, before: Manifest | None, after: Manifest | None) -> Changes:
        """As `count_changes`: how many rows were added, changed and removed; None has no rows."""
        if before is None or after is None:
            return Changes(after.rows if after else 0, 0, before.rows if before else 0)
        sides = [
            [(shard.path.name, shard.path) for shard in one.shards if shard.path is not None] for one in (before, after)
        ]
        found = self.count_files(sides[0], sides[1], where=after.name) if all(sides) else None
        return count_changes(before, after) if found is None else found

    def count_files(self, before: ShardFiles, after: ShardFiles, *, where: str) -> Changes | None:
        """How many rows were added, changed and removed; None if only `count_changes` can tell.

        Raises DamagedManifest, BadRows, ManifestMissing or StorageFailed.
        """
        sides = [self._shards(files, where) for files in (before, after)]
        if not all(_is_plain(files, shards) for files, shards in zip((before, after), sides, strict=True)):
            return None
        common = {shard.digest for shard in sides[0]} & {shard.digest for shard in sides[1]}
        old, new = ([shard for shard in side if shard.rows and shard.digest not in common] for side in sides)
        is_large = max(sum(shard.rows for shard in side) for side in (old, new)) > _MOST_HELD_ROWS
        added = changed = removed = 0
        for was, now in _overlapping(old, new):
            more = _count(was, now)
            added, changed, removed = added + more.added, changed + more.changed, removed + more.removed
            if is_large:
                for shard in (*was, *now):
                    shard.forget()
        self._held = {} if is_large else {shard.path: shard for side in sides for shard in side}
        return Changes(added, changed, removed)

    def _shards(self, files: ShardFiles, where: str) -> list[_Shard]:
        return [self._held.get(path) or _Shard(path, f"{where}/{name}") for name, path in files]


class _Shard:
    """One file: its footer, its bytes and the columns of it that were unpacked."""

    def __init__(self, path: Path, where: str) -> None:
        self.path = path
        self._where = where
        self._footer = read_footer(path, where)
        self._bytes = b""
        self._columns: dict[str, pa.Array] = {}
        self.rows = self._footer.rows
        self.is_ours = self._footer.is_ours
        self.digest = self._footer.marks.get(DIGEST_MARK, b"")
        self.first_key, self.last_key = self._footer.first_key, self._footer.last_key
        self.schema = self._footer.schema

    def stored(self, name: str) -> _Stored | None:
        """All that decides the values of a column: its type and its bytes; None if its bytes are not told."""
        if not self._bytes:
            try:
                self._bytes = self.path.read_bytes()
            except OSError as error:
                raise StorageFailed("read", self._where, error.strerror or str(error)) from None
        parts: list[object] = [str(self.schema.field(name).type)]
        for group in self._footer.groups:
            for chunk in group.chunks:
                if chunk.path[0] == name:
                    if chunk.start < 0:
                        return None
                    data = self._bytes[chunk.start : chunk.start + chunk.stored_bytes]
                    parts += [group.rows, chunk.form, chunk.codec, data]
        return tuple(parts)

    def unpack(self, names: Sequence[str]) -> None:
        """Read these columns from the file, those that are not there yet."""
        wanted = [name for name in names if name not in self._columns]
        if not wanted:
            return
        packed = {chunk.path[0] for group in self._footer.groups for chunk in group.chunks if chunk.has_dictionary}
        # A few bytes may repeat one long text a billion times: dictionaries stay dictionaries.
        text = [name for name in wanted if name in packed and _is_text(self.schema.field(name).type)]
        with readable(self.path, self._where), open_parquet(self.path, text) as file:
            table = file.read(columns=wanted, use_threads=False)
        self._columns.update((name, one_array(table.column(name))) for name in wanted)

    def column(self, name: str) -> pa.Array:
        """An unpacked column."""
        return self._columns[name]

    def share(self, other: _Shard, name: str) -> None:
        """Let both have a column that one of them has unpacked and both store alike."""
        for one, twin in ((self, other), (other, self)):
            if name in one._columns:
                twin._columns.setdefault(name, one._columns[name])

    def forget(self) -> None:
        """Give the memory back."""
        self._bytes = b""
        self._columns = {}


def _is_plain(files: ShardFiles, shards: Sequence[_Shard]) -> bool:
    """Whether our writer made these files as one manifest, of single values only: vectors are not kept in memory."""
    return (
        all(shard.is_ours and not any(types.is_nested(kind) for kind in shard.schema.types) for shard in shards)
        and all(shard.schema.equals(shards[0].schema) for shard in shards)
        and [name for name, _ in files] == [SHARD_NAME.format(number) for number in range(len(files))]
        and all(one.last_key < other.first_key for one, other in pairwise(shards))
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind))


def _overlapping(old: Sequence[_Shard], new: Sequence[_Shard]) -> Iterator[tuple[list[_Shard], list[_Shard]]]:
    """The shards of both sides, in groups that have no key in common with any other group."""
    ordered = sorted([(shard.first_key, side, shard) for side, shards in enumerate((old, new)) for shard in shards],
                     key=lambda one: one[:2])  # fmt: skip
    group: tuple[list[_Shard], list[_Shard]] = ([], [])
    last = ""
    for first_key, side, shard in ordered:
        if first_key > last and (group[0] or group[1]):
            yield group
            group = ([], [])
        group[side].append(shard)
        last = max(last, shard.last_key)
    if group[0] or group[1]:
        yield group


def _count(old: Sequence[_Shard], new: Sequence[_Shard]) -> Changes:
    if not old or not new:
        return Changes(sum(shard.rows for shard in new), 0, sum(shard.rows for shard in old))
    names = list(dict.fromkeys([*new[0].schema.names, *old[0].schema.names]))
    alike: set[str] = set()
    if len(old) == len(new) == 1:
        both = [name for name in names if name in old[0].schema.names and name in new[0].schema.names]
        alike = {name for name in both if (one := old[0].stored(name)) is not None and one == new[0].stored(name)}
        for name in alike:
            old[0].share(new[0], name)
    needed = [name for name in names if "key" not in alike or name not in alike]
    for shard in (*old, *new):
        shard.unpack([name for name in needed if name in shard.schema.names])
    if "key" in alike:
        differs = np.zeros(old[0].rows, dtype=bool)
        for name in needed:
            differs |= _values_differ(_column(old, name), _column(new, name))
        return Changes(0, int(differs.sum()), 0)
    for name in alike:
        old[0].share(new[0], name)
    return _count_aligned(old, new, [name for name in names if name != "key"])


def _count_aligned(old: Sequence[_Shard], new: Sequence[_Shard], names: Sequence[str]) -> Changes:
    old_keys, new_keys = _column(old, "key"), _column(new, "key")
    assert old_keys is not None
    assert new_keys is not None
    places = pc.index_in(new_keys, value_set=old_keys)
    shared_old = arrow_numbers(numbers(places.drop_null()).astype(np.int64))
    shared_new = arrow_numbers(np.flatnonzero(flags(pc.is_valid(places))))
    differs = np.zeros(len(shared_old), dtype=bool)
    for name in names if len(shared_old) else ():
        sides = ((old, shared_old), (new, shared_new))
        taken = [None if (c := _column(side, name)) is None else c.take(places) for side, places in sides]
        differs |= _values_differ(*taken)
    return Changes(len(new_keys) - len(shared_new), int(differs.sum()), len(old_keys) - len(shared_old))


def _column(shards: Sequence[_Shard], name: str) -> pa.Array | None:
    """One column of all these shards, None if they have no such column."""
    if name not in shards[0].schema.names:
        return None
    parts = [shard.column(name) for shard in shards]
    if len(parts) > 1 and any(types.is_dictionary(part.type) for part in parts):
        parts = [part.dictionary_decode() if types.is_dictionary(part.type) else part for part in parts]
    return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)


def _values_differ(old: pa.Array | None, new: pa.Array | None) -> Mask:
    if old is None or new is None:
        one = new if old is None else old
        return flags(pc.is_valid(one)) if one is not None else np.zeros(0, dtype=bool)
    if types.is_dictionary(old.type) and old.type == new.type and old.dictionary.equals(new.dictionary):
        return rows_differ(old.indices, new.indices)
    return cells_differ(old, new)
