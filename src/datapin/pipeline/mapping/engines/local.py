"""The engine of one machine: in this process while there is little to do, then a pool of single-threaded processes.

A process that dies takes at most its two items with it; they are computed again by a new one.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from datapin.base.errors import WorkersLost
from datapin.base.processes import worker_environment, worker_words
from datapin.pipeline.mapping.engines.engine import Computation

Mark = TypeVar("Mark")

ATTEMPTS = 3
ALONE_S = 1.5  # starting processes costs a third of that
_AHEAD = 4  # items taken ahead per worker: bounds memory, keeps workers busy behind a slow one
_AT_ONCE = 2  # items a worker holds: it never waits for the next
_UNFORESEEN = 1  # Python's exit code after an exception that nobody caught
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


@dataclass(slots=True)
class _Slot:
    mark: Any
    item: Any
    attempts: int = 0
    is_done: bool = False
    result: Any = None


@dataclass(slots=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    held: deque[_Slot] = field(default_factory=deque)


class LocalEngine:
    """Runs computations with `jobs` processes. `alone_s` is how long it tries without any (None: never without)."""

    def __init__(self, jobs: int, *, alone_s: float | None = ALONE_S) -> None:
        self._jobs = max(1, jobs)
        self._alone_s = alone_s

    def run(self, computation: Computation, items: Iterable[tuple[Mark, Any]]) -> Iterator[tuple[Mark, Any]]:
        """See Engine.run."""
        waiting = iter(items)
        if self._alone_s is not None:
            deadline = float("inf") if self._jobs == 1 else self._alone_s
            yield from _run_here(computation, waiting, deadline)
        pool = _Pool(computation, self._jobs)
        try:
            yield from pool.run(waiting)
        finally:
            pool.close()


def _run_here(computation: Computation, items: Iterator[tuple[Mark, Any]], most_s: float) -> Iterator[tuple[Mark, Any]]:
    """Results computed in this process, until `most_s` seconds of work are spent."""
    compute = None
    spent_s = 0.0
    for mark, item in items:
        if item is None:
            yield mark, None
            continue
        start = time.perf_counter()
        if compute is None:
            compute = computation.begin()
        result = compute(item)
        spent_s += time.perf_counter() - start
        yield mark, result
        if spent_s >= most_s:
            return


class _Pool:
    def __init__(self, computation: Computation, jobs: int) -> None:
        self._computation = computation
        self._jobs = jobs
        self._workers: list[_Worker] = []
        self._queue: deque[_Slot] = deque()

    def run(self, items: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        window: deque[_Slot] = deque()
        is_exhausted = False
        while True:
            while not is_exhausted and len(window) < _AHEAD * self._jobs:
                pair = next(items, None)
                if pair is None:
                    is_exhausted = True
                    break
                slot = _Slot(*pair)
                slot.is_done = slot.item is None
                window.append(slot)
                if not slot.is_done:
                    self._queue.append(slot)
            self._dispatch()
            while window and window[0].is_done:
                slot = window.popleft()
                yield slot.mark, slot.result
            if window:
                self._collect()
            elif is_exhausted:
                return

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.wait()
        self._workers = []

    def _dispatch(self) -> None:
        while self._queue:
            if len(self._workers) < min(self._jobs, len(self._queue) + self._busy()):
                self._start_worker()
            worker = min(self._workers, key=lambda one: len(one.held))
            if len(worker.held) >= _AT_ONCE:
                return
            slot = self._queue.popleft()
            worker.held.append(slot)
            try:
                worker.connection.send(slot.item)
            except ConnectionError:
                self._bury(worker)

    def _busy(self) -> int:
        return sum(bool(worker.held) for worker in self._workers)

    def _collect(self) -> None:
        """Wait until at least one worker answers or dies."""
        by_connection = {worker.connection: worker for worker in self._workers if worker.held}
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]  # type: ignore[index]  # only connections were given
            try:
                answer = worker.connection.recv()
            except (EOFError, ConnectionError):
                self._bury(worker)
                continue
            if isinstance(answer, BaseException):
                raise answer
            slot = worker.held.popleft()
            slot.result, slot.is_done = answer, True

    def _start_worker(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                worker_words("datapin.pipeline.mapping.engines.worker", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a user's function prints must not mix with results on stdout
                process_group=0,  # Ctrl-C is for us: we end the workers
                # Unbuffered: what a function prints is there when it prints it, also if the worker is ended.
                env={**worker_environment(), **dict.fromkeys(THREAD_LIMITS, "1"), "PYTHONUNBUFFERED": "1"},
            )
        worker = _Worker(process, Connection(ours.detach()))
        self._workers.append(worker)
        try:
            worker.connection.send(self._computation)
        except ConnectionError:
            self._bury(worker)

    def _bury(self, worker: _Worker) -> None:
        """Take a dead worker out; what it held goes back to the front of the queue.

        Raises WorkersLost if its item has now cost ATTEMPTS workers, or if it died of a bug.
        """
        worker.connection.close()
        code = worker.process.wait()
        self._workers.remove(worker)
        if code == _UNFORESEEN:
            raise WorkersLost(1, "an unforeseen error, see the traceback above")
        if worker.held:
            worker.held[0].attempts += 1
            if worker.held[0].attempts >= ATTEMPTS:
                ended = f"signal {-code}" if code < 0 else f"exit code {code}"
                raise WorkersLost(ATTEMPTS, f"{ended} while working on {worker.held[0].item}")
        self._queue.extendleft(reversed(worker.held))
