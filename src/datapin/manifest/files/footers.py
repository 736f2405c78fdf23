"""Parquet footers of manifest files, read with suspicion: sizes are bounded before anything is decoded."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datapin.base.errors import BadRows, DamagedManifest, ManifestMissing, StorageFailed
from datapin.manifest.columns.columns import shown
from datapin.manifest.files.thrift import decode_struct

FORMAT = b"1"
FORMAT_MARK = b"datapin.format"
DIGEST_MARK = b"datapin.digest"
BYTES_MARK = b"datapin.bytes"
OUR_MARKS = (FORMAT_MARK, DIGEST_MARK, BYTES_MARK)
MARK_PREFIX = b"datapin."

ROW_GROUP_ROWS = 65_536

_MAGIC, _ENCRYPTED_MAGIC = b"PAR1", b"PARE"
_TAIL = struct.Struct("<I4s")
_MOST_FOOTER_BYTES = 16 << 20
_MOST_ROW_GROUPS = 100_000
_MOST_ROWS = 1 << 31
_MOST_DEPTH = 64
# Beyond this size a file must not claim to unpack to more than `_MOST_RATIO` times its length.
_ALWAYS_UNPACKED_BYTES = 256 << 20
_MOST_RATIO = 1000
_ZSTD = 6


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column of one row group; `start` and `stored_bytes` are where its pages lie, -1 if the footer does not tell.

    `form` is how they are stored: physical type, encodings, number of values.
    """

    path: tuple[str, ...]
    codec: int
    has_dictionary: bool
    has_statistics: bool
    least: bytes | None
    greatest: bytes | None
    form: tuple[object, ...]
    start: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group; `bytes` as it claims to be unpacked."""

    rows: int
    bytes: int
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Footer:
    """What the end of one file says, before any row is read."""

    path: Path
    schema: pa.Schema
    rows: int
    groups: tuple[RowGroup, ...]
    marks: dict[bytes, bytes]  # our key-value pairs
    is_ours: bool  # written by our writer, so that its digest may be believed
    first_key: str  # of our own files that have rows, else empty
    last_key: str


@contextmanager
def readable(path: Path, shown_path: str) -> Iterator[None]:
    """Turn what Arrow and the file system raise while reading `path` into our errors."""
    try:
        yield
    except FileNotFoundError:
        raise ManifestMissing(dataset=shown_path, missing=path.name) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        # Arrow raises OSError without a number for bytes that it cannot parse.
        if isinstance(error, OSError) and error.errno is not None:
            raise StorageFailed(action="read", path=shown_path, problem=os.strerror(error.errno)) from None
        raise DamagedManifest(path=shown_path, problem=shown(str(error).split("\n", 1)[0], 160)[1:-1]) from None


def open_parquet(path: Path | pa.Buffer, read_dictionary: list[str] | None = None) -> pq.ParquetFile:
    """The Parquet file, or its bytes, whose footer `read_footer` has checked. Call inside `readable`.

    Only its schema and rows may be asked for: its metadata accessors can end the process, see thrift.py.
    """
    return pq.ParquetFile(
        pa.BufferReader(path) if isinstance(path, pa.Buffer) else path,
        read_dictionary=read_dictionary,
        thrift_string_size_limit=_MOST_FOOTER_BYTES,
        thrift_container_size_limit=1_000_000,
        schema_depth_limit=_MOST_DEPTH,
        page_checksum_verification=True,
    )


def read_footer(path: Path, shown_path: str) -> Footer:
    """The footer of `path`. Raises DamagedManifest, BadRows, ManifestMissing or StorageFailed."""
    with readable(path, shown_path):
        length, fields = _read_tail(path, shown_path)
        rows, groups = fields.get(3), tuple(_row_group(group) for group in _structs(fields.get(4)))
        _check_sizes(rows, groups, length, shown_path)
        marks = _our_pairs(fields.get(5))
        _check_format(marks, shown_path)
        is_ours = _is_ours(groups, marks)
        first, last = _key_range(groups) if is_ours and rows else ("", "")
        with open_parquet(path) as file:
            schema = file.schema_arrow
    return Footer(path, schema, sum(group.rows for group in groups), groups, marks, is_ours, first, last)


def read_writer(path: Path, shown_path: str) -> str:
    """The program that says it wrote the file, `parquet-cpp-arrow version 21.0.0` for example; empty if none does.

    Raises as `read_footer`.
    """
    with readable(path, shown_path):
        writer = _read_tail(path, shown_path)[1].get(6)
    return writer.decode("utf-8", "replace") if isinstance(writer, bytes) else ""


def _read_tail(path: Path, shown_path: str) -> tuple[int, dict[int, Any]]:
    """The file's length, and the fields of Parquet's FileMetaData."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        length = os.fstat(number).st_size
        start = os.pread(number, 4, 0)
        tail = os.pread(number, _TAIL.size, max(length - _TAIL.size, 0))
        if _ENCRYPTED_MAGIC in (start, tail[-4:]):
            raise BadRows(shown_path, "encrypted Parquet, expected plain")
        if start != _MAGIC or len(tail) < _TAIL.size or tail[-4:] != _MAGIC:
            raise DamagedManifest(path=shown_path, problem=f"{length} bytes that do not start and end as Parquet does")
        footer_bytes = _TAIL.unpack(tail)[0]
        if footer_bytes > min(length - _TAIL.size - len(_MAGIC), _MOST_FOOTER_BYTES):
            raise DamagedManifest(path=shown_path, problem=f"a footer of {footer_bytes} bytes in a file of {length}")
        data = os.pread(number, footer_bytes, length - _TAIL.size - footer_bytes)
    finally:
        os.close(number)
    return length, decode_struct(data)


def _structs(value: Any) -> list[dict[int, Any]]:
    """A list of structs, empty if absent. Raises ValueError if it is anything else."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("a footer whose lists hold something else")
    return value


def _our_pairs(value: Any) -> dict[bytes, bytes]:
    pairs = ((pair.get(1), pair.get(2)) for pair in _structs(value))
    return {
        name: text
        for name, text in pairs
        if isinstance(name, bytes) and isinstance(text, bytes) and name.startswith(MARK_PREFIX)
    }


def _row_group(fields: dict[int, Any]) -> RowGroup:
    """A row group from its Thrift fields, whatever they are. Raises ValueError."""
    rows, size = fields.get(3), fields.get(2)
    if not isinstance(rows, int) or not isinstance(size, int) or rows < 0 or size < 0:
        raise ValueError(f"a row group of {rows} rows and {size} bytes")
    return RowGroup(rows, size, tuple(_chunk(chunk) for chunk in _structs(fields.get(1))))


def _chunk(fields: dict[int, Any]) -> Chunk:
    details = fields.get(3)
    if not isinstance(details, dict):
        raise ValueError("a column whose details are encrypted or missing")
    path, codec = details.get(3), details.get(4)
    if not isinstance(path, list) or not all(isinstance(part, bytes) for part in path) or not isinstance(codec, int):
        raise ValueError("a column without a name")
    statistics = details.get(12)
    bounds = statistics if isinstance(statistics, dict) else {}
    least, greatest = bounds.get(6), bounds.get(5)
    encodings, size = details.get(2), details.get(7)
    starts = [details[field] for field in (9, 11) if isinstance(details.get(field), int)]
    is_told = bool(starts) and min(starts) > 0 and isinstance(size, int) and size >= 0
    return Chunk(
        path=tuple(part.decode("utf-8") for part in path),
        codec=codec,
        has_dictionary=details.get(11) is not None,
        has_statistics=statistics is not None,
        least=least if isinstance(least, bytes) else None,
        greatest=greatest if isinstance(greatest, bytes) else None,
        form=(details.get(1), tuple(encodings) if isinstance(encodings, list) else None, details.get(5)),
        start=min(starts) if is_told else -1,
        stored_bytes=size if is_told and isinstance(size, int) else -1,
    )


def _check_sizes(rows: Any, groups: tuple[RowGroup, ...], length: int, shown_path: str) -> None:
    if not isinstance(rows, int) or not 0 <= rows <= _MOST_ROWS or len(groups) > _MOST_ROW_GROUPS:
        raise DamagedManifest(path=shown_path, problem=f"claims {rows} rows in {len(groups)} row groups")
    counted, unpacked = sum(group.rows for group in groups), sum(group.bytes for group in groups)
    if counted != rows:
        raise DamagedManifest(path=shown_path, problem=f"claims {rows} rows, its row groups {counted}")
    # Keys differ, so a file needs a byte or more for each row; run lengths alone could claim billions in a few bytes.
    if unpacked < rows or unpacked > max(_ALWAYS_UNPACKED_BYTES, _MOST_RATIO * length):
        raise DamagedManifest(path=shown_path, problem=f"claims {rows} rows, {unpacked} bytes unpacked from {length}")


def _check_format(marks: dict[bytes, bytes], shown_path: str) -> None:
    seen = marks.get(FORMAT_MARK, FORMAT)
    if seen != FORMAT:
        raise BadRows(shown_path, f"format {shown(seen)}, this datapin reads '1': a newer datapin wrote it")


def _is_ours(groups: tuple[RowGroup, ...], marks: dict[bytes, bytes]) -> bool:
    """Whether our writer made this file.

    A program that reads our shard, changes rows and writes it back with pyarrow carries our metadata along, the
    digest with it. It does not carry our writer's settings: zstd throughout, statistics on the key alone.
    """
    digest, size = marks.get(DIGEST_MARK, b""), marks.get(BYTES_MARK, b"")
    if marks.get(FORMAT_MARK) != FORMAT or not _is_hex(digest) or not size.isdigit():
        return False
    full = all(group.rows == ROW_GROUP_ROWS for group in groups[:-1])
    if not full or (groups and groups[-1].rows > ROW_GROUP_ROWS):
        return False
    return all(
        chunk.codec == _ZSTD and chunk.has_statistics == (chunk.path == ("key",))
        for group in groups
        for chunk in group.chunks
    )


def _is_hex(digest: bytes) -> bool:
    return len(digest) == 64 and set(digest) <= set(b"0123456789abcdef")


def _key_range(groups: tuple[RowGroup, ...]) -> tuple[str, str]:
    first = next((chunk.least for chunk in groups[0].chunks if chunk.path == ("key",)), None)
    last = next((chunk.greatest for chunk in groups[-1].chunks if chunk.path == ("key",)), None)
    if first is None or last is None:
        raise ValueError("no statistics on the key")
    return first.decode("utf-8"), last.decode("utf-8")
