"""Compares copies that the store has with what they must be: a dedup hit on a damaged asset has to heal it.

Standard library and zstandard only.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from datapin.pack.codec import CodecError, decode
from datapin.pack.reader import read_stored
from datapin.store.layout import LOOSE, loose_key, pack_key

_MOST_OPEN = 32


@dataclass(frozen=True, slots=True)
class KnownPlace:
    """Where the store has an asset; `pack_id` is LOOSE for one in a file of its own."""

    pack_id: str
    offset: int
    length: int
    raw_length: int
    codec: int


class StoredCopies:
    """Reads single copies of one store; keeps a few packs open. Not safe to share between threads."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._open_packs: dict[str, int] = {}

    def is_intact(self, place: KnownPlace, raw_id: bytes, data: bytes | None) -> bool:
        """Whether the copy at `place` is what `raw_id` says; `data` is the good asset, if it is in memory."""
        try:
            if place.pack_id == LOOSE:
                return hash_of_file(f"{self._root}/{loose_key(raw_id.hex())}") == raw_id
            stored = read_stored(self._pack(place.pack_id), place.offset, place.length)
            found = decode(place.codec, stored, place.raw_length, raw_id)
        except (OSError, CodecError):
            return False  # missing or unreadable is damaged too: the good copy in hand is written
        return hashlib.sha256(found).digest() == raw_id if data is None else found == data

    def close(self) -> None:
        """Close the packs."""
        while self._open_packs:
            os.close(self._open_packs.popitem()[1])

    def _pack(self, pack_id: str) -> int:
        number = self._open_packs.get(pack_id)
        if number is None:
            if len(self._open_packs) >= _MOST_OPEN:
                self.close()
            number = os.open(f"{self._root}/{pack_key(pack_id)}", os.O_RDONLY | os.O_CLOEXEC)
            self._open_packs[pack_id] = number
        return number


def hash_of_file(path: str) -> bytes:
    """The SHA-256 of a file of any size. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()
