"""Many files made durable at once: one wait for the disk instead of one for each of them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache


def sync_file_system(number: int) -> None:
    """Make all that was written so far to the file system of the open file `number` durable, names too.

    For files that were closed already. What the kernel could not write is told (Linux 5.8 and later). Raises OSError.
    """
    if _syncfs() is None:
        os.sync()
    elif _syncfs()(number):  # type: ignore[misc]  # asked for above
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@cache
def _syncfs() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
