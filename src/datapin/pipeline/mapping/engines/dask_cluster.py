"""A cluster of Dask on this machine, in a process of its own, which ends with whoever started it.

Dask spawns workers by importing the program that asks for them: a user's script would run again, the standard input
could not. Here that program is this module. What workers print does not mix with results on our stdout, Ctrl-C is for
who started us, and nothing is imported from the current folder.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import warnings
from multiprocessing.connection import Connection
from typing import Any

from datapin.base import log
from datapin.base.errors import WorkersLost
from datapin.base.processes import worker_environment, worker_words
from datapin.pipeline.mapping.engines.local import ATTEMPTS, THREAD_LIMITS

_END_S = 20.0
_CONFIG: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
    # Dask would pause a worker whose memory is nearly full, for ever if what fills it is a model that stays.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # Workers are spawned with `python -c`, which looks into the current folder first: not into the repository.
    "distributed.nanny.pre-spawn-environ": {**dict.fromkeys(THREAD_LIMITS, "1"), "PYTHONSAFEPATH": "1"},
}


class OwnCluster:
    """The scheduler and `jobs` workers with one thread each. Raises WorkersLost if they do not start."""

    def __init__(self, jobs: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                worker_words("datapin.pipeline.mapping.engines.dask_cluster", str(theirs.fileno()), str(jobs)),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,
                process_group=0,
                env={**worker_environment(), "PYTHONUNBUFFERED": "1"},
            )
        self._connection = Connection(ours.detach())
        try:
            self.address, self.credentials = self._connection.recv()
        except (EOFError, ConnectionError):
            self.close()
            raise WorkersLost(1, "the cluster of Dask on this machine did not start, see above") from None

    def close(self) -> None:
        """End the scheduler and the workers, whatever they do."""
        self._connection.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def main() -> None:
    """Serve the parent at the other end of the socket whose number is the first argument, until it closes that."""
    import dask
    from distributed import LocalCluster

    log.start_from_environment()
    warnings.filterwarnings("ignore", module="distributed")  # of ports that another cluster has
    connection = Connection(int(sys.argv[1]))
    dask.config.set(_CONFIG)
    # With keys made for this run: whoever else has an account here could make the workers compute something else.
    cluster = LocalCluster(  # type: ignore[no-untyped-call]  # Dask is not typed throughout
        n_workers=int(sys.argv[2]), threads_per_worker=1, processes=True, host="127.0.0.1", security=True,
        dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
    )  # fmt: skip
    names = ("tls_ca_file", "tls_client_cert", "tls_client_key")
    connection.send((cluster.scheduler_address, {name: getattr(cluster.security, name) for name in names}))
    try:
        connection.recv()  # nothing is ever sent: it ends when the parent has closed the socket, or is gone
    except (EOFError, ConnectionError):
        cluster.close(timeout=5)
    os.killpg(os.getpid(), signal.SIGKILL)  # itself, and what is left of its workers, stopped ones too
