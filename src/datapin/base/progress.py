"""Progress of long work. The library is silent; a door passes in something that shows it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Bar(Protocol):
    """One running count."""

    def advance(self, amount: int = 1) -> None:
        """Add `amount` units of finished work."""
        ...


class Progress(Protocol):
    """Where work reports how far it is."""

    def bar(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Bar]:
        """A bar for `total` units (None: unknown); it closes with the context."""
        ...

    def note(self, message: str) -> None:
        """One line for the user that is neither a result nor an error, for example a warning."""
        ...


class _SilentBar:
    def advance(self, amount: int = 1) -> None:
        return None


class _Silent:
    def bar(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Bar]:
        return nullcontext(_SilentBar())

    def note(self, message: str) -> None:
        return None


SILENT: Progress = _Silent()
