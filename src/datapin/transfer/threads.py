"""Runs calls in threads with bounded look-ahead, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
