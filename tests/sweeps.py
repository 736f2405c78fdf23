"""How much of a long list the suite tries: `make sweep` tries all of it, the suite the same part each time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")

IS_WHOLE = bool(os.environ.get("DATAPIN_SWEEP"))


def some(items: Iterable[Item], most: int) -> list[Item]:
    """All of `items` in a sweep, else at most so many: the first, the last, and others evenly between."""
    found = list(items)
    if IS_WHOLE or len(found) <= most:
        return found
    return [found[place * (len(found) - 1) // (most - 1)] for place in range(most)]


def times(whole: int, usual: int) -> int:
    """How many examples are drawn."""
    return whole if IS_WHOLE else usual
