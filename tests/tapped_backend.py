"""A backend whose every call a test can see, hold up or spoil: `before(name, key)` and `after(name, key, result)`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from datapin.backends.backend import Abilities, Backend, StoredObject

Result = TypeVar("Result")


class TappedBackend:
    """Passes every call on to `backend`; `calls` lists them as (name, key), in the order in which they began."""

    def __init__(
        self,
        backend: Backend,
        before: Callable[[str, str], None] = lambda name, key: None,
        after: Callable[[str, str, Any], Any] = lambda name, key, result: result,
    ) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self.before = before
        self.after = after
        self.calls: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return self._backend.url

    def put_if_absent(self, key: str, source: bytes | Path) -> bool:
        return self._call("put_if_absent", key, lambda: self._backend.put_if_absent(key, source))

    def get(self, key: str) -> bytes:
        return self._call("get", key, lambda: self._backend.get(key))

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return self._call("get_ranges", key, lambda: self._backend.get_ranges(key, ranges))

    def head(self, key: str) -> StoredObject | None:
        return self._call("head", key, lambda: self._backend.head(key))

    def delete(self, key: str) -> None:
        return self._call("delete", key, lambda: self._backend.delete(key))

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        return self._call("get_tagged", key, lambda: self._backend.get_tagged(key))

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        return self._call("replace", key, lambda: self._backend.replace(key, data, tag))

    def abilities(self, key: str, data: bytes) -> Abilities:
        return self._call("abilities", key, lambda: self._backend.abilities(key, data))

    def iter_chunks(self, key: str) -> Iterator[bytes]:
        return self._stream("iter_chunks", key, lambda: self._backend.iter_chunks(key))

    def iter_objects(self, prefix: str) -> Iterator[StoredObject]:
        return self._stream("iter_objects", prefix, lambda: self._backend.iter_objects(prefix))

    def _call(self, name: str, key: str, call: Callable[[], Result]) -> Result:
        self._note(name, key)
        result: Result = self.after(name, key, call())
        return result

    def _stream(self, name: str, key: str, call: Callable[[], Iterator[Result]]) -> Iterator[Result]:
        self._note(name, key)
        for piece in call():
            yield self.after(name, key, piece)

    def _note(self, name: str, key: str) -> None:
        with self._lock:
            self.calls.append((name, key))
            self.before(name, key)
