"""Trying again: up to five times, a little longer apart each time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from datapin.backends.s3.failures import S3Failure
from datapin.base import log

ATTEMPTS = 5
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0

_Answer = TypeVar("_Answer")


def pause(attempt: int) -> None:
    """Wait before the attempt after `attempt`, the first of which is 0. Many clients do not come back at once."""
    time.sleep(min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0))


def again(action: Callable[[], _Answer]) -> _Answer:
    """What `action`, which may be repeated, answers in the end. Raises the last S3Failure."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return action()
        except S3Failure as failure:
            if not failure.may_pass:
                raise
            log.step("request", "attempt %d failed, trying again: %s", attempt + 1, failure)
        pause(attempt)
    return action()
