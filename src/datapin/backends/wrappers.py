"""A folder of a backend as a backend of its own: datapin's store lies below the DVC remote, beside DVC's objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from datapin.backends.backend import Abilities, Backend, StoredObject, check_key, check_prefix
from datapin.base.errors import ObjectMissing


class BackendBelow:
    """Everything below `folder` of `backend`, under keys that do not name it."""

    def __init__(self, backend: Backend, folder: str) -> None:
        self._backend = backend
        self._start = f"{check_key(folder)}/"

    @property
    def url(self) -> str:
        """See Backend."""
        return f"{self._backend.url.rstrip('/')}/{self._start.rstrip('/')}"

    def put_if_absent(self, key: str, source: bytes | Path) -> bool:
        """See Backend."""
        return self._backend.put_if_absent(self._key(key), source)

    def get(self, key: str) -> bytes:
        """See Backend."""
        try:
            return self._backend.get(self._key(key))
        except ObjectMissing:
            raise ObjectMissing(key, self.url) from None

    def iter_chunks(self, key: str) -> Iterator[bytes]:
        """See Backend."""
        try:
            yield from self._backend.iter_chunks(self._key(key))
        except ObjectMissing:
            raise ObjectMissing(key, self.url) from None

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See Backend."""
        try:
            return self._backend.get_ranges(self._key(key), ranges)
        except ObjectMissing:
            raise ObjectMissing(key, self.url) from None

    def iter_objects(self, prefix: str) -> Iterator[StoredObject]:
        """See Backend."""
        for found in self._backend.iter_objects(self._start + check_prefix(prefix)):
            yield replace(found, key=found.key.removeprefix(self._start))

    def head(self, key: str) -> StoredObject | None:
        """See Backend."""
        found = self._backend.head(self._key(key))
        return None if found is None else replace(found, key=key)

    def delete(self, key: str) -> None:
        """See Backend."""
        self._backend.delete(self._key(key))

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """See Backend."""
        try:
            return self._backend.get_tagged(self._key(key))
        except ObjectMissing:
            raise ObjectMissing(key, self.url) from None

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        """See Backend."""
        return self._backend.replace(self._key(key), data, tag)

    def abilities(self, key: str, data: bytes) -> Abilities:
        """See Backend."""
        return self._backend.abilities(self._key(key), data)

    def _key(self, key: str) -> str:
        return self._start + check_key(key)
