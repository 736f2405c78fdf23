"""Reads one source file as it really was: one pass, fstat before and after. Standard library only."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable

ATTEMPTS = 3
CHUNK_BYTES = 1 << 20

# Non-blocking, since opening a fifo would wait for its writer; no links, since the walk resolved those it allows.
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_KINDS = {
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class SourceRefused(Exception):
    """One file cannot be added; the argument says why."""


class SourceChanged(SourceRefused):
    """The file changed during one attempt; another may do."""

    def __init__(self) -> None:
        super().__init__(f"changed while it was read, {ATTEMPTS} times")


def read_source(path: str, large_asset: int) -> tuple[bytes | None, os.stat_result]:
    """The whole file and its fstat, or None and the fstat if it holds `large_asset` bytes or more.

    Raises SourceRefused if it cannot be read, is no regular file or changed in each of three attempts.
    """
    for _ in range(ATTEMPTS):
        try:
            number = os.open(path, _OPEN)
            try:
                before = os.fstat(number)
                size = before.st_size
                if not stat.S_ISREG(before.st_mode):
                    raise SourceRefused(f"is {_kind(before)}, not a file")
                if size >= large_asset:
                    return None, before
                data = os.read(number, size + 1)  # a read that ends early on a regular file is its end
                if len(data) == size and _unchanged(before, os.fstat(number)):
                    return data, before
            finally:
                os.close(number)
        except OSError as error:
            raise SourceRefused(_reason(error, path)) from None
    raise SourceRefused(f"changed while it was read, {ATTEMPTS} times")


def stream_source(path: str, write: Callable[[memoryview], None] | None) -> tuple[bytes, os.stat_result]:
    """The SHA-256 and fstat of a file of any size; each chunk goes to `write` after it was hashed.

    One attempt only: what `write` got must be thrown away before the next. Raises SourceRefused; what `write`
    raises passes through.
    """
    try:
        number = os.open(path, _OPEN)
    except OSError as error:
        raise SourceRefused(_reason(error, path)) from None
    try:
        before = os.fstat(number)
        if not stat.S_ISREG(before.st_mode):
            raise SourceRefused(f"is {_kind(before)}, not a file")
        digest, size = hashlib.sha256(), 0
        buffer = memoryview(bytearray(CHUNK_BYTES))  # one for all chunks: a new one each would fault its pages in
        while count := _read_into(number, buffer, path):
            chunk = buffer[:count]
            digest.update(chunk)
            size += count
            if size > before.st_size:
                raise SourceChanged
            if write is not None:
                write(chunk)
        if size != before.st_size or not _unchanged(before, os.fstat(number)):
            raise SourceChanged
        return digest.digest(), before
    finally:
        os.close(number)


def _read_into(number: int, buffer: memoryview, path: str) -> int:
    try:
        return os.readv(number, [buffer])
    except OSError as error:
        raise SourceRefused(_reason(error, path)) from None


def _unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    return (
        before.st_size == after.st_size
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
        and before.st_ino == after.st_ino
    )


def _kind(found: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(found.st_mode), "something else")


def _reason(error: OSError, path: str) -> str:
    if error.errno == errno.ELOOP:
        return "is a symbolic link"
    if error.errno == errno.ENXIO:
        try:
            return f"is {_kind(os.lstat(path))}, not a file"
        except OSError:
            return "is a socket or a device, not a file"
    return error.strerror or str(error)
