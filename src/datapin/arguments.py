"""What a caller of `Repo` hands over: names, numbers and words that are one of a few."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from datapin.base.errors import Usage

Named = str | Path  # a dataset, a selector, a file or a folder
SomeNamed = Named | Sequence[Named]
Page = tuple[int, Named]  # so many rows on a page that is written there
Texts = str | Sequence[str]


def at_least(least: int, **counts: int | None) -> None:
    """Raises Usage for a number that is less."""
    for name, count in counts.items():
        if count is not None and count < least:
            raise Usage(
                f"{name}={count} is less than {least}", f"leave {name} out, or give it a number from {least} on"
            )


def one_of(known: Iterable[str], **choices: str | None) -> None:
    """Raises Usage for a word that is none of the known ones."""
    for name, choice in choices.items():
        if choice is not None and choice not in known:
            raise Usage(f"{name}={choice!r} is unknown", f"use {name}= one of: {', '.join(known)}")


def texts(names: SomeNamed) -> list[str]:
    """One name is as good as many, a path as good as text."""
    return [os.fspath(one) for one in ([names] if isinstance(names, str | Path) else names)]
