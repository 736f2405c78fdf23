"""Forked children that only make system calls: they list and stat files beside the imports and the work of the parent.

Free of NumPy and Arrow, so that a child may start before either is imported.
"""

from __future__ import annotations

import os
import warnings


def fork_quietly() -> int:
    """`os.fork`, for a child that does nothing but system calls and appends, and ends by `os._exit`."""
    with warnings.catch_warnings():
        # Python warns that forking a threaded process may deadlock the child; ours only makes system calls.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def core_count() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_all(number: int) -> bytes:
    """Everything that comes through the pipe until it is closed."""
    parts = []
    while part := os.read(number, 1 << 20):
        parts.append(part)
    return b"".join(parts)
