"""The engine of many machines, or of many processes that Dask keeps: needs `distributed`.

The computation travels in every task. Scattered data would live on one worker only, and die with it.
"""

from __future__ import annotations

import logging
import pickle
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from datapin.base.errors import EngineUnreachable, Usage, WorkersLost
from datapin.pipeline.mapping.engines.dask_cluster import OwnCluster
from datapin.pipeline.mapping.engines.dask_task import run_one, traits_of
from datapin.pipeline.mapping.engines.engine import Computation
from datapin.pipeline.mapping.engines.local import ATTEMPTS

Mark = TypeVar("Mark")

CONNECT_S = 20.0
NO_WORKER_S = 60.0  # a cluster that grows on demand may need as long for the first
_ADDRESS = re.compile(r"[a-z]+://\S+:\d+")
_AHEAD = 4  # items taken ahead per worker
_LOOK_S = 5.0
_COUNTED_S = 1.0  # how long a count of the workers is believed: asking takes milliseconds
_INSTALL = 'pip install "datapin[dask]"'
_START = "start workers: `dask worker ADDRESS --nthreads 1`, with the same datapin installed"


class DaskEngines:
    """Engines on one cluster: at `address`, or one of `jobs` processes here, which ends with `close`."""

    def __init__(self, address: str | None, jobs: int) -> None:
        self._address = address
        self._jobs = max(1, jobs)
        self._client: Any = None
        self._cluster: OwnCluster | None = None

    def __call__(self, apart: bool) -> DaskEngine:
        """An engine; its workers are never this process."""
        return DaskEngine(self.opened)

    def close(self) -> None:
        """Let go of the cluster, and end it if it is ours."""
        client, cluster = self._client, self._cluster
        self._client = self._cluster = None
        try:
            if client is not None:
                client.close(timeout=2)
        finally:
            if cluster is not None:
                cluster.close()

    def opened(self) -> Any:
        """The client of Dask, connected on first use. Raises EngineUnreachable, WorkersLost, Usage."""
        if self._client is None:
            try:
                from distributed import Client
                from distributed.security import Security
            except ImportError:
                raise Usage("the engine dask needs the package distributed, which is not installed", _INSTALL) from None
            logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it tells of each lost worker at length
            more: dict[str, Any] = {}
            if self._address is None:
                self._cluster = OwnCluster(self._jobs)
                security = Security(require_encryption=True, **self._cluster.credentials)  # type: ignore[no-untyped-call]
                more = {"security": security, "direct_to_workers": True}
            place = self._cluster.address if self._cluster is not None else _checked(self._address or "")
            try:
                self._client = Client(place, timeout=CONNECT_S, set_as_default=False, **more)  # type: ignore[no-untyped-call]
            except (OSError, ValueError, RuntimeError) as error:
                what = f"no scheduler answers: {_line(error)}"
                raise EngineUnreachable(f"dask:{place}", what, "start one with `dask scheduler`") from None
        return self._client


class DaskEngine:
    """Runs computations as tasks of a cluster, see Engine. Wants a worker for each core, with one thread."""

    def __init__(self, client: Callable[[], Any]) -> None:
        self._open = client

    def run(self, computation: Computation, items: Iterable[tuple[Mark, Any]]) -> Iterator[tuple[Mark, Any]]:
        """See Engine.run."""
        waiting = iter(items)
        window: deque[tuple[Mark, Any, Any]] = deque()
        tasks: _Tasks | None = None
        is_exhausted = False
        try:
            while True:
                while not is_exhausted and len(window) < (1 if tasks is None else _AHEAD * tasks.workers()):
                    pair = next(waiting, None)
                    if pair is None:
                        is_exhausted = True
                        break
                    mark, item = pair
                    if item is None:
                        window.append((mark, None, None))
                        continue
                    tasks = tasks or _Tasks(self._open(), computation)
                    window.append((mark, item, tasks.submit(item)))
                if not window:
                    return
                mark, item, future = window.popleft()
                if future is None or tasks is None:
                    yield mark, None
                    continue
                yield mark, tasks.answer(future, item)
        finally:
            left = [future for _, _, future in window if future is not None]
            if tasks is not None and left:
                tasks.cancel(left)


class _Tasks:
    """Items of one run on their way to workers and back."""

    def __init__(self, client: Any, computation: Computation) -> None:
        self._client = client
        self._where = f"dask:{client.scheduler.address}"
        self._token = uuid.uuid4().hex
        self._computation = pickle.dumps(computation)
        self._traits = traits_of(computation)
        self._count = 0
        self._workers = 0
        self._counted_s = float("-inf")
        try:
            client.wait_for_workers(1, timeout=NO_WORKER_S)  # those that died may be on their way back
        except OSError:
            raise EngineUnreachable(self._where, "it has no worker", _START) from None

    def workers(self) -> int:
        """How many threads compute, at least one."""
        now_s = time.monotonic()
        if now_s - self._counted_s > _COUNTED_S:
            try:
                self._workers, self._counted_s = max(1, sum(self._client.nthreads().values())), now_s
            except (OSError, RuntimeError, AttributeError) as error:
                raise EngineUnreachable(self._where, f"its scheduler is gone: {_line(error)}") from None
        return self._workers

    def submit(self, item: Any) -> Any:
        """Send one item; those sent first are computed first."""
        self._count += 1
        key = f"datapin-{self._token}-{self._count}"
        call = pickle.dumps(_Call((self._token, self._computation, self._traits, pickle.dumps(item))))
        # A function of ours by name would be looked up while the message is read, and end a worker without datapin.
        return self._client.submit(pickle.loads, call, key=key, pure=False, priority=-self._count)

    def answer(self, future: Any, item: Any) -> Any:
        """The result of a task. Raises what it answered with; WorkersLost, EngineUnreachable."""
        from distributed import CancelledError, KilledWorker

        try:
            answer = self._result(future)
        except KilledWorker:
            raise WorkersLost(ATTEMPTS, f"lost while working on {item}") from None
        except EngineUnreachable:
            raise
        except (CancelledError, OSError) as error:  # an OSError of the computation would be its answer
            raise EngineUnreachable(self._where, f"its scheduler is gone: {_line(error)}") from None
        except ImportError as error:  # before a line of ours ran there
            raise EngineUnreachable(self._where, f"a worker cannot run datapin: {_line(error)}", _START) from None
        except Exception as error:  # whatever a bug raises comes through Dask as it is
            what = f"an unforeseen error: {type(error).__name__}: {_line(error)}, while working on {item}"
            raise WorkersLost(1, what) from error
        finally:
            future.release()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _result(self, future: Any) -> Any:
        """What comes of a task; Dask waits for workers as long as there are none."""
        from distributed import TimeoutError as NotYet

        seen_s = time.monotonic()
        while True:
            try:
                return future.result(timeout=_LOOK_S)
            except NotYet:
                if future.done():
                    return future.result()  # the task itself raised it
            if self._client.nthreads():
                seen_s = time.monotonic()
            elif time.monotonic() - seen_s > NO_WORKER_S:
                raise EngineUnreachable(self._where, "all of its workers are gone", _START) from None

    def cancel(self, futures: list[Any]) -> None:
        """What has not begun never does; what has is not waited for."""
        with suppress(OSError, RuntimeError, AttributeError):  # the scheduler is gone, and they with it
            self._client.cancel(futures, force=True)


def _checked(address: str) -> str:
    """The address, if a client can be made for it: what fails later holds a command up for a minute."""
    from distributed.security import Security

    if not _ADDRESS.fullmatch(address):
        raise Usage(f"{address!r} is no address of a scheduler", "for example: dask:tcp://HOST:8786")
    if address.startswith("tls:") and Security().get_connection_args("client").get("ssl_context") is None:  # type: ignore[no-untyped-call]
        advice = "set distributed.comm.tls in ~/.config/dask/distributed.yaml: `datapin help engines`"
        raise EngineUnreachable(f"dask:{address}", "no key and certificate for TLS in the settings of Dask", advice)
    return address


class _Call:
    """Unpickled, it is what `run_one` returns."""

    def __init__(self, words: tuple[Any, ...]) -> None:
        self._words = words

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return run_one, self._words


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
