"""A pack's table as a NumPy array, read through its trailer and checked; never found by scanning payload."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from datapin.base.errors import DamagedPack
from datapin.pack.format import (
    CODEC_RAW,
    CODEC_ZSTD,
    MAGIC,
    RECORD_BYTES,
    TRAILER_BYTES,
    decode_trailer,
)

TableRecord = np.dtype(
    [
        ("id", np.uint8, (32,)),
        ("offset", "<u8"),
        ("stored", "<u8"),
        ("raw", "<u8"),
        ("codec", np.uint8),
        ("pad", np.uint8, (7,)),
    ]
)
Table = npt.NDArray[Any]  # structured, TableRecord

ReadAt = Callable[[int, int], bytes]  # (offset, length) -> bytes, shorter only at the end of the file


def records_from_bytes(table: bytes) -> Table:
    """A table's bytes as records, unchecked."""
    return np.frombuffer(table, dtype=TableRecord)


def read_table(read_at: ReadAt, pack_bytes: int, path: str) -> Table:
    """The checked table of the pack of `pack_bytes` that `read_at` reads.

    Raises DamagedPack if magic, trailer, table hash or a record is not what the format says.
    """
    if pack_bytes < len(MAGIC) + TRAILER_BYTES or read_at(0, len(MAGIC)) != MAGIC:
        raise DamagedPack(path, f"does not begin with {MAGIC!r}, or is shorter than an empty pack")
    trailer = decode_trailer(read_at(pack_bytes - TRAILER_BYTES, TRAILER_BYTES), pack_bytes, path)
    raw = read_at(trailer.table_offset, trailer.count * RECORD_BYTES)
    if len(raw) != trailer.count * RECORD_BYTES or hashlib.sha256(raw).digest() != trailer.table_hash:
        raise DamagedPack(path, "its table does not hash to what the trailer says")
    table = records_from_bytes(raw)
    check_records(table, trailer.table_offset, path)
    return table


def read_table_of_file(path: str | os.PathLike[str]) -> Table:
    """`read_table` for a file. Raises DamagedPack, OSError."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return read_table(lambda offset, length: _read_at(number, offset, length), os.fstat(number).st_size, str(path))
    finally:
        os.close(number)


def check_records(table: Table, table_offset: int, path: str) -> None:
    """Raises DamagedPack unless the assets lie in file order between magic and table, none over another."""
    if not len(table):
        return
    starts, lengths = table["offset"], table["stored"]
    # uint64 sums wrap around: a length is bounded before it is added.
    if (starts < len(MAGIC)).any() or (starts > table_offset).any() or (lengths > table_offset).any():
        raise DamagedPack(path, "a record points outside the pack")
    ends = starts + lengths
    if (ends > table_offset).any() or (ends[:-1] > starts[1:]).any():
        raise DamagedPack(path, "records overlap, or point into the table")
    raw = table["codec"] == CODEC_RAW
    if (table["raw"][raw] != lengths[raw]).any():
        raise DamagedPack(path, "a raw record has two lengths")
    if (~raw & (table["codec"] != CODEC_ZSTD)).any():
        raise DamagedPack(path, "a record has an unknown codec")


def _read_at(number: int, offset: int, length: int) -> bytes:
    parts, missing = [], length
    while missing:
        part = os.pread(number, missing, offset)
        if not part:
            break
        parts.append(part)
        offset, missing = offset + len(part), missing - len(part)
    return b"".join(parts)
