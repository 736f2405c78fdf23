"""A backend that counts what goes through it, for reports."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from datapin.backends.backend import Abilities, Backend, StoredObject
from datapin.base import log

_OBJECTS_PER_LISTING = 1000


class CountingBackend:
    """Passes every call on to `backend`; `requests` is how many there were."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self.requests = 0

    @property
    def url(self) -> str:
        """See Backend."""
        return self._backend.url

    def put_if_absent(self, key: str, source: bytes | Path) -> bool:
        """See Backend."""
        self._count("put_if_absent", key)
        return self._backend.put_if_absent(key, source)

    def get(self, key: str) -> bytes:
        """See Backend."""
        self._count("get", key)
        return self._backend.get(key)

    def iter_chunks(self, key: str) -> Iterator[bytes]:
        """See Backend."""
        self._count("iter_chunks", key)
        return self._backend.iter_chunks(key)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See Backend; each range counts."""
        self._count("get_ranges", key, len(ranges))
        return self._backend.get_ranges(key, ranges)

    def iter_objects(self, prefix: str) -> Iterator[StoredObject]:
        """See Backend; a listing takes one request for every 1,000 objects."""
        self._count("list", prefix)
        for number, found in enumerate(self._backend.iter_objects(prefix), start=1):
            if number % _OBJECTS_PER_LISTING == 1 and number > 1:
                self._count("list on", prefix)
            yield found

    def head(self, key: str) -> StoredObject | None:
        """See Backend."""
        self._count("head", key)
        return self._backend.head(key)

    def delete(self, key: str) -> None:
        """See Backend."""
        self._count("delete", key)
        self._backend.delete(key)

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """See Backend."""
        self._count("get_tagged", key)
        return self._backend.get_tagged(key)

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        """See Backend."""
        self._count("replace", key)
        return self._backend.replace(key, data, tag)

    def abilities(self, key: str, data: bytes) -> Abilities:
        """See Backend; finding out takes up to three requests."""
        self._count("abilities", key, 3)
        return self._backend.abilities(key, data)

    def _count(self, what: str, key: str, amount: int = 1) -> None:
        with self._lock:
            self.requests += amount
        log.detail("request", "%s %s/%s%s", what, self._backend.url, key, f" ({amount})" if amount > 1 else "")
