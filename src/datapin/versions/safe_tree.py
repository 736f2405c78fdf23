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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from datapin.base import failpoints
from datapin.base.files import TEMPORARY_PREFIX, write_all

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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

    def __init__(self, top: Path | int) -> None:
        """`top` is a path, through links if it has any, or the number of an open folder, which stays open."""
        self._top = os.dup(top) if isinstance(top, int) else os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._names: list[str] = []
        self._numbers: list[int] = []
        self._current: str | None = None
        # Random once and then counted: drawing a name per file costs a tenth of writing it.
        self._drawn = int.from_bytes(os.urandom(8))

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
        number = self.enter(folder, create=False)
        if number is None:
            return None
        try:
            seen = os.lstat(name, dir_fd=number)
        except FileNotFoundError:
            return None
        return (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)

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

    def write(self, folder: str, name: str, data: bytes) -> StatRow:
        """Put a file there at once, in place of a file or link of that name. Raises Obstructed, OSError."""
        number = self.enter(folder, create=True)
        assert number is not None
        temporary = self._temporary_name()
        file = os.open(temporary, _NEW_FILE, 0o666, dir_fd=number)
        try:
            written = os.write(file, data)
            if written < len(data):
                write_all(file, memoryview(data)[written:])
            failpoints.hit("checkout.file.written")
            os.replace(temporary, name, src_dir_fd=number, dst_dir_fd=number)
            return stat_row(os.fstat(file))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=number)
            raise
        finally:
            os.close(file)

    @contextmanager
    def streamed(self, folder: str, name: str) -> Iterator[tuple[Path, list[StatRow]]]:
        """A path for somebody else to write the file to; at the end of the context it gets its name and its stat."""
        number = self.enter(folder, create=True)
        assert number is not None
        temporary = self._temporary_name()
        written: list[StatRow] = []
        try:
            # The path leads through our open folder, so no component of it can be swapped.
            yield Path(f"/proc/self/fd/{number}/{temporary}"), written
            failpoints.hit("checkout.file.written")
            os.replace(temporary, name, src_dir_fd=number, dst_dir_fd=number)
            written.append(stat_row(os.stat(name, dir_fd=number, follow_symlinks=False)))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=number)
            raise

    def link(self, folder: str, name: str, source: Path, raw_id: bytes) -> StatRow | None:
        """Put a second name of the file `source` there; None if it cannot be linked, or if its bytes are not `raw_id`.

        Nobody may write to the file any more, under either name. Raises Obstructed, OSError.
        """
        number = self.enter(folder, create=True)
        assert number is not None
        temporary = self._temporary_name()
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

    def _temporary_name(self) -> str:
        self._drawn = (self._drawn + 1) & 0xFFFF_FFFF_FFFF_FFFF
        return f"{TEMPORARY_PREFIX}{os.getpid()}-{self._drawn:016x}"

    def _leave(self, depth: int) -> None:
        while len(self._numbers) > depth:
            os.close(self._numbers.pop())
            self._names.pop()
        self._current = None

    def _open(self, part: str, *, create: bool) -> int | None:
        above = self._numbers[-1] if self._numbers else self._top
        while True:
            try:
                return os.open(part, _FOLDER, dir_fd=above)
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
