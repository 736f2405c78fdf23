"""What an engine does: run one computation on many items, somewhere, and hand the results back in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

Mark = TypeVar("Mark")


class Computation(Protocol):
    """Work that can travel to another process. Items and results are small and pickle."""

    def begin(self) -> Callable[[Any], Any]:
        """Open what the work needs, once per process; the function that turns an item into its result."""
        ...


class Engine(Protocol):
    """Where computations run."""

    def run(self, computation: Computation, items: Iterable[tuple[Mark, Any]]) -> Iterator[tuple[Mark, Any]]:
        """Each mark with the result of its item, in order; an item None has the result None and is not computed.

        Only a bounded number of items is taken ahead. Raises what the computation raises if that is a DatapinError
        or OSError; WorkersLost if processes die again and again.
        """
        ...
