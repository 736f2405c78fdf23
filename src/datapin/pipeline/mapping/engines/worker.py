"""A worker process: receives a computation, then items; answers each. Ends with its parent. Imports nothing heavy."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection

from datapin.base import failpoints, log
from datapin.base.errors import DatapinError

ENDED_WITH_PARENT = 3


def serve(connection: Connection) -> None:
    """Answer items until the parent closes the connection."""
    compute = None
    while True:
        try:
            message = connection.recv()
            failpoints.hit("engine.worker.received")
            if compute is None:
                compute = message.begin()
                continue
            answer = compute(message)
        except (EOFError, ConnectionError):
            return
        except (DatapinError, OSError) as error:
            answer = error
        connection.send(answer)


def main() -> None:
    """Serve the parent at the other end of the socket whose number is the first argument."""
    log.start_from_environment()
    try:
        serve(Connection(int(sys.argv[1])))
    except ConnectionError:
        os._exit(ENDED_WITH_PARENT)
