"""moto's S3 emulator as a process of its own; it is ready in about a second and keeps its objects in memory."""

from __future__ import annotations

import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from servers.s3_server import S3Server, reserved_ports

_READY_S = 180


class MotoFailed(Exception):
    """The server did not come up; the text ends with what it said."""


@contextmanager
def moto() -> Iterator[S3Server]:
    """The server, for as long as the block runs; it takes any keys. Raises MotoFailed."""
    with reserved_ports(1) as (port,), tempfile.TemporaryFile() as said:
        # The kernel ends the server if its tests die without stopping it.
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "moto.server", "-H", "127.0.0.1"]
        server = subprocess.Popen([*command, "-p", str(port)], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            if not _answers(server, port):
                said.seek(0)
                raise MotoFailed(said.read().decode(errors="replace")[-2000:])
            yield S3Server("moto", f"http://127.0.0.1:{port}", "testkey", "testsecret", checks_keys=False)
        finally:
            server.kill()
            server.wait()


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    end_s = time.monotonic() + _READY_S
    while time.monotonic() < end_s and server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_READY_S)
        try:
            connection.request("GET", "/moto-api/")
            return connection.getresponse().status == 200
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    return False
