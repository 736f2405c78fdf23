"""The place where a store's new files lie until they are published: one directory per writer, gone with it."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from datapin.base.files import TEMPORARY_PREFIX, temporary_name

_YOUNG_S = 60.0  # a writer that has made its directory takes its lock long before


@contextmanager
def staging_directory(root: str) -> Iterator[str]:
    """A new directory in the store at `root`, removed at the end with all that was not published. Raises OSError."""
    sweep_staging(root)
    path = f"{root}/{temporary_name()}"
    os.mkdir(path, 0o777)
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_SH)
        yield path
    finally:
        os.close(number)
        shutil.rmtree(path, ignore_errors=True)


def sweep_staging(root: str) -> int:
    """Remove what dead writers left behind; the number of directories and files removed.

    A living writer holds a lock on its directory, which the kernel frees when it dies.
    """
    removed = 0
    for entry in list(os.scandir(root)):
        if not entry.name.startswith(TEMPORARY_PREFIX):
            continue
        with suppress(OSError):
            if time.time() - entry.stat(follow_symlinks=False).st_mtime < _YOUNG_S:
                continue
            number = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)
                removed += 1
            finally:
                os.close(number)
    return removed
