"""How far what a rerun gave is from what is pinned, in four grades, and the largest gap between numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

Grade = Literal["equal", "close", "opaque", "different"]
"""equal: the same content in other bytes. close: only numbers with fractions differ, and those hardly. opaque: other
bytes of a kind that nobody here can read. different: anything else."""

GRADES: tuple[Grade, ...] = ("equal", "close", "opaque", "different")

CLOSE_ROWS = 1e-5
"""How far apart numbers in manifests may be to be close, relative to the larger one, or absolute below 1."""

CLOSE_REPORTS = 1e-3
"""The same for metrics, plots and predictions, which solvers leave with more slack."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs in one output."""

    grade: Grade
    message: str


@dataclass(slots=True)
class NumberGaps:
    """Keeps the largest gap between pairs of numbers, where it is, and whether all are close."""

    most: float
    are_close: bool = True
    largest: float = 0.0
    where: str = ""
    _seen: bool = field(default=False)

    def take(self, before: float, after: float, where: str) -> None:
        """One pair of numbers with fractions."""
        gap = abs(before - after)
        if math.isnan(gap):
            self.are_close = self.are_close and math.isnan(before) and math.isnan(after)
            return
        self.are_close = self.are_close and gap <= self.most * max(1.0, abs(before), abs(after))
        self.note(gap, where)

    def note(self, gap: float, where: str) -> None:
        """A gap that counts for the largest one only."""
        if not self._seen or gap > self.largest:
            self.largest, self.where, self._seen = gap, where, True

    @property
    def text(self) -> str:
        """`, largest difference 0.5 (test.accuracy)`, or nothing."""
        return f"; largest difference {self.largest:.6g} ({self.where})" if self._seen else ""
