"""A file of (key, stat, asset id) records: it says which files of a tree need not be read again.

The file is a cache: whatever is wrong with it, it counts as empty.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.files import make_directory, publish_bytes
from datapin.base.id_columns import IdMatrix
from datapin.base.ids import RAW_ID_BYTES

StatMatrix = npt.NDArray[np.int64]  # [n, 4]: size, mtime_ns, ctime_ns, inode

# The layout of a file of records, little-endian: magic, count u64, bytes of keys u64, settled_before_ns i64, bytes of
# stamp u64, SHA-256 of these four numbers and of all that follows; then key ends int64 [n], stats int64 [n, 4],
# ids uint8 [n, 32], keys, stamp.
_MAGIC = b"DPSTAT1\n"
_NUMBERS = struct.Struct("<QQqQ")
_CHECKSUM_BYTES = 32
_HEADER_BYTES = len(_MAGIC) + _NUMBERS.size + _CHECKSUM_BYTES
_WORD_BYTES = 8

TICK_NS = 50_000_000  # kernels stamp files with a clock that moves every 1 to 10 ms
_MTIME, _CTIME = 1, 2
_SECOND_NS = 1_000_000_000
_WHOLE_SECONDS_MARGIN_NS = 2 * _SECOND_NS  # FAT counts in steps of two seconds, old ext3 and HFS+ of one


@dataclass(frozen=True, slots=True)
class StatRecords:
    """Records sorted as their writer gave them. `stamp` is the writer's own note."""

    keys: pa.StringArray
    stats: StatMatrix
    ids: IdMatrix
    settled_before_ns: int
    stamp: str = ""

    @classmethod
    def empty(cls) -> StatRecords:
        """No records at all."""
        nothing = np.empty((0, 4), np.int64), np.empty((0, RAW_ID_BYTES), np.uint8)
        return cls(pa.array([], pa.string()), *nothing, settled_before_ns=0)

    def __len__(self) -> int:
        return len(self.keys)

    def settled(self) -> npt.NDArray[np.bool_]:
        """Which records are trustworthy: their file was old enough when it was read.

        A file changed again within one tick of its file system's clock keeps its times, so equal stats prove nothing
        for a file that was touched just before it was read (Git's racy-clean rule, applied to the start of reading).
        """
        newest = np.maximum(self.stats[:, _MTIME], self.stats[:, _CTIME])
        in_whole_seconds = self.stats[:, _CTIME] % _SECOND_NS == 0
        margin = np.where(in_whole_seconds, _WHOLE_SECONDS_MARGIN_NS, 0)
        result: npt.NDArray[np.bool_] = newest + margin < self.settled_before_ns
        return result

    def match(self, keys: pa.StringArray, stats: StatMatrix) -> tuple[npt.NDArray[np.bool_], IdMatrix]:
        """Which of the files `keys`, whose stats are `stats`, are unchanged since their record, and their ids.

        Rows of the ids that are not vouched for are zero.
        """
        ids = np.zeros((len(keys), RAW_ID_BYTES), np.uint8)
        if not len(self) or not len(keys):
            return np.zeros(len(keys), np.bool_), ids
        settled = self.settled()
        if keys.equals(self.keys):
            mask = settled & (self.stats == stats).all(axis=1)
            ids[mask] = self.ids[mask]
            return mask, ids
        return self.match_at(self.positions(keys), stats)

    def match_at(self, position: npt.NDArray[np.int64], stats: StatMatrix) -> tuple[npt.NDArray[np.bool_], IdMatrix]:
        """As `match`, for files of which the number of the record is known, -1 where there is none."""
        ids = np.zeros((len(position), RAW_ID_BYTES), np.uint8)
        if not len(self):
            return np.zeros(len(position), np.bool_), ids
        settled = self.settled()
        known = position >= 0
        there = np.where(known, position, 0)
        mask = known & settled[there] & (self.stats[there] == stats).all(axis=1)
        ids[mask] = self.ids[there[mask]]
        return mask, ids

    def positions(self, keys: pa.StringArray) -> npt.NDArray[np.int64]:
        """For each key the number of its record, -1 where there is none."""
        found = pc.fill_null(pc.index_in(keys, value_set=self.keys), -1)
        return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)


def read_stat_records(path: Path) -> StatRecords:
    """The records in `path`; none if it is absent, cut off, changed or of another version."""
    try:
        data = path.read_bytes()
    except OSError:
        return StatRecords.empty()
    if len(data) < _HEADER_BYTES or not data.startswith(_MAGIC):
        return StatRecords.empty()
    count, key_bytes, settled_before_ns, stamp_bytes = _NUMBERS.unpack_from(data, len(_MAGIC))
    lengths = [count * _WORD_BYTES, count * 4 * _WORD_BYTES, count * RAW_ID_BYTES, key_bytes, stamp_bytes]
    ends = list(accumulate([_HEADER_BYTES, *lengths]))
    parts = [memoryview(data)[first:last] for first, last in pairwise(ends)]
    head = data[len(_MAGIC) : _HEADER_BYTES]
    if ends[-1] != len(data) or head != head[: _NUMBERS.size] + _checksum(head[: _NUMBERS.size], parts):
        return StatRecords.empty()
    key_ends, stats, ids, keys, stamp = parts
    offsets = np.zeros(count + 1, np.int32)
    offsets[1:] = np.frombuffer(key_ends, "<i8")
    return StatRecords(
        keys=pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(keys)),
        stats=np.frombuffer(stats, "<i8").reshape(-1, 4),
        ids=np.frombuffer(ids, np.uint8).reshape(-1, RAW_ID_BYTES),
        settled_before_ns=settled_before_ns,
        stamp=bytes(stamp).decode("utf-8"),
    )


def write_stat_records(path: Path, records: StatRecords) -> None:
    """Replace the records in `path` at once: a reader sees the old ones or the new ones."""
    keys = records.keys
    count = len(keys)
    if count:
        offsets = np.frombuffer(keys.buffers()[1], np.int32)[keys.offset : keys.offset + count + 1]
    else:
        offsets = np.zeros(1, np.int32)
    first, last = int(offsets[0]), int(offsets[-1])
    parts = [
        (offsets[1:].astype("<i8") - first).data,
        np.ascontiguousarray(records.stats, "<i8").data,
        np.ascontiguousarray(records.ids).data,
        memoryview(keys.buffers()[2])[first:last] if last > first else memoryview(b""),
        memoryview(records.stamp.encode("utf-8")),
    ]
    parts = [_as_bytes(part) for part in parts]
    numbers = _NUMBERS.pack(count, len(parts[3]), records.settled_before_ns, len(parts[4]))
    data = b"".join([_MAGIC, numbers, _checksum(numbers, parts), *parts])
    make_directory(path.parent)
    publish_bytes(path, data, failpoint="base.stat_records")


def _as_bytes(part: memoryview) -> memoryview:
    # A view with a zero in its shape cannot be cast.
    return part.cast("B") if part.nbytes else memoryview(b"")


def _checksum(numbers: bytes, parts: Iterable[memoryview]) -> bytes:
    checksum = hashlib.sha256(numbers)
    for part in parts:
        checksum.update(part)
    return checksum.digest()
