"""What datapin does, for whoever asks: Python's `logging`, under `datapin.…`. Unasked, a call costs a look-up.

Nobody who has not imported `logging` listens, so that this module need not import it. `-v`, `-vv` and DATAPIN_LOG ask
on the command line; processes that we start see the same environment and write to the same place.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any

_STEP, _DETAIL = 20, 10  # logging.INFO, logging.DEBUG
_TERMINAL_WORDS = {"1", "2", "true", "-"}  # as in GIT_TRACE
_HIDDEN_NAMES = (
    r"SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|API_?KEY|ACCOUNT_KEY|CONNECTION_STRING|(^|_)SAS(_|$)"
)
_LEAST_SECRET = 6  # shorter values would blacken words of the language
# Text, compiled when somebody listens.
_SECRETS = {
    # The user part of a URL: where it holds a password, or where a token may stand for the user.
    r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@'\"?#]*:[^\s/'\"?#]*@": r"\1***@",
    r"(?i)\b(https?://)[^\s/@'\"?#]+@": r"\1***@",
    r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?)[^'\"\r\n]+": r"\1***",
    r"(?i)\b((?:basic|bearer)\s+)[a-z0-9._~+/=-]{8,}": r"\1***",
    r"(?i)\b([\w-]*(?:secret|token|password|passwd|passphrase|credential|signature|api[-_]?key|account_?key)[\w-]*"
    r"['\"]?\s*[=:]\s*['\"]?)[^\s'\"&,;)\]}]+": r"\1***",
    r"(?i)([?&](?:sig|key|auth|awsaccesskeyid|googleaccessid)=)[^\s'\"&]+": r"\1***",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\b(?:gh[pousr]_|github_pat_|glpat-)[0-9A-Za-z_-]{16,}": "***",
}


def step(room: str, message: str, *values: object) -> None:
    """Tell one step of the work (`-v`). `message` is a %-format; `room` is who tells it."""
    _tell(_STEP, room, message, values)


def detail(room: str, message: str, *values: object) -> None:
    """Tell what only somebody who looks for a fault wants to know (`-vv`)."""
    _tell(_DETAIL, room, message, values)


def _tell(level: int, room: str, message: str, values: tuple[object, ...]) -> None:
    logging = sys.modules.get("logging")
    if logging is None:
        return
    logger = logging.getLogger(f"datapin.{room}")
    if logger.isEnabledFor(level):
        logger.log(level, "%s", redacted(message % values if values else message))


def redacted(text: str) -> str:
    """The text without passwords, tokens and signatures: those of URLs, of assignments, of the environment."""
    for name, value in os.environ.items():
        if len(value) >= _LEAST_SECRET and re.search(_HIDDEN_NAMES, name.upper()) and not os.path.exists(value):
            text = text.replace(value, "***")
    for pattern, shown in _SECRETS.items():
        text = re.sub(pattern, shown, text)
    return text


def start(level: int = 0) -> str | None:
    """Listen: `level` 1 tells steps on stderr, and 2 details; the file DATAPIN_LOG gets all.

    Returns why the file cannot be written, if it cannot. Safe to repeat: the last call counts.
    """
    place = os.environ.get("DATAPIN_LOG", "")
    if place.lower() in _TERMINAL_WORDS:
        level, place = max(level, 2), ""
    if "logging" in sys.modules:
        _stop_listening()
    if not level and not place:
        return None
    import logging

    _watch_processes()
    logger = logging.getLogger("datapin")
    handlers: list[Any] = []
    problem = None
    if level:
        handlers.append(_handler(logging, _to_stderr, _DETAIL if level > 1 else _STEP, _short))
    if place:
        try:
            handlers.append(_handler(logging, _appending(place), _DETAIL, _long))
        except OSError as error:
            problem = error.strerror or str(error)
    for handler in handlers:
        logger.addHandler(handler)
    logger.setLevel(min((handler.level for handler in handlers), default=logging.NOTSET))
    return problem


def _stop_listening() -> None:
    """An earlier command of this process may have listened, with more words than this one."""
    logger = sys.modules["logging"].getLogger("datapin")
    for handler in [one for one in logger.handlers if getattr(one, "is_datapin", False)]:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(0)


def start_from_environment() -> None:
    """Listen as the process that started this one does."""
    level = os.environ.get("DATAPIN_VERBOSE", "")
    start(int(level) if level.isdecimal() else 0)


def _handler(logging: Any, write: Callable[[str], None], level: int, form: Callable[[Any], str]) -> Any:
    class Told(logging.Handler):  # type: ignore[misc]  # logging is imported when somebody listens
        is_datapin = True

        def emit(self, record: Any) -> None:
            try:
                write(form(record))
            except (OSError, ValueError):
                return  # a log that cannot be written must not end the work

    return Told(level)


def _short(record: Any) -> str:
    return f"{record.relativeCreated / 1000:7.3f}s {record.name.removeprefix('datapin.')}: {record.getMessage()}\n"


def _long(record: Any) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
    room = record.name.removeprefix("datapin.")
    return f"{moment}.{int(record.msecs):03d} {record.process} {record.levelname} {room}: {record.getMessage()}\n"


def _to_stderr(line: str) -> None:
    if sys.stderr:
        sys.stderr.write(line)
        sys.stderr.flush()


def _appending(place: str) -> Callable[[str], None]:
    number = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(line: str) -> None:
        os.write(number, line.encode("utf-8", "backslashreplace"))  # one write: lines of processes do not mix

    return write


_watched: list[bool] = []


def _watch_processes() -> None:
    """Tell every process that is started, also by libraries: Python itself reports them (PEP 578)."""
    if not _watched:
        _watched.append(True)
        sys.addaudithook(_heard)


def _heard(event: str, given: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        _, words, folder, _ = given
        shown = words if isinstance(words, str | bytes) else [os.fsdecode(word) for word in words]
        place = f"  (in {os.fsdecode(folder)})" if folder else ""
        step("process", "%s%s", _joined(shown), place)


def _joined(words: str | bytes | list[str]) -> str:
    import shlex

    return os.fsdecode(words) if isinstance(words, str | bytes) else shlex.join(words)
