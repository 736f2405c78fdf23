"""A directory as a backend: on a disk, or on a file server that everybody mounts."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path

from datapin.backends.backend import Abilities, StoredObject, check_key, check_prefix
from datapin.base import failpoints
from datapin.base.errors import ObjectMissing, RemoteUnreachable
from datapin.base.files import (
    TEMPORARY_PREFIX,
    fsync_directory,
    lock,
    make_directory,
    publish_bytes,
    temporary_name,
    write_all,
)

_CHUNK_BYTES = 1 << 20
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_LOCK_FILE = f"{TEMPORARY_PREFIX}lock"


class LocalBackend:
    """Objects as files below a directory, which is made by the first put."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def url(self) -> str:
        """The directory."""
        return str(self._root)

    def put_if_absent(self, key: str, source: bytes | Path) -> bool:
        """See Backend. The file is fsynced under a temporary name, then linked, which fails if the key is taken."""
        target = self._root / check_key(key)
        with self._failures("write", key):
            if target.exists():
                if not target.is_file():  # it holds nothing that a push may rely on
                    raise OSError(errno.EINVAL, "it is no regular file", os.fspath(target))
                return False
            make_directory(target.parent)
            temporary = target.parent / temporary_name()
            try:
                _write_durably(temporary, source)
                failpoints.hit("backend.put.synced")
                is_new = self._link(temporary, target)
                failpoints.hit("backend.put.linked")
            finally:
                with suppress(FileNotFoundError):
                    temporary.unlink()
            fsync_directory(target.parent)
            return is_new

    def get(self, key: str) -> bytes:
        """See Backend."""
        with self._failures("read", key), _opened(self._root / check_key(key)) as file:
            return file.readall()

    def iter_chunks(self, key: str) -> Iterator[bytes]:
        """See Backend."""
        with self._failures("read", key):
            file = _opened(self._root / check_key(key))
        with file:
            while True:
                with self._failures("read", key):
                    chunk = file.read(_CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See Backend."""
        with self._failures("read", key), _opened(self._root / check_key(key)) as file:
            return [_read_at(file.fileno(), offset, length) for offset, length in ranges]

    def iter_objects(self, prefix: str) -> Iterator[StoredObject]:
        """See Backend. Names that cannot be keys are passed over: temporary files, and what others put there."""
        with self._failures("list", prefix or "."):
            found = list(_walk(self._root / check_prefix(prefix), prefix))
        yield from found

    def head(self, key: str) -> StoredObject | None:
        """See Backend."""
        with self._failures("look at", key):
            try:
                seen = os.stat(self._root / check_key(key))
            except (FileNotFoundError, NotADirectoryError):
                return None
            return StoredObject(key, seen.st_size, seen.st_mtime) if stat.S_ISREG(seen.st_mode) else None

    def delete(self, key: str) -> None:
        """See Backend."""
        target = self._root / check_key(key)
        with self._failures("delete", key):
            if not target.is_file():
                return
            # A replacement that has just compared must not bring the file back.
            with self._turn(), suppress(FileNotFoundError):
                target.unlink()
                fsync_directory(target.parent)

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """See Backend. The tag is the SHA-256 of the bytes."""
        data = self.get(key)
        return data, hashlib.sha256(data).hexdigest()

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        """See Backend. Replacements and deletions below one root take turns."""
        target = self._root / check_key(key)
        with self._failures("write", key):
            if not target.is_file():
                return False
            with self._turn():
                try:
                    seen = target.read_bytes()
                except FileNotFoundError:
                    return False
                if hashlib.sha256(seen).hexdigest() != tag:
                    return False
                publish_bytes(target, data, failpoint="backend.replace")
                return True

    def abilities(self, key: str, data: bytes) -> Abilities:
        """See Backend. Nothing is written but the lock file, which is no object."""
        check_key(key)
        with self._failures("lock", _LOCK_FILE):
            try:
                with lock(self._root / _LOCK_FILE, what=str(self._root), keep=False):
                    return Abilities(exclusive_put=True, replace=True)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                return Abilities(exclusive_put=False, replace=False, reason="this file server has no file locks")

    def _link(self, temporary: Path, target: Path) -> bool:
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # exFAT and some file servers have no hard links: writers take turns instead.
            with self._turn():
                if target.exists():
                    return False
                os.rename(temporary, target)
        return True

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with ExitStack() as held:
            try:
                held.enter_context(lock(self._root / _LOCK_FILE, what=str(self._root), keep=False))
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            yield

    @contextmanager
    def _failures(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if action == "read" and isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
                raise ObjectMissing(key, self.url) from None
            raise RemoteUnreachable(
                remote=self.url,
                problem=f"cannot {action} {key}: {error.strerror or error}",
                advice="check the directory, its rights and the free space, then run the same command again",
            ) from error


def _opened(path: Path) -> FileIO:
    """The file for reading. Never waits: a pipe is no object. Raises OSError."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file = FileIO(number, "rb")
    if stat.S_ISREG(os.fstat(number).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))


def _write_durably(path: Path, source: bytes | Path) -> None:
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        if isinstance(source, Path):
            with open(source, "rb", buffering=0) as original, open(number, "wb", buffering=0, closefd=False) as copy:
                shutil.copyfileobj(original, copy, _CHUNK_BYTES)
        else:
            write_all(number, failpoints.torn("backend.put.written", source))
        failpoints.hit("backend.put.written")
        os.fsync(number)
    finally:
        os.close(number)


def _read_at(number: int, offset: int, length: int) -> bytes:
    parts, missing = [], length
    while missing and (part := os.pread(number, missing, offset)):
        parts.append(part)
        offset, missing = offset + len(part), missing - len(part)
    return b"".join(parts)


def _walk(folder: Path, prefix: str) -> Iterator[StoredObject]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    # Sorted as whole keys are: "a-b" comes before "a/b", since "-" comes before "/".
    for entry in sorted(entries, key=lambda entry: f"{entry.name}/" if entry.is_dir() else entry.name):
        key = f"{prefix}{entry.name}"
        try:
            check_key(key)
        except ValueError:
            continue
        if entry.is_dir():
            yield from _walk(folder / entry.name, f"{key}/")
            continue
        with suppress(FileNotFoundError):  # deleted while we listed
            seen = entry.stat()
            if not stat.S_ISREG(seen.st_mode):
                continue  # a pipe or a device is no object
            yield StoredObject(key, seen.st_size, seen.st_mtime)
