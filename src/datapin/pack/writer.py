"""Writes one pack, streaming: assets go to the disk as they come, the pack's own hash is kept up on the way.

A pack under construction is a temporary file; giving it its name is the store's business. Worker processes import
this module, so it stays light.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datapin.base import failpoints
from datapin.base.files import write_all
from datapin.pack.blocks import BlockWriter
from datapin.pack.codec import encode
from datapin.pack.format import MAGIC, RECORD, RECORD_BYTES, encode_trailer


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A finished pack, not yet under its name. `table` holds the records as the format has them."""

    path: str
    pack_id: str  # 64 hex, the SHA-256 of the file
    size_bytes: int
    table: bytes

    @property
    def count(self) -> int:
        """Assets in it."""
        return len(self.table) // RECORD_BYTES


class PackWriter:
    """One open pack in the new file `path`. Not safe to share between threads."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._records: list[bytes] = []
        self._offset = len(MAGIC)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        self._blocks = BlockWriter(self._file)
        self._blocks.append(MAGIC)

    @property
    def size_bytes(self) -> int:
        """Bytes of assets so far, the magic included."""
        return self._offset

    @property
    def count(self) -> int:
        """Assets so far."""
        return len(self._records)

    def append(self, raw_id: bytes, data: bytes) -> int:
        """Add the asset `data` with the SHA-256 `raw_id`, which was computed from this very buffer; where it ends.

        Raises OSError.
        """
        return self.append_stored(raw_id, *encode(data), len(data))

    def append_stored(self, raw_id: bytes, codec: int, stored: bytes, raw_length: int) -> int:
        """Add an asset that is already encoded, as another pack holds it; where it ends. Raises OSError."""
        offset, length = self._offset, len(stored)
        self._records.append(RECORD.pack(raw_id, offset, length, raw_length, codec))
        self._blocks.append(stored)
        self._offset = end = offset + length
        return end

    def finish(self) -> SealedPack:
        """Write table and trailer; the file is whole but not durable yet: call `make_durable` next. Raises OSError."""
        table = b"".join(self._records)
        trailer = encode_trailer(table, self._offset)
        digest = self._blocks.finish()
        digest.update(table)
        digest.update(trailer)
        write_all(self._file, failpoints.torn("store.pack.written", table + trailer))
        failpoints.hit("store.pack.written")
        return SealedPack(
            path=self.path,
            pack_id=digest.hexdigest(),
            size_bytes=self._offset + len(table) + len(trailer),
            table=table,
        )

    def make_durable(self) -> None:
        """Fsync and close the file. A failed fsync condemns it: the caller must discard, never retry. Raises OSError.

        Safe to run in another thread while the next pack is written.
        """
        try:
            os.fsync(self._file)
            failpoints.hit("store.pack.synced")
        finally:
            self._close()

    def seal(self) -> SealedPack:
        """`finish` and `make_durable` in one step. Raises OSError."""
        sealed = self.finish()
        self.make_durable()
        return sealed

    def discard(self) -> None:
        """Close and remove the unfinished file."""
        self._close()
        with suppress(OSError):
            os.unlink(self.path)

    def _close(self) -> None:
        if self._file >= 0:
            self._blocks.give_up()  # a thread that still writes must not find another file under this number
            number, self._file = self._file, -1
            os.close(number)
