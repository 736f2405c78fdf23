"""The layout of a file of stat records.

Little-endian: magic, count u64, bytes of keys u64, settled_before_ns i64, bytes of stamp u64, SHA-256 of all that
follows and of the four numbers; then key ends int64 [n], stats int64 [n, 4], ids uint8 [n, 32], keys, stamp.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from datapin.base.ids import RAW_ID_BYTES

STAT_NUMBERS = 4  # size, mtime_ns, ctime_ns, inode

_MAGIC = b"DPSTAT1\n"
_NUMBERS = struct.Struct("<QQqQ")
_CHECKSUM_BYTES = 32
_HEADER_BYTES = len(_MAGIC) + _NUMBERS.size + _CHECKSUM_BYTES
_WORD_BYTES = 8


@dataclass(frozen=True, slots=True)
class StatHeading:
    """What stands before the records; `checksum` is what the file says of them."""

    count: int
    key_bytes: int
    settled_before_ns: int
    stamp_bytes: int
    checksum: bytes

    def lengths(self) -> list[int]:
        """Bytes of each section."""
        return [
            self.count * _WORD_BYTES,
            self.count * STAT_NUMBERS * _WORD_BYTES,
            self.count * RAW_ID_BYTES,
            self.key_bytes,
            self.stamp_bytes,
        ]

    def numbers(self) -> bytes:
        """The four numbers as the file has them."""
        return _NUMBERS.pack(self.count, self.key_bytes, self.settled_before_ns, self.stamp_bytes)


@dataclass(frozen=True, slots=True)
class StatSections:
    """A file of records in its parts, which are not copied."""

    heading: StatHeading
    key_ends: memoryview
    stats: memoryview
    ids: memoryview
    keys: memoryview
    stamp: memoryview

    def is_whole(self) -> bool:
        """Whether the parts are those that were written."""
        parts = [self.key_ends, self.stats, self.ids, self.keys, self.stamp]
        return _checksum(self.heading.numbers(), parts) == self.heading.checksum


def read_sections(path: Path) -> StatSections | None:
    """The parts of the file `path`, not compared with their checksum.

    None if it is absent, cut off or of another kind.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    heading = _heading(data[:_HEADER_BYTES], len(data))
    if heading is None:
        return None
    parts, body, first = [], memoryview(data), _HEADER_BYTES
    for length in heading.lengths():
        parts.append(body[first : first + length])
        first += length
    return StatSections(heading, *parts)


def _heading(data: bytes, file_bytes: int) -> StatHeading | None:
    if len(data) < _HEADER_BYTES or not data.startswith(_MAGIC):
        return None
    count, key_bytes, settled_before_ns, stamp_bytes = _NUMBERS.unpack_from(data, len(_MAGIC))
    heading = StatHeading(count, key_bytes, settled_before_ns, stamp_bytes, data[-_CHECKSUM_BYTES:])
    return heading if file_bytes == _HEADER_BYTES + sum(heading.lengths()) else None


def joined(settled_before_ns: int, count: int, parts: list[memoryview]) -> bytes:
    """A file of `count` records; `parts` are its five sections in order."""
    numbers = _NUMBERS.pack(count, len(parts[3]), settled_before_ns, len(parts[4]))
    return b"".join([_MAGIC, numbers, _checksum(numbers, parts), *parts])


def _checksum(numbers: bytes, parts: Iterable[memoryview]) -> bytes:
    checksum = hashlib.sha256(numbers)
    for part in parts:
        checksum.update(part)
    return checksum.digest()
