"""What the S3 backend asks of a library that speaks S3. Each call is one request, and raises S3Failure at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from datapin.backends.backend import StoredObject


@dataclass(frozen=True, slots=True)
class Reading:
    """An object, or its rest, on its way: the size and tag of the whole, and its bytes from the asked place on.

    `chunks` are a few MiB at most and raise S3Failure where the connection breaks; they may also just end early.
    """

    size_bytes: int
    tag: str
    chunks: Iterator[bytes]


class S3Wire(Protocol):
    """Keys are the bucket's own."""

    def put(self, key: str, source: bytes | Path, *, if_absent: bool = False, if_tag: str = "") -> None:
        """Store an object; with `if_absent` or `if_tag` (as the server wants it) only if that holds, else TAKEN."""
        ...

    def read(self, key: str, offset: int) -> Reading:
        """The object from `offset` on; `offset` lies inside it, or is 0."""
        ...

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Bytes at each (offset, length > 0), shorter where the object ends; PAST_THE_END if one begins after it."""
        ...

    def pages(self, prefix: str, after: str) -> Iterator[list[StoredObject]]:
        """Objects below the folder `prefix` whose keys come after `after`, sorted."""
        ...

    def head(self, key: str) -> tuple[StoredObject, str]:
        """The object without its bytes, and its tag. A failure has no code, as an answer to HEAD has no body."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object, if there is one."""
        ...
