"""Runs calls in threads with bounded look-ahead, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_MOST_PACKS = 4
_MOST_RANGES = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(call: Callable[[Item], Result], items: Iterable[Item], *, jobs: int) -> Iterator[Result]:
    """`call` of each item, in order, at most `jobs` at once and twice as many held; the first error stops the rest."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=jobs) as threads:
        try:
            for item in items:
                waiting.append(threads.submit(call, item))
                if len(waiting) >= 2 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def packs_at_once(jobs: int) -> int:
    """How many packs to move at once: each may be in memory, and more than four streams gain nothing."""
    return min(_MOST_PACKS, 2 * jobs)


def ranges_at_once(jobs: int) -> int:
    """How many small reads to have under way at once: they wait for the network, not for a core."""
    return min(_MOST_RANGES, 8 * jobs)
