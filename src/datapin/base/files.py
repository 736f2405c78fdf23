"""Durable files: write a temporary one, fsync, rename, fsync the directory; locks.

Durable means: the data and the name survive power loss (docs/protocols.md: I4). A failed fsync is final: the kernel
may have dropped the dirty pages, so the file is discarded and never fsynced again (Rebello et al., ATC 2020).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from datapin.base import failpoints, log
from datapin.base.errors import Locked

TEMPORARY_PREFIX = ".tmp-"
_OUR_NAMES = re.compile(r"\.tmp-([1-9][0-9]*)-[0-9a-f]{16}\Z")
_STALE_AFTER_S = 24 * 3600.0
_A_MOMENT_S = 0.2


def temporary_name() -> str:
    """A new name for a file that is not published yet: pid and random, so that two processes never share one."""
    return f"{TEMPORARY_PREFIX}{os.getpid()}-{os.urandom(8).hex()}"


def fsync_directory(directory: Path | str) -> None:
    """Make the names in `directory` durable."""
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def make_directory(directory: Path) -> None:
    """Create `directory` and its parents, each name durable."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    with suppress(FileExistsError):
        directory.mkdir()
    fsync_directory(directory.parent)


def write_all(number: int, data: bytes | memoryview) -> None:
    """Write every byte to the open file `number`, also after short writes."""
    view = memoryview(data)
    while len(view):
        view = view[os.write(number, view) :]


def publish_bytes(path: Path, data: bytes, *, failpoint: str = "") -> None:
    """Write `data` to `path` durably and at once: a reader sees the old file or the whole new one.

    `failpoint` names the three places where a test may stop it: `<failpoint>.written`, `.synced`, `.renamed`.
    """
    temporary = path.parent / temporary_name()
    number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        try:
            write_all(number, failpoints.torn(f"{failpoint}.written", data) if failpoint else data)
            if failpoint:
                failpoints.hit(f"{failpoint}.written")
            os.fsync(number)
        finally:
            os.close(number)
        publish_file(temporary, path, failpoint=failpoint)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def publish_file(temporary: Path, path: Path, *, failpoint: str = "") -> None:
    """Give an already fsynced file its name, durably."""
    if failpoint:
        failpoints.hit(f"{failpoint}.synced")
    os.replace(temporary, path)
    if failpoint:
        failpoints.hit(f"{failpoint}.renamed")
    fsync_directory(path.parent)


def fsync_path(path: Path) -> None:
    """Make the bytes of an existing file durable (one written by a library that does not)."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sweep_temporaries(directory: Path, *, older_than_s: float = _STALE_AFTER_S) -> int:
    """Remove temporary files and folders that a crash left in `directory`; the number removed."""
    if not directory.is_dir():
        return 0
    removed, now = 0, time.time()
    for entry in os.scandir(directory):
        if not entry.name.startswith(TEMPORARY_PREFIX):
            continue
        with suppress(FileNotFoundError):
            if now - entry.stat(follow_symlinks=False).st_mtime < older_than_s:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
            removed += 1
    return removed


def sweep_leftovers(directory: Path) -> int:
    """Remove temporary files of ours in a folder of the user's, whose processes have died; the number removed.

    Only names that we give, and no folders: a swap may still need them. A process in another container is not seen
    here, so that what was written just now stays.
    """
    removed, now = 0, time.time()
    for entry in os.scandir(directory):
        named = _OUR_NAMES.match(entry.name)
        if named is None or not entry.is_file(follow_symlinks=False) or _lives(int(named[1])):
            continue
        with suppress(FileNotFoundError):
            if now - entry.stat(follow_symlinks=False).st_mtime >= _A_MOMENT_S:
                os.unlink(entry.path)
                removed += 1
    return removed


def is_left_over(name: str) -> bool:
    """Whether a temporary name of ours, or what stepped aside for it, is that of a process that has died."""
    named = _OUR_NAMES.match(name.removesuffix(".old"))
    return named is not None and not _lives(int(named[1]))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def lock(path: Path, *, what: str, timeout_s: float = 600.0, keep: bool = True) -> Iterator[None]:
    """Hold the lock file `path`; the kernel frees it when the holder dies, so it is never stale.

    `what` names the locked thing in the error. Without `keep` the file is removed in the end: for folders in which
    people look. All who lock one path must say the same. Raises Locked after `timeout_s`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    deadline = started_s + timeout_s
    is_waiting = False
    number = _open_lock(path)
    try:
        while not _take(number) or not (keep or _is_named(number, path)):
            if not is_waiting:
                is_waiting = True
                log.step("lock", "waiting for the lock of %s, %s", what, path)
            if time.monotonic() >= deadline:
                raise Locked(what=what, path=str(path), waited_s=timeout_s)
            if keep or _is_named(number, path):
                time.sleep(0.02)
            else:  # its last holder has removed it: this one excludes nobody
                os.close(number)
                number = _open_lock(path)
        if is_waiting:
            log.step("lock", "got the lock of %s after %.1f s", what, time.monotonic() - started_s)
        else:
            log.detail("lock", "took the lock of %s, %s", what, path)
        try:
            yield
        finally:
            if not keep and _is_named(number, path):
                # While it is held, so that whoever waits for it sees that it is no more.
                with suppress(OSError):
                    path.unlink()
    finally:
        os.close(number)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _take(number: int) -> bool:
    """Whether the open file could be locked now."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def _is_named(number: int, path: Path) -> bool:
    """Whether the open file is the one that `path` names now."""
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(number), named)
