"""What image libraries say while they decode: caught and handed back, not on stderr where no picture is named.

Warnings and file descriptor 2 belong to the whole process, so only its main thread listens: there stages decode.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress

from PIL import Image

_MOST_LINES = 3
_MOST_LETTERS = 200
_MOST_BYTES = 1 << 16
_NAME_FOR_LIBTIFF = "tempfile.tif: "  # Pillow calls each TIFF so


@contextmanager
def library_noise(*, on_stderr: bool) -> Iterator[list[str]]:
    """Collects what Pillow warns of; with `on_stderr` also what C libraries print. The list is filled at the end."""
    said: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield said
        return
    collector = _Collector(said)
    logger = logging.getLogger("PIL")
    propagates = logger.propagate
    with warnings.catch_warnings(record=True) as warned, _printed(said) if on_stderr else nullcontext():
        warnings.simplefilter("always")
        logger.addHandler(collector)
        logger.propagate = False
        try:
            yield said
        finally:
            logger.propagate = propagates
            logger.removeHandler(collector)
            # Ours is the limit of pixels, and it is told with the name of its setting.
            bombs = Image.DecompressionBombWarning
            said += [str(one.message) for one in warned if not issubclass(one.category, bombs)]


def in_one_line(said: Iterable[str]) -> str | None:
    """The first few different things that were said, None if nothing was."""
    lines = [" ".join(text.split()).removeprefix(_NAME_FOR_LIBTIFF) for text in said]
    distinct = list(dict.fromkeys(line.rstrip(".") for line in lines if line))
    if not distinct:
        return None
    more = f" (and {len(distinct) - _MOST_LINES} more)" if len(distinct) > _MOST_LINES else ""
    return "; ".join(distinct[:_MOST_LINES])[:_MOST_LETTERS] + more


class _Collector(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


@contextmanager
def _printed(said: list[str]) -> Iterator[None]:
    """What this process prints to file descriptor 2, by lines."""
    try:
        ours = os.dup(2)
    except OSError:  # there is no stderr: nothing can be printed there either
        yield
        return
    with tempfile.TemporaryFile() as sink:
        with suppress(AttributeError, OSError, ValueError):
            sys.stderr.flush()
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(ours, 2)
            os.close(ours)
            sink.seek(0)
            said += sink.read(_MOST_BYTES).decode("utf-8", "replace").splitlines()
