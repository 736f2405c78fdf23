"""Parquet footers of manifest files, read with suspicion: sizes are bounded before anything is decoded."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datapin.base.errors import BadRows, DamagedManifest, ManifestMissing, StorageFailed
from datapin.manifest.columns import shown

FORMAT = b"1"
FORMAT_MARK = b"datapin.format"
DIGEST_MARK = b"datapin.digest"
BYTES_MARK = b"datapin.bytes"
OUR_MARKS = (FORMAT_MARK, DIGEST_MARK, BYTES_MARK)
MARK_PREFIX = b"datapin."

ROW_GROUP_ROWS = 65_536

_MAGIC, _ENCRYPTED_MAGIC = b"PAR1", b"PARE"
_TAIL = struct.Struct("<I4s")
_MOST_FOOTER_BYTES = 64 << 20
_MOST_ROW_GROUPS = 100_000
_MOST_ROWS = 1 << 31
_MOST_DEPTH = 64
# Beyond this size a file must not claim to unpack to more than `_MOST_RATIO` times its length.
_ALWAYS_UNPACKED_BYTES = 256 << 20
_MOST_RATIO = 1000


@dataclass(frozen=True, slots=True)
class Footer:
    """What the end of one file says, before any row is read."""

    path: Path
    schema: pa.Schema
    rows: int
    marks: dict[bytes, bytes]  # our key-value pairs
    is_ours: bool  # written by our writer, so that its digest may be believed
    first_key: str | None  # of our own files that have rows
    last_key: str | None


@contextmanager
def readable(path: Path, shown_path: str) -> Iterator[None]:
    """Turn what Arrow and the file system raise while reading `path` into our errors."""
    try:
        yield
    except FileNotFoundError:
        raise ManifestMissing(dataset=shown_path, missing=path.name) from None
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        # Arrow raises OSError without a number for bytes that it cannot parse.
        if isinstance(error, OSError) and error.errno is not None:
            raise StorageFailed(action="read", path=shown_path, problem=os.strerror(error.errno)) from None
        raise DamagedManifest(path=shown_path, problem=shown(str(error).split("\n", 1)[0], 160)[1:-1]) from None


def open_parquet(path: Path, shown_path: str, read_dictionary: list[str] | None = None) -> pq.ParquetFile:
    """The Parquet file, after checks that do not trust it. Call inside `readable`."""
    _check_ends(path, shown_path)
    return pq.ParquetFile(
        path,
        read_dictionary=read_dictionary,
        thrift_string_size_limit=_MOST_FOOTER_BYTES,
        thrift_container_size_limit=1_000_000,
        schema_depth_limit=_MOST_DEPTH,
        page_checksum_verification=True,
    )


def read_footer(path: Path, shown_path: str) -> Footer:
    """The footer of `path`. Raises DamagedManifest, BadRows, ManifestMissing or StorageFailed."""
    with readable(path, shown_path), open_parquet(path, shown_path) as file:
        details, schema = file.metadata, file.schema_arrow
        _check_sizes(details, path, shown_path)
        marks = {name: value for name, value in (schema.metadata or {}).items() if name.startswith(MARK_PREFIX)}
        _check_format(marks, shown_path)
        is_ours = _is_ours(details, schema, marks)
        first, last = _key_range(details) if is_ours and details.num_rows else (None, None)
        return Footer(path, schema, details.num_rows, marks, is_ours, first, last)


def _check_ends(path: Path, shown_path: str) -> None:
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        length = os.fstat(number).st_size
        start = os.pread(number, 4, 0)
        tail = os.pread(number, _TAIL.size, max(length - _TAIL.size, 0))
    finally:
        os.close(number)
    if _ENCRYPTED_MAGIC in (start, tail[-4:]):
        raise BadRows(shown_path, "encrypted Parquet, expected plain")
    if start != _MAGIC or len(tail) < _TAIL.size or tail[-4:] != _MAGIC:
        raise DamagedManifest(path=shown_path, problem=f"{length} bytes that do not start and end as Parquet does")
    footer_bytes = _TAIL.unpack(tail)[0]
    if footer_bytes > min(length - _TAIL.size - len(_MAGIC), _MOST_FOOTER_BYTES):
        raise DamagedManifest(path=shown_path, problem=f"a footer of {footer_bytes} bytes in a file of {length}")


def _check_sizes(details: pq.FileMetaData, path: Path, shown_path: str) -> None:
    rows, groups = details.num_rows, details.num_row_groups
    if not 0 <= rows <= _MOST_ROWS or groups > _MOST_ROW_GROUPS:
        raise DamagedManifest(path=shown_path, problem=f"claims {rows} rows in {groups} row groups")
    unpacked, counted = 0, 0
    for number in range(groups):
        group = details.row_group(number)
        unpacked += max(group.total_byte_size, 0)
        counted += group.num_rows
        if group.num_rows < 0 or group.total_byte_size < 0:
            raise DamagedManifest(path=shown_path, problem=f"row group {number} claims a negative size")
    if counted != rows:
        raise DamagedManifest(path=shown_path, problem=f"claims {rows} rows, its row groups {counted}")
    length = path.stat().st_size
    # Keys differ, so a file needs a byte or more for each row; run lengths alone could claim billions in a few bytes.
    if unpacked < rows or unpacked > max(_ALWAYS_UNPACKED_BYTES, _MOST_RATIO * length):
        raise DamagedManifest(path=shown_path, problem=f"claims {rows} rows, {unpacked} bytes unpacked from {length}")


def _check_format(marks: dict[bytes, bytes], shown_path: str) -> None:
    seen = marks.get(FORMAT_MARK, FORMAT)
    if seen != FORMAT:
        raise BadRows(shown_path, f"format {shown(seen)}, this datapin reads '1': a newer datapin wrote it")


def _is_ours(details: pq.FileMetaData, schema: pa.Schema, marks: dict[bytes, bytes]) -> bool:
    """Whether our writer made this file.

    A program that reads our shard, changes rows and writes it back with pyarrow carries our metadata along, the
    digest with it. It does not carry our writer's settings: zstd throughout, statistics on the key alone.
    """
    digest, size = marks.get(DIGEST_MARK, b""), marks.get(BYTES_MARK, b"")
    if marks.get(FORMAT_MARK) != FORMAT or not _is_hex(digest) or not size.isdigit() or schema.names[0] != "key":
        return False
    for number in range(details.num_row_groups):
        group = details.row_group(number)
        is_last = number == details.num_row_groups - 1
        if group.num_rows != ROW_GROUP_ROWS and not (is_last and group.num_rows < ROW_GROUP_ROWS):
            return False
        for column in range(group.num_columns):
            chunk = group.column(column)
            if chunk.compression != "ZSTD" or chunk.is_stats_set != (column == 0):
                return False
    return True


def _is_hex(digest: bytes) -> bool:
    return len(digest) == 64 and set(digest) <= set(b"0123456789abcdef")


def _key_range(details: pq.FileMetaData) -> tuple[str, str]:
    first = details.row_group(0).column(0).statistics
    last = details.row_group(details.num_row_groups - 1).column(0).statistics
    if not first.has_min_max or not last.has_min_max:
        raise ValueError("no statistics on the key")
    return str(first.min), str(last.max)
