"""Single objects on DVC's file systems: looked at, read, written whole."""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from datapin.backends.dvcfs.connection import Connection, Kind
from datapin.backends.dvcfs.errors import foreign_errors
from datapin.backends.dvcfs.listing import look
from datapin.base import failpoints
from datapin.base.files import temporary_name

_CHUNK_BYTES = 4 << 20
_WEBDAV = ("webdav", "webdavs")
_HADOOP = ("hdfs", "webhdfs")


def read_chunks(place: Connection, key: str, *, skip_bytes: int = 0) -> Iterator[bytes]:
    """The object in pieces, without its first `skip_bytes`."""
    # fsspec reads a web server's file in blocks, which needs a server that gives ranges, unless it is told not to.
    streamed = {"block_size": 0} if place.kind is Kind.PAGES else {}
    with place.raw.open(place.path(key), "rb", **streamed) as file:
        if skip_bytes and place.kind is Kind.PAGES:
            while skip_bytes and (skipped := file.read(min(skip_bytes, _CHUNK_BYTES))):
                skip_bytes -= len(skipped)
        elif skip_bytes:
            file.seek(skip_bytes)
        chunk = file.read(_CHUNK_BYTES)
        if not chunk and not skip_bytes and place.kind is Kind.OBJECTS and look(place, key) is None:
            raise FileNotFoundError(key)  # s3fs opens folders, too
        while chunk:
            yield bytes(chunk)
            chunk = file.read(_CHUNK_BYTES)


def read_ranges_at_once(
    place: Connection, key: str, ranges: Sequence[tuple[int, int]], *, is_tried: bool
) -> list[bytes] | None:
    """The bytes at each range by requests for just these; None if the server gives something else.

    A server may answer with the whole object: unless it `is_tried`, the first range goes alone.
    """
    found = look(place, key)
    if found is None:
        raise FileNotFoundError(key)
    size_bytes = found.size_bytes
    inside = [(min(start, size_bytes), min(start + length, size_bytes)) for start, length in ranges]
    # Servers take a range without bytes for a mistake.
    asked = [(start, end) for start, end in inside if start < end]
    parts: list[bytes] = []
    for some in (asked,) if is_tried else (asked[:1], asked[1:]):
        starts, ends = [start for start, _ in some], [end for _, end in some]
        paths = [place.path(key)] * len(some)
        parts += [bytes(part) for part in place.raw.cat_ranges(paths, starts, ends, on_error="raise")]
        # The whole object is as long as one of its ranges only if it is that range.
        if any(len(part) != end - start for part, (start, end) in zip(parts, asked, strict=False)):
            return None
    came = iter(parts)
    return [next(came) if start < end else b"" for start, end in inside]


def read_ranges_of_file(place: Connection, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes at each range, from one open file."""
    with place.raw.open(place.path(key), "rb") as file:
        return [_read_at(file, start, length) for start, length in ranges]


def read_ranges_through(place: Connection, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes at each range, from one reading of the object from its start to the last range's end."""
    parts = [bytearray() for _ in ranges]
    most = max((start + length for start, length in ranges), default=0)
    at = 0
    for chunk in read_chunks(place, key):
        for part, (start, length) in zip(parts, ranges, strict=True):
            part += chunk[max(start - at, 0) : max(start + length - at, 0)]
        at += len(chunk)
        if at >= most:
            break
    return [bytes(part) for part in parts]


def is_same(place: Connection, key: str, source: bytes | Path) -> bool:
    """Whether the object holds the very bytes of `source`."""
    there = hashlib.sha256()
    for chunk in read_chunks(place, key):
        there.update(chunk)
    with _opened(source) as file:
        return hashlib.file_digest(file, "sha256").digest() == there.digest()


def write(place: Connection, key: str, source: bytes | Path, *, over: bool) -> bool:
    """Put the object there, whole or not at all; False if somebody else's is there by now and `over` is not set."""
    if place.kind is Kind.OBJECTS:
        return _write_object(place, key, source)
    target = place.path(key)
    folder = posixpath.dirname(target)
    temporary = posixpath.join(folder, temporary_name())
    try:
        try:
            _upload(place, temporary, source)
        except FileNotFoundError:
            if not place.base:
                # WebDAV makes one folder at a time, and the remote's own is none of those below it.
                place.filesystem.makedirs("")
            place.filesystem.makedirs(folder)
            _upload(place, temporary, source)
        failpoints.hit("backend.put.synced")
        is_ours = (over or look(place, key) is None) and _rename(place, temporary, target, over=over)
        failpoints.hit("backend.put.linked")
    except BaseException:
        _remove(place, temporary)
        raise
    if not is_ours:
        _remove(place, temporary)
    return is_ours


def _write_object(place: Connection, key: str, source: bytes | Path) -> bool:
    try:
        if isinstance(source, bytes):
            place.raw.pipe_file(place.path(key), source)
        else:
            place.raw.put_file(os.fspath(source), place.path(key))
    except FileExistsError:  # Azure's refuses to take a name twice
        return False
    return True


def _upload(place: Connection, path: str, source: bytes | Path) -> None:
    if place.protocol != "ssh":
        if isinstance(source, bytes):
            place.raw.pipe_file(path, source)
        else:
            place.raw.put_file(os.fspath(source), path)
        return
    import asyncssh

    with _opened(source) as file, place.raw.open(path, "wb") as there:
        shutil.copyfileobj(file, there, _CHUNK_BYTES)
        with suppress(asyncssh.SFTPOpUnsupported):
            there.fsync()


def _rename(place: Connection, temporary: str, target: str, *, over: bool) -> bool:
    if place.protocol in _WEBDAV:
        return _rename_by_webdav(place.raw, temporary, target, over=over)
    if over and place.protocol in _HADOOP:
        # Hadoop renames onto no other file. A reader in between finds nothing there and no part.
        _remove(place, target)
    try:
        place.raw.mv(temporary, target)
    except FileExistsError:
        return False
    # WebHDFS refuses without an error.
    return place.protocol not in _HADOOP or not place.raw.exists(temporary)


def _rename_by_webdav(raw: Any, temporary: str, target: str, *, over: bool) -> bool:
    from webdav4.client import ResourceAlreadyExists

    try:
        # fsspec's own `mv` would copy and delete.
        raw.client.move(temporary, target, overwrite=over)
    except ResourceAlreadyExists:
        return False
    return True


def _remove(place: Connection, path: str) -> None:
    with suppress(*foreign_errors()):
        place.raw.rm_file(path)


def _read_at(file: Any, start: int, length: int) -> bytes:
    file.seek(start)
    parts, missing = [], length
    while missing and (part := file.read(missing)):
        parts.append(bytes(part))
        missing -= len(part)
    return b"".join(parts)


def _opened(source: bytes | Path) -> Any:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")
