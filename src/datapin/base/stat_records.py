"""A file of (key, stat, asset id) records: it says which files of a tree need not be read again.

Layout, little-endian: magic, count u64, bytes of keys u64, settled_before_ns i64, bytes of stamp u64, SHA-256 of all
that follows and of the four numbers; then key ends int64 [n], stats int64 [n, 4], ids uint8 [n, 32], keys, stamp.
The file is a cache: whatever is wrong with it, it counts as empty.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.files import make_directory, publish_bytes
from datapin.base.id_columns import IdMatrix
from datapin.base.ids import RAW_ID_BYTES

StatMatrix = npt.NDArray[np.int64]  # [n, 4]: size, mtime_ns, ctime_ns, inode

_MAGIC = b"DPSTAT1\n"
_NUMBERS = struct.Struct("<QQqQ")
_HEADER_BYTES = len(_MAGIC) + _NUMBERS.size + 32
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
    numbers = data[len(_MAGIC) : len(_MAGIC) + _NUMBERS.size]
    count, key_bytes, settled_before_ns, stamp_bytes = _NUMBERS.unpack(numbers)
    body = memoryview(data)[_HEADER_BYTES:]
    if len(body) != count * (8 + 32 + RAW_ID_BYTES) + key_bytes + stamp_bytes:
        return StatRecords.empty()
    if _checksum(numbers, body) != data[len(_MAGIC) + _NUMBERS.size : _HEADER_BYTES]:
        return StatRecords.empty()
    at = np.cumsum([0, count * 8, count * 32, count * RAW_ID_BYTES, key_bytes])
    ends = np.frombuffer(body[at[0] : at[1]], "<i8")
    offsets = np.zeros(count + 1, np.int32)
    offsets[1:] = ends
    return StatRecords(
        keys=pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(body[at[3] : at[4]])),
        stats=np.frombuffer(body[at[1] : at[2]], "<i8").reshape(-1, 4),
        ids=np.frombuffer(body[at[2] : at[3]], np.uint8).reshape(-1, RAW_ID_BYTES),
        settled_before_ns=settled_before_ns,
        stamp=bytes(body[at[4] :]).decode("utf-8"),
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
    stamp = records.stamp.encode("utf-8")
    body = b"".join(
        [
            (offsets[1:].astype("<i8") - first).tobytes(),
            records.stats.astype("<i8", copy=False).tobytes(),
            records.ids.tobytes(),
            bytes(keys.buffers()[2])[first:last] if last > first else b"",
            stamp,
        ]
    )
    numbers = _NUMBERS.pack(count, last - first, records.settled_before_ns, len(stamp))
    make_directory(path.parent)
    publish_bytes(path, b"".join([_MAGIC, numbers, _checksum(numbers, body), body]), failpoint="base.stat_records")


def _checksum(numbers: bytes, body: bytes | memoryview) -> bytes:
    checksum = hashlib.sha256(numbers)
    checksum.update(body)
    return checksum.digest()
