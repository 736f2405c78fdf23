"""How much work a bench run does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """How much work. Rounds are whole journeys; quick steps are repeated within one."""

    name: str
    rounds: int
    repeats: int
    small_files: int
    big_files: int
    big_mib: int
    tiny_files: int
    even_files: int
    rows: int
    arena_bytes: int


SIZES = {
    "full": Size("full", 3, 3, 100_000, 20, 100, 1_000_000, 100_000, 1_000_000, 10 << 30),
    "small": Size("small", 1, 1, 1_000, 3, 5, 3_000, 1_000, 20_000, 1 << 30),
}
