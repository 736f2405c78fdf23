"""What a place must offer so that a store can lie on it, and how it must behave; `testing.backend_suite` checks it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_MOST_KEY_BYTES = 512


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing shows it. `modified_s` is the place's own clock, seconds since 1970."""

    key: str
    size_bytes: int
    modified_s: float


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a place promises when many write at once; `reason` says why not.

    Without `exclusive_put` two puts of one key at the same moment may both return True; without `replace` two
    replacements may. What a store puts is named by its content: that costs bytes only. Collecting garbage needs both.
    """

    exclusive_put: bool
    replace: bool
    reason: str = ""


class Backend(Protocol):
    """Write-once objects under keys; only `replace` changes one. Every call may come from any thread.

    A key is a relative path of parts `[A-Za-z0-9_-][A-Za-z0-9._-]*`; any other raises ValueError before anything is
    touched. Every call raises RemoteUnreachable if the place does not answer, denies access or is full. An error that
    may pass (a server that is busy, a lost connection) is tried again first.
    """

    @property
    def url(self) -> str:
        """The place, for messages; holds no credentials."""
        ...

    def put_if_absent(self, key: str, source: bytes | Path) -> bool:
        """Store the bytes, or the file's, under `key`; False if the key is taken, whatever bytes it holds.

        When it returns the object is durable. Others see nothing or the whole object, never a part, also if the call
        or this machine dies half-way. Of many calls at once for one key exactly one returns True, where `abilities`
        says so. If the answer to a write of ours was lost and the key now holds our bytes, that is True.
        """
        ...

    def get(self, key: str) -> bytes:
        """The whole object. Raises ObjectMissing."""
        ...

    def iter_chunks(self, key: str) -> Iterator[bytes]:
        """The whole object in pieces of a few MiB at most. Raises ObjectMissing, at the call or the first piece."""
        ...

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes at each (offset, length), in order; shorter where the object ends first. Raises ObjectMissing."""
        ...

    def iter_objects(self, prefix: str) -> Iterator[StoredObject]:
        """All objects whose key starts with the folder `prefix` (ends with `/`, or is empty), sorted by key.

        An object is listed as soon as its put has returned. What is being written is not.
        """
        ...

    def head(self, key: str) -> StoredObject | None:
        """The object without its bytes, or None if there is none."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object, durably; nothing happens if there is none."""
        ...

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """The whole object and a tag that is another one whenever the bytes are others. Raises ObjectMissing."""
        ...

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        """Store `data` in the place of the object that has this tag; False if it has another by now, or is gone.

        Atomic where `abilities` says so. If the answer was lost and the key now holds our bytes, that is True.
        """
        ...

    def abilities(self, key: str, data: bytes) -> Abilities:
        """What the place promises, found out by writing `data` again, which lies under `key` already.

        It leaves no trace and needs no right to delete.
        """
        ...


def check_key(key: str) -> str:
    """`key` itself. Raises ValueError unless it is one that every place can hold."""
    if len(key) > _MOST_KEY_BYTES or not all(_PART.fullmatch(part) for part in key.split("/")):
        raise ValueError(f"not a key: {key[:80]!r}")
    return key


def check_prefix(prefix: str) -> str:
    """`prefix` itself. Raises ValueError unless it is empty or a key and `/`."""
    if prefix and (not prefix.endswith("/") or check_key(prefix[:-1]) != prefix[:-1]):
        raise ValueError(f"not a prefix: {prefix[:80]!r}, expected a folder that ends with '/'")
    return prefix
