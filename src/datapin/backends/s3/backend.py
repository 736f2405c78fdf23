"""A folder of an S3 bucket as a backend: Amazon's, or any server that speaks its language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from datapin.backends.backend import Abilities, StoredObject, check_key, check_prefix
from datapin.backends.s3.failures import MISSING, S3Failure, unreachable
from datapin.backends.s3.reads import find_object, iter_listing, open_object, read_object, read_ranges, remove_object
from datapin.backends.s3.settings import S3Settings
from datapin.backends.s3.wires import S3Wires
from datapin.backends.s3.writes import S3Writes
from datapin.base.errors import ObjectMissing, StorageFailed

MOST_BYTES_IN_ONE_PUT = 5 << 30  # Amazon's limit


class S3Backend:
    """Objects below the settings' prefix. Nothing is asked before the first call."""

    def __init__(self, settings: S3Settings, *, most_bytes_in_one_put: int = MOST_BYTES_IN_ONE_PUT) -> None:
        self._settings = settings
        self._wires = S3Wires(settings, most_bytes_in_one_put=most_bytes_in_one_put)
        self._writes = S3Writes(self._wires)

    @property
    def url(self) -> str:
        """See Backend."""
        return self._settings.url

    def put_if_absent(self, key: str, source: bytes | Path) -> bool:
        """See Backend."""
        name = self._name(key)
        with self._failures(key), _reading(source):
            return self._wires.following(lambda: self._writes.put_if_absent(name, source))

    def get(self, key: str) -> bytes:
        """See Backend."""
        return self.get_tagged(key)[0]

    def iter_chunks(self, key: str) -> Iterator[bytes]:
        """See Backend. If the object changes meanwhile that is RemoteUnreachable."""
        name = self._name(key)
        with self._failures(key):
            yield from self._wires.following(lambda: open_object(self._wires, name)).chunks

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See Backend."""
        name = self._name(key)
        with self._failures(key):
            return self._wires.following(lambda: read_ranges(self._wires, name, ranges))

    def iter_objects(self, prefix: str) -> Iterator[StoredObject]:
        """See Backend. Names that cannot be keys are passed over: what others put there."""
        above = self._settings.prefix
        folder = above + check_prefix(prefix)
        with self._failures(prefix):
            for found in iter_listing(self._wires, folder):
                key = found.key.removeprefix(above)
                try:
                    check_key(key)
                except ValueError:
                    continue
                yield StoredObject(key, found.size_bytes, found.modified_s)

    def head(self, key: str) -> StoredObject | None:
        """See Backend."""
        name = self._name(key)
        with self._failures(key):
            found = self._wires.following(lambda: find_object(self._wires, name))
        return None if found is None else StoredObject(key, found[0].size_bytes, found[0].modified_s)

    def delete(self, key: str) -> None:
        """See Backend."""
        name = self._name(key)
        with self._failures(key):
            self._wires.following(lambda: remove_object(self._wires, name))

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """See Backend. The tag is the server's ETag."""
        name = self._name(key)
        with self._failures(key):
            return self._wires.following(lambda: read_object(self._wires, name))

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        """See Backend."""
        name = self._name(key)
        with self._failures(key):
            return self._wires.following(lambda: self._writes.replace(name, data, tag))

    def abilities(self, key: str, data: bytes) -> Abilities:
        """See Backend. Four to six requests."""
        name = self._name(key)
        with self._failures(key):
            return self._wires.following(lambda: self._writes.abilities(name, data, self._server))

    @property
    def _server(self) -> str:
        return re.sub(r"//[^/@]*@", "//", self._settings.endpoint) or "Amazon S3"

    def _name(self, key: str) -> str:
        return self._settings.prefix + check_key(key)

    @contextmanager
    def _failures(self, key: str) -> Iterator[None]:
        try:
            yield
        except S3Failure as failure:
            if failure.code == MISSING:
                raise ObjectMissing(key, self.url) from None
            raise unreachable(self.url, self._server, self._settings.bucket, failure) from None


@contextmanager
def _reading(source: bytes | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed("read", str(source) if isinstance(source, Path) else "data", str(error.strerror)) from error
