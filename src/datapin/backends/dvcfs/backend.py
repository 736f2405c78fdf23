"""Any other DVC remote (SSH, WebDAV, HTTP, GCS, Azure, OSS, HDFS, …) through DVC's own file system for it.

Three kinds of place. Object stores show an object when its upload is whole. File servers are written in place, so an
upload goes to a temporary name, which is no key, and is renamed. HTTP servers are only read.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from datapin.backends.backend import Abilities, StoredObject, check_key, check_prefix
from datapin.backends.dvcfs.connection import HTTP, SILENCE_S, Connection, Kind, connect
from datapin.backends.dvcfs.errors import (
    foreign_errors,
    is_denied,
    is_missing,
    may_pass,
    real_cause,
    secrets_of,
    shown_url,
    unreachable,
)
from datapin.backends.dvcfs.files import (
    is_same,
    read_chunks,
    read_ranges_at_once,
    read_ranges_of_file,
    read_ranges_through,
    write,
)
from datapin.backends.dvcfs.listing import list_objects, look
from datapin.base.errors import ObjectMissing, RemoteUnreachable

T = TypeVar("T")

_MOST_ATTEMPTS = 5
_MOST_SILENCES = 2
_FIRST_PAUSE_S = 0.1


class DvcBackend:
    """Objects below the URL of a DVC remote; DVC finds the credentials. Nothing is asked before the first call."""

    def __init__(self, name: str, settings: Mapping[str, Any], *, root: Path) -> None:
        self._name = name
        self._root = root
        self._url = shown_url(str(settings["url"]))
        self._protocol = urlsplit(self._url).scheme.lower()
        self._secrets = secrets_of(settings)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._gives_ranges: bool | None = None

    @property
    def url(self) -> str:
        """See Backend."""
        return self._url

    def put_if_absent(self, key: str, source: bytes | Path) -> bool:
        """See Backend. A look, then the write: see `abilities`."""
        check_key(key)
        self._refuse_writes()

        def put(place: Connection, attempt: int) -> bool:
            if look(place, key) is None:
                return write(place, key, source, over=False)
            # Taken. If the answer to an earlier attempt was lost, perhaps by us.
            return attempt > 1 and is_same(place, key, source)

        return self._run("write", key, put)

    def get(self, key: str) -> bytes:
        """See Backend."""
        check_key(key)
        return self._run("read", key, lambda place, _: bytes(place.raw.cat_file(place.path(key))))

    def iter_chunks(self, key: str) -> Iterator[bytes]:
        """See Backend. After a lost connection it goes on where it was."""
        check_key(key)
        done_bytes, attempt = 0, 1
        while True:
            place = None
            try:
                place = self._connected()
                for chunk in read_chunks(place, key, skip_bytes=done_bytes):
                    yield chunk
                    done_bytes += len(chunk)
            except foreign_errors() as error:
                self._after_failure(error, "read", key, attempt, place)
                attempt += 1
            else:
                return

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See Backend. Where the server gives no ranges, the object is read through once."""
        check_key(key)
        return self._run("read", key, lambda place, _: self._ranges(place, key, ranges))

    def iter_objects(self, prefix: str) -> Iterator[StoredObject]:
        """See Backend. Names that cannot be keys are passed over."""
        check_prefix(prefix)
        yield from self._run("list", prefix, lambda place, _: list_objects(place, prefix, url=self.url))

    def head(self, key: str) -> StoredObject | None:
        """See Backend."""
        check_key(key)
        return self._run("look at", key, lambda place, _: look(place, key))

    def delete(self, key: str) -> None:
        """See Backend."""
        check_key(key)
        self._refuse_writes()

        def remove(place: Connection, _: int) -> None:
            try:
                place.raw.rm_file(place.path(key))
            except foreign_errors() as error:
                if not is_missing(error):
                    raise

        self._run("delete", key, remove)

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """See Backend. The tag is the hash of the bytes."""
        data = self.get(key)
        return data, _tag(data)

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        """See Backend. A comparison, then the write: see `abilities`."""
        check_key(key)
        self._refuse_writes()

        def swap(place: Connection, attempt: int) -> bool:
            if look(place, key) is None:
                return False
            seen = bytes(place.raw.cat_file(place.path(key)))
            if attempt > 1 and seen == data:
                return True
            return _tag(seen) == tag and write(place, key, data, over=True)

        return self._run("write", key, swap)

    def abilities(self, key: str, data: bytes) -> Abilities:
        """See Backend. DVC's file systems write without conditions."""
        check_key(key)
        reason = "HTTP remotes are only read"
        if self._protocol not in HTTP:
            reason = f"DVC's file system for {self._protocol} writes without conditions"
        return Abilities(exclusive_put=False, replace=False, reason=reason)

    def _ranges(self, place: Connection, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        if not ranges:
            return []
        if place.kind is Kind.FILES:
            return read_ranges_of_file(place, key, ranges)
        if self._gives_ranges is not False:
            is_tried = place.kind is Kind.OBJECTS or self._gives_ranges is True
            parts = read_ranges_at_once(place, key, ranges, is_tried=is_tried)
            self._gives_ranges = parts is not None
            if parts is not None:
                return parts
        return read_ranges_through(place, key, ranges)

    def _refuse_writes(self) -> None:
        if self._protocol in HTTP:
            raise RemoteUnreachable(
                self.url,
                "it is read-only: HTTP remotes can be fetched from, not written to",
                "push to another remote: `dvc remote add NAME URL`, then repeat with `--remote NAME`",
            )

    def _connected(self) -> Connection:
        with self._lock:
            if self._connection is None:
                self._connection = connect(self._name, protocol=self._protocol, url=self.url, root=self._root)
            return self._connection

    def _run(self, action: str, key: str, call: Callable[[Connection, int], T]) -> T:
        """`call`, again after errors that may pass; its second argument says which attempt it is."""
        attempt = 1
        while True:
            place = None
            try:
                place = self._connected()
                return call(place, attempt)
            except foreign_errors() as error:
                self._after_failure(error, action, key, attempt, place)
                attempt += 1

    def _after_failure(
        self, error: BaseException, action: str, key: str, attempt: int, place: Connection | None
    ) -> None:
        """Returns, after a pause, if another attempt is worth it. Raises ObjectMissing or RemoteUnreachable."""
        cause = real_cause(error)
        if may_pass(cause):
            if attempt < (_MOST_SILENCES if isinstance(cause, TimeoutError) else _MOST_ATTEMPTS):
                with self._lock:
                    if self._connection is place:
                        self._connection = None
                time.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
                return
        elif action == "read" and (is_missing(cause) or (not is_denied(cause) and not self._is_there(key, place))):
            raise ObjectMissing(key, self.url) from None
        what = f"{action} {key}".strip() if place else "connect"
        raise unreachable(
            cause, name=self._name, url=self.url, action=what, secrets=self._secrets, silence_s=SILENCE_S
        ) from None

    @staticmethod
    def _is_there(key: str, place: Connection | None) -> bool:
        """False if there is no such object: who reads a folder hears only "failure" from some servers."""
        try:
            return place is None or look(place, key) is not None
        except foreign_errors():
            return True


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
