"""The engine of many machines, or of many processes that Dask keeps: needs `distributed`, imported nowhere else.

The computation travels in every task. Scattered data would live on one worker only, and die with it.
"""

from __future__ import annotations

import logging
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import datapin
from datapin.base.errors import DatapinError, Refused, Usage, WorkersLost
from datapin.pipeline.mapping.engines.engine import Computation
from datapin.pipeline.mapping.engines.local import ATTEMPTS, THREAD_LIMITS

Mark = TypeVar("Mark")

CONNECT_S = 20.0
_AHEAD = 4  # items taken ahead per worker
_HINT = 'pip install "datapin[dask]"'
_CONFIG = {
    "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
    "distributed.worker.daemon": True,
    # Workers are spawned with `python -c`, which looks into the current folder first: not into the repository.
    "distributed.nanny.pre-spawn-environ": {**dict.fromkeys(THREAD_LIMITS, "1"), "PYTHONSAFEPATH": "1"},
    "distributed.logging.distributed": "error",
}


@dataclass(frozen=True, slots=True)
class Expected:
    """What a worker must be like, or its results are of another computation."""

    version: str  # of datapin
    environment: Mapping[str, str]  # of the operator
    store: str | None  # a folder that it must see


class DaskEngines:
    """Engines on one cluster: at `address`, or one of `jobs` processes here, which ends with `close`."""

    def __init__(self, address: str | None, jobs: int) -> None:
        self._address = address
        self._jobs = max(1, jobs)
        self._client: Any = None
        self._cluster: Any = None

    def __call__(self, apart: bool) -> DaskEngine:
        """An engine; its workers are never this process."""
        return DaskEngine(self._opened)

    def close(self) -> None:
        """Let go of the cluster, and end it if it is ours."""
        for one in (self._client, self._cluster):
            if one is not None:
                one.close(timeout=10)
        self._client = self._cluster = None

    def _opened(self) -> Any:
        if self._client is None:
            try:
                import dask
                from distributed import Client, LocalCluster
            except ImportError:
                raise Usage("the engine dask needs the package distributed, which is not installed", _HINT) from None
            dask.config.set(_CONFIG)
            logging.getLogger("distributed").setLevel(logging.CRITICAL)
            warnings.filterwarnings("ignore", module="distributed")
            try:
                if self._address is None:
                    self._cluster = LocalCluster(  # type: ignore[no-untyped-call]  # as below: Dask is not typed throughout
                        n_workers=self._jobs, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0",
                        silence_logs=logging.CRITICAL,
                    )  # fmt: skip
                place = self._cluster or self._address
                self._client = Client(place, timeout=CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
            except (OSError, ValueError, TimeoutError) as error:
                raise Refused(
                    f"no scheduler of Dask at {self._address}: {_line(error)}", "start one with `dask scheduler`"
                ) from None
        return self._client


class DaskEngine:
    """Runs computations as tasks of a cluster, see Engine. Wants a worker for each core, with one thread."""

    def __init__(self, client: Callable[[], Any]) -> None:
        self._open = client

    def run(self, computation: Computation, items: Iterable[tuple[Mark, Any]]) -> Iterator[tuple[Mark, Any]]:
        """See Engine.run."""
        waiting = iter(items)
        window: deque[tuple[Mark, Any, Any]] = deque()
        submit: Callable[[Any], Any] | None = None
        is_exhausted = False
        try:
            while True:
                while not is_exhausted and len(window) < self._most(submit):
                    pair = next(waiting, None)
                    if pair is None:
                        is_exhausted = True
                        break
                    mark, item = pair
                    if item is not None and submit is None:
                        submit = self._submitter(computation)
                    window.append((mark, item, None if item is None or submit is None else submit(item)))
                if not window:
                    return
                mark, item, future = window.popleft()
                if future is None:
                    yield mark, None
                    continue
                yield mark, _answer(future, item)
        finally:
            left = [future for _, _, future in window if future is not None]
            if left:
                self._open().cancel(left, force=True)

    def _most(self, submit: object) -> int:
        return _AHEAD * max(1, sum(self._open().nthreads().values())) if submit is not None else 1

    def _submitter(self, computation: Computation) -> Callable[[Any], Any]:
        """What sends one item to a worker."""
        client, token = self._open(), uuid.uuid4().hex
        if not client.nthreads():  # those that died are on their way back
            with suppress(TimeoutError):
                client.wait_for_workers(1, timeout=CONNECT_S)
        if not client.nthreads():
            raise Refused(f"the scheduler of Dask at {client.scheduler.address} has no worker", "start `dask worker`")
        expected = expected_of(computation)
        count = 0

        def submit(item: Any) -> Any:
            nonlocal count
            count += 1
            return client.submit(
                compute_one, token, computation, expected, item,
                key=f"datapin-{token}-{count}", pure=False, priority=-count,
            )  # fmt: skip

        return submit


def expected_of(computation: Any) -> Expected:
    """What this process is like, for that computation."""
    operator = getattr(computation, "operator", None)
    store = getattr(computation, "store_root", None)
    environment = dict(operator.environment) if operator is not None else {}
    return Expected(datapin.__version__, environment, None if store is None else str(store))


_begun: dict[str, Callable[[Any], Any]] = {}  # of this worker process: the computation it works on


def compute_one(token: str, computation: Computation, expected: Expected, item: Any) -> Any:
    """One item's result, on a worker; an error that is foreseen is an answer, not a failed task."""
    try:
        compute = _begun.get(token)
        if compute is None:
            _refuse_others(expected, expected_of(computation))
            _begun.clear()
            compute = _begun[token] = computation.begin()
        return compute(item)
    except (DatapinError, OSError) as error:
        return error


def _refuse_others(wanted: Expected, here: Expected) -> None:
    """Raise Refused if results of this worker could be others than those that the memo keeps them for."""
    from distributed import get_worker

    told = {"datapin": (wanted.version, here.version)}
    told |= {name: (text, here.environment.get(name, "nothing")) for name, text in wanted.environment.items()}
    for name, (there, mine) in told.items():
        if there != mine:
            problem = f"the worker {get_worker().address} has {name} {mine}, expected {there}"
            raise Refused(problem, "install the same versions on every worker")
    if wanted.store is not None and not Path(wanted.store).is_dir():
        problem = f"the worker {get_worker().address} does not see the store at {wanted.store}"
        raise Refused(problem, "put store.dir on a disk that all workers mount")


def _answer(future: Any, item: Any) -> Any:
    """The result of a task. Raises what it answered with, or WorkersLost."""
    from distributed import CancelledError, KilledWorker

    try:
        answer = future.result()
    except (KilledWorker, CancelledError) as error:
        why = "they" if isinstance(error, KilledWorker) else f"{_line(error)};"
        raise WorkersLost(ATTEMPTS, f"{why} worked on {item}") from None
    except Exception as error:  # whatever a bug raises comes through Dask as it is
        raise WorkersLost(1, f"an unforeseen error: {type(error).__name__}: {_line(error)}") from error
    finally:
        future.release()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
