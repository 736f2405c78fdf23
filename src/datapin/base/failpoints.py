"""Named places where a test can make a command die, fail or wait; they do nothing unless the environment arms them.

`DATAPIN_FAILPOINT=name:count:action` arms one point: at its `count`-th hit (1 = the first) the action runs.
Actions: `exit` (die at once, as `kill -9` would), `oserror=ERRNO` (for example `oserror=28`, disk full),
`sleep=SECONDS`, `short` (only `torn` honours it: half of the bytes are written, then the process dies).
`DATAPIN_FAILPOINT_LOG=FILE` appends the name of every point that is passed, so that a test driver can list them.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator

KILLED = 137

_armed = os.environ.get("DATAPIN_FAILPOINT", "")
_log = os.environ.get("DATAPIN_FAILPOINT_LOG", "")
_hits: dict[str, Iterator[int]] = {}


def hit(name: str) -> None:
    """Pass the failpoint `name`. Raises OSError or ends the process only if the environment says so."""
    if not _armed and not _log:
        return
    action = _action_for(name)
    if action == "exit" or action == "short":
        os._exit(KILLED)
    elif action.startswith("oserror="):
        number = int(action.removeprefix("oserror="))
        raise OSError(number, os.strerror(number), name)
    elif action.startswith("sleep="):
        time.sleep(float(action.removeprefix("sleep=")))


def torn(name: str, data: bytes | memoryview) -> bytes | memoryview:
    """The bytes that a write at the failpoint `name` would get onto the disk: all, or half if armed with `short`.

    The caller writes what it gets and then calls `hit(name)`, where an armed `short` ends the process.
    """
    if _armed and _armed.startswith(f"{name}:") and _armed.endswith(":short"):
        return data[: len(data) // 2]
    return data


def _action_for(name: str) -> str:
    if _log:
        with open(_log, "a", encoding="utf-8") as file:
            file.write(f"{name}\n")
    if not _armed.startswith(f"{name}:"):
        return ""
    _, count, action = _armed.split(":", 2)
    # Threads pass a point together. Neither of these calls can be halved, and a fork inherits no lock that is held.
    return action if next(_hits.setdefault(name, itertools.count(1))) == int(count) else ""
