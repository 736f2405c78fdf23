"""A folder tree entered one component at a time, never through a link: what is below stays below.

Every folder is opened relative to the open folder above it with O_NOFOLLOW, so a folder that somebody swaps for a link
is refused, also between two files (git-lfs CVE-2025-26625, gitoxide CVE-2026-44471). The opened folders of the current
path are kept open: an open folder is the folder itself and not its name, so no name is trusted twice.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from datapin.base import failpoints
from datapin.base.files import temporary_name, write_all

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# On the way to the top a folder that may only be passed through is enough.
_PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20
_MAY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH

StatRow = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode


class Obstructed(Exception):
    """A component of the path is not a folder: the argument is its path below the top, and what it is."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        self.path = path
        self.what = what


class SafeTree:
    """An open folder tree. `folder` arguments are key prefixes without a trailing slash, empty for the top."""

    def __init__(self, top: Path | int, *, create: bool = False) -> None:
        """`top` is an absolute path without any link, made if `create`, or the number of an open folder.

        Raises Obstructed, whose path begins with a slash then, or OSError.
        """
        self._top = os.dup(top) if isinstance(top, int) else _open_top(top, create=create)
        self._names: list[str] = []
        self._numbers: list[int] = []
        self._current: str | None = None
        self._device = os.fstat(self._top).st_dev
        self.mounted: dict[int, str] = {}  # of each other disk that was entered, a folder on it

    def twin(self) -> SafeTree:
        """The same tree for another thread, with open folders of its own."""
        return SafeTree(self._top)

    def close(self) -> None:
        """Close every folder."""
        self._leave(0)
        if self._top >= 0:
            os.close(self._top)
            self._top = -1

    def enter(self, folder: str, *, create: bool) -> int | None:
        """The open folder, made if `create`; None if it is not there. Raises Obstructed, OSError."""
        if folder == self._current:
            return self._numbers[-1] if self._numbers else self._top
        parts = folder.split("/") if folder else []
        same = 0
        while same < min(len(parts), len(self._names)) and parts[same] == self._names[same]:
            same += 1
        self._leave(same)
        for part in parts[same:]:
            number = self._open(part, create=create)
            if number is None:
                return None
            self._names.append(part)
            self._numbers.append(number)
        self._current = folder
        return self._numbers[-1] if self._numbers else self._top

    def names(self, folder: str) -> set[str]:
        """What the folder holds; nothing if it is not there. Raises Obstructed."""
        number = self.enter(folder, create=False)
        return set(os.listdir(number)) if number is not None else set()

    def stat(self, folder: str, name: str) -> os.stat_result | None:
        """The entry itself, not what it links to; None if it is not there. Raises Obstructed."""
        number = self.enter(folder, create=False)
        if number is None:
            return None
        try:
            return os.stat(name, dir_fd=number, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def stat_row(self, path: str) -> StatRow | None:
        """What tells the entry at this path from a changed one; None if it is not there. Raises Obstructed, OSError."""
        folder, _, name = path.rpartition("/")
        seen = self.stat(folder, name)
        return None if seen is None else stat_row(seen)

    def file_stats(
        self, folder: str, names: Sequence[str], marks: Sequence[int]
    ) -> tuple[list[int], list[int], list[tuple[int, os.stat_result]]]:
        """Marks of the files among `names`, four numbers for each of them, and marks of what is no file.

        Names that are not there are left out. One call for a folder: 100,000 calls of `stat` cost twice their system
        calls. Raises Obstructed.
        """
        files: list[int] = []
        rows: list[int] = []
        others: list[tuple[int, os.stat_result]] = []
        number = self.enter(folder, create=False)
        if number is None:
            return files, rows, others
        lstat, is_file = os.lstat, stat.S_ISREG
        for name, mark in zip(names, marks, strict=True):
            try:
                seen = lstat(name, dir_fd=number)
            except FileNotFoundError:
                continue
            if is_file(seen.st_mode):
                files.append(mark)
                rows += (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)
            else:
                others.append((mark, seen))
        return files, rows, others

    def hash(self, folder: str, name: str) -> bytes | None:
        """The SHA-256 of a file's bytes; None if it is not there or no file. Raises Obstructed, OSError."""
        number = self.enter(folder, create=False)
        if number is None:
            return None
        try:
            file = os.open(name, _READ_FILE, dir_fd=number)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                return None
            raise
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return None
            return _hash(file)
        finally:
            os.close(file)

    def stage(self, folder: str, temporary: str, data: bytes, *, is_synced: bool) -> None:
        """Write a file that gets its name by `place`, durably if `is_synced`. Raises Obstructed, OSError."""
        number = self.enter(folder, create=True)
        assert number is not None
        file = os.open(temporary, _NEW_FILE, 0o666, dir_fd=number)
        try:
            written = os.write(file, data)
            if written < len(data):
                write_all(file, memoryview(data)[written:])
            if is_synced:
                os.fsync(file)
        finally:
            os.close(file)
        failpoints.hit("checkout.file.written")

    def staged_path(self, folder: str, temporary: str) -> Path:
        """Where somebody else may write such a file, as long as nothing else is entered.

        The path leads through our open folder, so no component of it can be swapped. Raises Obstructed, OSError.
        """
        number = self.enter(folder, create=True)
        return Path(f"/proc/self/fd/{number}/{temporary}")

    def place(self, folder: str, temporary: str, name: str) -> StatRow:
        """Give a staged file its name, in place of a file or link of that name. Raises Obstructed, OSError."""
        number = self.enter(folder, create=False)
        if number is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
        os.replace(temporary, name, src_dir_fd=number, dst_dir_fd=number)
        return stat_row(os.lstat(name, dir_fd=number))

    def fsync(self, folder: str) -> None:
        """Make the names in a folder durable, if it is there. Raises Obstructed, OSError."""
        number = self.enter(folder, create=False)
        if number is not None:
            os.fsync(number)

    def link(self, folder: str, name: str, source: Path, raw_id: bytes) -> StatRow | None:
        """Put a second name of the file `source` there; None if it cannot be linked, or if its bytes are not `raw_id`.

        Nobody may write to the file any more, under either name. Raises Obstructed, OSError.
        """
        number = self.enter(folder, create=True)
        assert number is not None
        temporary = temporary_name()
        try:
            file = _open_link(source, temporary, number)
            if file is None:
                return None
            try:
                if _hash(file) != raw_id:
                    return None
                failpoints.hit("checkout.file.linked")
                os.replace(temporary, name, src_dir_fd=number, dst_dir_fd=number)
                return stat_row(os.fstat(file))
            finally:
                os.close(file)
        finally:
            # Also when all went well: between two names of one file a replacement does nothing.
            with suppress(OSError):
                os.unlink(temporary, dir_fd=number)

    def remove(self, folder: str, name: str) -> None:
        """Remove a file, if it is there. Raises Obstructed, OSError."""
        number = self.enter(folder, create=False)
        if number is not None:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=number)

    def remove_if_empty(self, folder: str) -> bool:
        """Remove a folder that holds nothing; whether it is gone. Never the top."""
        above, _, name = folder.rpartition("/")
        if not name:
            return False
        self._leave(0)
        with suppress(Obstructed):
            number = self.enter(above, create=False)
            if number is None:
                return True
            try:
                os.rmdir(name, dir_fd=number)
            except FileNotFoundError:
                return True
            except OSError:
                return False
            return True
        return False

    def _leave(self, depth: int) -> None:
        while len(self._numbers) > depth:
            os.close(self._numbers.pop())
            self._names.pop()
        self._current = None

    def _open(self, part: str, *, create: bool) -> int | None:
        above = self._numbers[-1] if self._numbers else self._top
        while True:
            try:
                number = os.open(part, _FOLDER, dir_fd=above)
                if (device := os.fstat(number).st_dev) != self._device:
                    self.mounted.setdefault(device, "/".join([*self._names, part]))
                return number
            except FileNotFoundError:
                if not create:
                    return None
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=above)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    what = kind_name(os.stat(part, dir_fd=above, follow_symlinks=False))
                    raise Obstructed("/".join([*self._names, part]), what) from None
                raise


def _open_top(path: Path, *, create: bool) -> int:
    """The folder `path`, entered from the root of the file system on, one component at a time."""
    parts = path.parts[1:]
    number = os.open(path.anchor, _PASSAGE if parts else _FOLDER)
    for depth, part in enumerate(parts, 1):
        above, flags = number, _FOLDER if depth == len(parts) else _PASSAGE
        try:
            if create:
                _make(part, above)
            number = os.open(part, flags, dir_fd=above)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                what = kind_name(os.stat(part, dir_fd=above, follow_symlinks=False))
                raise Obstructed("/" + "/".join(parts[:depth]), what) from None
            error.filename = error.filename or str(path)
            raise
        finally:
            os.close(above)
    return number


def _make(name: str, folder: int) -> None:
    """Make the folder `name` there durably, unless something of that name is there."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
        around = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(around)
        finally:
            os.close(around)


def _open_link(source: Path, name: str, folder: int) -> int | None:
    """Link `source` as `name` into the open folder, read-only, and open it; None if one of these cannot be done."""
    try:
        # Refused between file systems, where there are no links or too many, and for other people's files.
        os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    with suppress(OSError):
        file = os.open(name, _READ_FILE, dir_fd=folder)
        try:
            seen = os.fstat(file)
            if stat.S_ISREG(seen.st_mode):
                os.fchmod(file, stat.S_IMODE(seen.st_mode) & ~_MAY_WRITE)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
    return None


def _hash(file: int) -> bytes:
    digest = hashlib.sha256()
    while chunk := os.read(file, _CHUNK_BYTES):
        digest.update(chunk)
    return digest.digest()


def stat_row(seen: os.stat_result) -> StatRow:
    """What tells a file from a changed one."""
    return (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)


def kind_name(seen: os.stat_result) -> str:
    """What an entry is, for a message."""
    for test, name in ((stat.S_ISREG, "a file"), (stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link")):
        if test(seen.st_mode):
            return name
    return "not a file"
