"""A store that others share, on a backend: the same layout as the local one, read and added to, never changed."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

from datapin.backends.backend import Backend
from datapin.backends.counting import CountingBackend
from datapin.base.errors import DamagedPack, ObjectMissing, StoreFormat
from datapin.store.index import Entries, Index, join_entries
from datapin.store.index_files import decode_index, encode_index, index_file_name
from datapin.store.layout import FORMAT, FORMAT_FILE, INDEX, INDEX_SUFFIX, index_key

_INDEX_KEY = re.compile(rf"{INDEX}/([0-9a-f]{{64}}){re.escape(INDEX_SUFFIX)}")
_RELISTS = 5


class RemoteStore:
    """The store on `backend`. Safe across threads and beside any number of other pushers."""

    def __init__(self, backend: Backend) -> None:
        self.backend = CountingBackend(backend)
        self._parts: dict[str, Entries] = {}
        self._index: Index | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it lies, for messages."""
        return self.backend.url

    def check_format(self) -> bool:
        """Whether there is a store already. Raises StoreFormat if it has another format, RemoteUnreachable."""
        try:
            said = json.loads(self.backend.get(FORMAT_FILE))
        except ObjectMissing:
            return False
        except ValueError:
            raise StoreFormat(self.url, "unreadable", FORMAT) from None
        seen = said.get("format") if isinstance(said, dict) else said
        if seen != FORMAT:
            raise StoreFormat(self.url, str(seen), FORMAT)
        return True

    def make(self) -> None:
        """Say which format the store has, if nobody did. Raises StoreFormat, RemoteUnreachable."""
        if not self.check_format():
            self.backend.put_if_absent(FORMAT_FILE, json.dumps({"format": FORMAT}).encode())
            self.check_format()

    def index(self) -> Index:
        """The index as it is now; files that were read before are not read again, since their names are their hashes.

        Raises DamagedPack, RemoteUnreachable.
        """
        with self._lock:
            for attempt in range(_RELISTS):
                listed = [_INDEX_KEY.fullmatch(found.key) for found in self.backend.iter_objects(f"{INDEX}/")]
                names = {match[1] for match in listed if match}
                if self._index is not None and names == self._parts.keys():
                    break
                try:
                    new = {name: self._read(name) for name in sorted(names - self._parts.keys())}
                except ObjectMissing:  # merged into another file since we listed: list again
                    if attempt + 1 == _RELISTS:
                        raise
                    continue
                kept = {name: part for name, part in self._parts.items() if name in names}
                self._parts = kept | new
                self._index = Index(join_entries(list(self._parts.values())))
                break
            assert self._index is not None
            return self._index

    def publish_index(self, entries: Entries) -> str:
        """Add an index file; everything it names must be durable there already. Its name. Raises RemoteUnreachable."""
        data = encode_index(entries)
        name = index_file_name(data)
        if not self.backend.put_if_absent(index_key(name), data):
            self._read(name)  # somebody pushed just the same: then it must be whole
        return name

    def put_object(self, key: str, source: bytes | Path, size_bytes: int) -> bool:
        """Put an object that is named by its content; False if it was there. Raises DamagedPack, RemoteUnreachable."""
        if self.backend.put_if_absent(key, source):
            return True
        seen = self.backend.head(key)
        if seen is None or seen.size_bytes != size_bytes:
            size = "nothing" if seen is None else f"{seen.size_bytes} bytes"
            raise DamagedPack(
                f"{self.url}/{key}", f"holds {size}, expected {size_bytes}; its name is the hash of its bytes"
            )
        return False

    def _read(self, name: str) -> Entries:
        key = index_key(name)
        return decode_index(name, self.backend.get(key), f"{self.url}/{key}")
