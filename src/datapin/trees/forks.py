"""Forked children that only make system calls: they list and stat files on another core.

A thread cannot: each look at a file takes the interpreter's lock. A child sees what its parent sees and answers with
bytes; if it dies, or finds what it cannot tell, its answer is not whole and the parent does the work itself.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from datapin.base.files import write_all


@contextmanager
def child(work: Callable[[], bytes]) -> Iterator[Callable[[], bytes]]:
    """A process that does `work`, and how to wait for what that returns; it has ended when this block ends.

    `work` may do nothing but system calls and appends: a thread of the parent may have held any lock at the fork.
    """
    results_out, results_in = os.pipe()
    number = _fork()
    if number == 0:
        _work_and_exit(work, results_in)
    os.close(results_in)
    try:
        yield lambda: _all_of(results_out)
    finally:
        os.close(results_out)  # a child that still writes gets SIGPIPE's error and ends
        with suppress(ChildProcessError):
            os.waitpid(number, 0)


def core_count() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fork() -> int:
    with warnings.catch_warnings():
        # Python warns that forking a threaded process may deadlock the child; ours only makes system calls.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _work_and_exit(work: Callable[[], bytes], results_in: int) -> None:
    """The whole life of a child. Never returns: nothing of the parent's may run in it, not even exit hooks."""
    code = 1
    try:
        gc.disable()
        write_all(results_in, work())
        code = 0
    finally:
        os._exit(code)


def _all_of(number: int) -> bytes:
    parts = []
    while part := os.read(number, 1 << 20):
        parts.append(part)
    return b"".join(parts)
