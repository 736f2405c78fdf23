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
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from datapin.base.id_columns import numbers
from datapin.manifest.columns.columns import Mask, arrow_flags, flags, text_bytes
from datapin.manifest.comparing.compare import rows_differ
from datapin.manifest.comparing.diff import Changes, cells_differ, count_changes
from datapin.manifest.comparing.held_shard import HeldShard, is_text
from datapin.manifest.manifest import SHARD_NAME, Manifest

_MOST_HELD_ROWS = 1_000_000  # of one version: about 150 MB

ShardFiles = Sequence[tuple[str, Path]]  # name and file of every shard of a version, in order


class PairCounter:
    """Counts changes between versions; what it read of the last pair is kept for the next one."""

    def __init__(self) -> None:
        self._held: dict[Path, HeldShard] = {}

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

    def _shards(self, files: ShardFiles, where: str) -> list[HeldShard]:
        return [self._held.get(path) or HeldShard(path, f"{where}/{name}") for name, path in files]


def _is_plain(files: ShardFiles, shards: Sequence[HeldShard]) -> bool:
    """Whether our writer made these files as one manifest, of single values only: vectors are not kept in memory."""
    return (
        all(shard.is_ours and not any(types.is_nested(kind) for kind in shard.schema.types) for shard in shards)
        and all(shard.schema.equals(shards[0].schema) for shard in shards)
        and [name for name, _ in files] == [SHARD_NAME.format(number) for number in range(len(files))]
        and all(one.last_key < other.first_key for one, other in pairwise(shards))
    )


def _overlapping(
    old: Sequence[HeldShard], new: Sequence[HeldShard]
) -> Iterator[tuple[list[HeldShard], list[HeldShard]]]:
    """The shards of both sides, in groups that have no key in common with any other group."""
    ordered = sorted([(shard.first_key, side, shard) for side, shards in enumerate((old, new)) for shard in shards],
                     key=lambda one: one[:2])  # fmt: skip
    group: tuple[list[HeldShard], list[HeldShard]] = ([], [])
    last = ""
    for first_key, side, shard in ordered:
        if first_key > last and (group[0] or group[1]):
            yield group
            group = ([], [])
        group[side].append(shard)
        last = max(last, shard.last_key)
    if group[0] or group[1]:
        yield group


def _count(old: Sequence[HeldShard], new: Sequence[HeldShard]) -> Changes:
    if not old or not new:
        return Changes(sum(shard.rows for shard in new), 0, sum(shard.rows for shard in old))
    names = list(dict.fromkeys([*new[0].names, *old[0].names]))
    alike: frozenset[str] = frozenset()
    if len(old) == len(new) == 1:
        alike = old[0].equally_stored(new[0])
        old[0].share(new[0], alike)
    if "key" in alike:
        names = [name for name in names if name not in alike]
    for shard in new:
        shard.unpack(names)
    if alike:
        old[0].share(new[0], alike)
    for shard in old:
        shard.unpack(names)
    if "key" in alike:
        return Changes(0, _differing(old, new, names, (None, None)), 0)
    old_keys, new_keys = _column(old, "key"), _column(new, "key")
    assert old_keys is not None
    assert new_keys is not None
    is_old, is_new = shared_keys(old_keys, new_keys)
    shared = int(is_old.sum())
    names = [name for name in names if name != "key"] if shared else []
    masks = tuple(None if shared == len(mask) else arrow_flags(mask) for mask in (is_old, is_new))
    return Changes(len(is_new) - shared, _differing(old, new, names, masks), len(is_old) - shared)


def _differing(
    old: Sequence[HeldShard], new: Sequence[HeldShard], names: Sequence[str], masks: tuple[pa.Array | None, ...]
) -> int:
    """How many rows differ in any of these columns; only those of the masks are compared, one with one."""
    differs: Mask | None = None
    for name in names:
        columns = (_column(old, name), _column(new, name))
        one, other = (
            column if column is None or mask is None else column.filter(mask)
            for column, mask in zip(columns, masks, strict=True)
        )
        found = _values_differ(one, other)
        differs = found if differs is None else differs | found
    return 0 if differs is None else int(np.count_nonzero(differs))


def _column(shards: Sequence[HeldShard], name: str) -> pa.Array | None:
    """One column of all these shards, None if they have no such column."""
    if name not in shards[0].names:
        return None
    parts = [shard.column(name) for shard in shards]
    if len(parts) > 1 and any(types.is_dictionary(part.type) for part in parts):
        parts = [part.dictionary_decode() if types.is_dictionary(part.type) else part for part in parts]
    return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)


def _values_differ(old: pa.Array | None, new: pa.Array | None) -> Mask:
    if old is None or new is None:
        one = new if old is None else old
        return flags(pc.is_valid(one)) if one is not None else np.zeros(0, dtype=bool)
    if types.is_dictionary(old.type) and old.type == new.type and is_text(old.type.value_type):
        return _coded_values_differ(old, new)
    if old.type == new.type and not old.null_count and not new.null_count:
        if types.is_integer(old.type):
            differs: Mask = numbers(old) != numbers(new)
            return differs
        if is_text(old.type) and old.equals(new):  # asset ids mostly are, and this is twice as fast
            return np.zeros(len(old), dtype=bool)
    return cells_differ(old, new)


def _coded_values_differ(old: pa.DictionaryArray, new: pa.DictionaryArray) -> Mask:
    """As `cells_differ`; what differs between a few distinct values is found out once."""
    if old.dictionary.equals(new.dictionary):
        return rows_differ(old.indices, new.indices)
    differs: Mask = _codes(old, new.dictionary) != _codes(new, new.dictionary)
    return differs


def _codes(column: pa.DictionaryArray, values: pa.Array) -> npt.NDArray[np.int64]:
    """For each row the place of its value among `values`, -1 if it is not there, -2 for a null."""
    found = pc.index_in(column.dictionary, value_set=values)
    places: npt.NDArray[np.int64] = np.where(flags(pc.is_valid(found)), numbers(found), -1)
    indices = numbers(column.indices)
    if not column.null_count:
        codes: npt.NDArray[np.int64] = places[indices]
        return codes
    is_valid = flags(pc.is_valid(column.indices))
    return np.where(is_valid, np.append(places, -1)[np.where(is_valid, indices, len(places))], -2)


# Which keys of two sorted columns are on both sides: one walk over both, run by run, where few keys differ.


_WINDOW_ROWS = 2048
_ROWS_PER_STEP = 512  # a join of as many keys takes as long as a step of the walk
_FREE_STEPS = 32


def shared_keys(old: pa.StringArray, new: pa.StringArray) -> tuple[Mask, Mask]:
    """Where the keys of `old` are in `new`, and those of `new` in `old`; both ascend, without nulls."""
    masks = np.zeros(len(old), dtype=bool), np.zeros(len(new), dtype=bool)
    if not _walk(_Keys(old), _Keys(new), *masks):
        return _join(old, new)
    return masks


def _walk(old: _Keys, new: _Keys, is_old: Mask, is_new: Mask) -> bool:
    """Mark the keys that both have; False, the masks unfinished, if so many differ that a join is faster."""
    i = j = steps = 0
    while i < old.count and j < new.count:
        steps += 1
        if steps > _FREE_STEPS + (i + j) // _ROWS_PER_STEP:
            return False
        run, window = _equal_run(old, i, new, j)
        is_old[i : i + run] = True
        is_new[j : j + run] = True
        i, j = i + run, j + run
        if run == window:
            continue
        mine, theirs = old.at(i), new.at(j)
        if mine < theirs:
            i = old.first_from(theirs, i + 1)
        else:
            j = new.first_from(mine, j + 1)
    return True


class _Keys:
    """The bytes of a column of keys."""

    def __init__(self, keys: pa.StringArray) -> None:
        self.count = len(keys)
        self.offsets, self._text = text_bytes(keys)
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(self._text, dtype=np.uint8)

    def at(self, row: int) -> bytes:
        return bytes(self._text[self.offsets[row] : self.offsets[row + 1]])

    def first_from(self, key: bytes, row: int) -> int:
        """The first row from `row` on whose key is not less than `key`; fast if it is near."""
        step = 1
        while row + step <= self.count and self.at(row + step - 1) < key:
            row, step = row + step, step * 2
        end = min(row + step - 1, self.count)
        while row < end:
            middle = (row + end) // 2
            row, end = (middle + 1, end) if self.at(middle) < key else (row, middle)
        return row


def _equal_run(old: _Keys, i: int, new: _Keys, j: int) -> tuple[int, int]:
    """How many keys from rows `i` and `j` on are the same, and how many were looked at."""
    window = min(_WINDOW_ROWS, old.count - i, new.count - j)
    ends, others = old.offsets[i : i + window + 1], new.offsets[j : j + window + 1]
    shift = others[0] - ends[0]
    moved = ends + shift != others
    run = int(moved.argmax()) - 1 if moved.any() else window
    same = slice(int(ends[0]), int(ends[run])), slice(int(others[0]), int(others[run]))
    differs = old.bytes[same[0]] != new.bytes[same[1]]
    place = int(differs.argmax()) if len(differs) else 0
    if len(differs) and differs[place]:
        run = int(np.searchsorted(ends[: run + 1], ends[0] + place, side="right")) - 1
    return run, window


def _join(old: pa.StringArray, new: pa.StringArray) -> tuple[Mask, Mask]:
    places = pc.index_in(new, value_set=old)
    is_old = np.zeros(len(old), dtype=bool)
    is_old[numbers(places.drop_null())] = True
    return is_old, flags(pc.is_valid(places))
