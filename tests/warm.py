"""Commands as processes of their own that need not import NumPy, Arrow, DVC and us first: forked from one that has.

Half of what a test of the command line waits for is imports. A command still gets a process, streams, a folder and an
environment of its own, and runs the installed script.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock, Thread

SERVER = Path(__file__).with_name("warm_server.py")
# What Python and the libraries read while they are loaded: another value needs a process from the start.
_READ_EARLY = ("PYTHON", "OMP_", "OPENBLAS_", "MKL_", "ARROW_", "LC_", "LANG", "LD_", "TZ")

_servers: dict[str, socket.socket] = {}
_lock = Lock()


def can_run(script: Path, environment: Mapping[str, str]) -> bool:
    """Whether `script` is one that a warm process can run, in an environment like ours where it matters."""
    if script.name not in ("datapin", "dvc") or script.parent != Path(sys.executable).parent:
        return False
    early = [{name: one[name] for name in one if name.startswith(_READ_EARLY)} for one in (environment, os.environ)]
    return early[0] == early[1]


def run(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)`."""
    asked = json.dumps({"words": words, "folder": str(folder), "environment": dict(environment)}).encode()
    pipes = [os.pipe() for _ in range(3)]  # stdout, stderr, the exit code
    with open(os.devnull, "rb") as nothing:
        try:
            with _lock:
                place = _server("libraries" if any(name.startswith("DATAPIN_") for name in environment) else "all")
                socket.send_fds(place, [asked], [nothing.fileno(), *(write for _, write in pipes)])
        finally:
            for _, write in pipes:
                os.close(write)
    parts = [b""] * 3
    threads = [Thread(target=_read, args=(parts, number, pipes[number][0])) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out, err, code = (part.decode() for part in parts)
    return subprocess.CompletedProcess(list(words), int(code), _newlines(out), _newlines(err))


def _read(parts: list[bytes], number: int, source: int) -> None:
    with open(source, "rb") as file:
        parts[number] = file.read()


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")  # as text=True


def _server(what: str) -> socket.socket:
    if what not in _servers:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with theirs:
            server = subprocess.Popen(
                [sys.executable, str(SERVER), str(theirs.fileno()), what],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        _servers[what] = ours
        atexit.register(_end, ours, server)
    return _servers[what]


def _end(place: socket.socket, server: subprocess.Popen[bytes]) -> None:
    place.close()
    server.wait()
