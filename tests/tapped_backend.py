"""A backend whose every call a test can see, hold up or spoil: `before(name, key)` and `after(name, key, result)`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

CALLS = ("put_if_absent", "get", "get_ranges", "head", "delete", "get_tagged", "replace", "abilities")
STREAMS = ("iter_chunks", "iter_objects")


class TappedBackend:
    """Passes every call on to `backend`; `calls` lists them as (name, key), in the order in which they began."""

    def __init__(
        self,
        backend: Any,
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

    def __getattr__(self, name: str) -> Any:
        if name in CALLS:
            return lambda key, *rest: self._call(name, key, *rest)
        if name in STREAMS:
            return lambda key: self._stream(name, key)
        raise AttributeError(name)

    def _call(self, name: str, key: str, *rest: Any) -> Any:
        self._note(name, key)
        return self.after(name, key, getattr(self._backend, name)(key, *rest))

    def _stream(self, name: str, key: str) -> Any:
        self._note(name, key)
        for piece in getattr(self._backend, name)(key):
            yield self.after(name, key, piece)

    def _note(self, name: str, key: str) -> None:
        with self._lock:
            self.calls.append((name, key))
            self.before(name, key)
