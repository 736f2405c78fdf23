"""Which pack takes this asset: fills packs in the order in which assets come, keeps large ones loose.

Everything lies in one staging directory until the store publishes it. Fsyncs run in a thread beside the next writes.
Standard library and zstandard only.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from datapin.base import failpoints
from datapin.base.files import temporary_name, write_all
from datapin.pack.codec import encode
from datapin.pack.writer import PackWriter, SealedPack
from datapin.store.layout import Limits

_MOST_UNSYNCED = 2  # packs or loose files whose fsync is under way: bounds memory in the kernel and open files


@dataclass(frozen=True, slots=True)
class LooseAsset:
    """A large asset in a temporary file."""

    path: str
    raw_id: bytes
    size_bytes: int


@dataclass(slots=True)
class Filled:
    """What was written, durable but not yet visible."""

    packs: list[SealedPack] = field(default_factory=list)
    loose: list[LooseAsset] = field(default_factory=list)

    def extend(self, other: Filled) -> None:
        """Take over what `other` holds."""
        self.packs.extend(other.packs)
        self.loose.extend(other.loose)


class LooseWriter:
    """One large asset on its way into a temporary file; hashed from the same buffers that are written."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    def write(self, chunk: bytes | memoryview) -> None:
        """Append `chunk`. Raises OSError."""
        self._hash.update(chunk)
        self.write_hashed(chunk)

    def write_hashed(self, chunk: bytes | memoryview) -> None:
        """Append `chunk`, which the caller hashes. Raises OSError."""
        write_all(self._file, failpoints.torn("store.loose.written", chunk))
        failpoints.hit("store.loose.written")
        self.size_bytes += len(chunk)

    def raw_id(self) -> bytes:
        """The id of what `write` got so far."""
        return self._hash.digest()

    def make_durable(self) -> None:
        """Fsync and close. A failed fsync condemns the file. Raises OSError."""
        try:
            os.fsync(self._file)
            failpoints.hit("store.loose.synced")
        finally:
            self._close()

    def discard(self) -> None:
        """Close and remove the file."""
        self._close()
        with suppress(OSError):
            os.unlink(self.path)

    def _close(self) -> None:
        if self._file >= 0:
            number, self._file = self._file, -1
            os.close(number)


class Filler:
    """Takes new assets one by one. The caller has made sure that each is new, and computed its id from these bytes."""

    def __init__(self, staging: str, limits: Limits) -> None:
        self._staging = staging
        self._limits = limits
        self._open: PackWriter | None = None
        self._filled = Filled()
        self._syncing: list[_Syncing] = []

    def append(self, raw_id: bytes, data: bytes) -> None:
        """Put `data` into the open pack, or into a loose file if it is large. Raises OSError."""
        if len(data) >= self._limits.large_asset:
            loose = self.open_loose()
            loose.write_hashed(data)
            self.keep_loose(loose, raw_id)
            return
        self.append_stored(raw_id, *encode(data), len(data))

    def append_stored(self, raw_id: bytes, codec: int, stored: bytes, raw_length: int) -> None:
        """Put an asset that another pack holds into the open pack, encoded as it is there. Raises OSError."""
        pack = self._open
        if pack is None:
            pack = self._open = PackWriter(self.new_path())
        if pack.append_stored(raw_id, codec, stored, raw_length) >= self._limits.pack_size:
            self.seal()

    def open_loose(self) -> LooseWriter:
        """A new loose file; end it with `keep_loose` or its own `discard`. Raises OSError."""
        return LooseWriter(self.new_path())

    def keep_loose(self, loose: LooseWriter, raw_id: bytes) -> None:
        """Count the written file in. Raises OSError of an earlier fsync."""
        self._filled.loose.append(LooseAsset(loose.path, raw_id, loose.size_bytes))
        self._sync(loose.make_durable)

    def keep_pack(self, pack: SealedPack) -> None:
        """Count in a finished pack that was written to a `new_path`, and is durable."""
        self._filled.packs.append(pack)

    def seal(self) -> None:
        """End the open pack, if there is one with assets. Raises OSError, also of an earlier fsync."""
        pack, self._open = self._open, None
        if pack is not None:
            self._filled.packs.append(pack.finish())
            self._sync(pack.make_durable)

    def finish(self) -> Filled:
        """Seal, wait until everything is durable, and hand it over; the filler starts empty again. Raises OSError."""
        self.seal()
        while self._syncing:
            self._syncing.pop(0).wait()
        filled, self._filled = self._filled, Filled()
        return filled

    def abandon(self) -> None:
        """Close what is open. The files go with the staging directory."""
        if self._open is not None:
            self._open.discard()
            self._open = None
        while self._syncing:
            with suppress(OSError):
                self._syncing.pop(0).wait()

    def new_path(self) -> str:
        """Where a new file may be written; it goes with the staging directory."""
        return f"{self._staging}/{temporary_name()}"

    def _sync(self, make_durable: Callable[[], None]) -> None:
        while len(self._syncing) >= _MOST_UNSYNCED:
            self._syncing.pop(0).wait()
        self._syncing.append(_Syncing(make_durable))


class _Syncing:
    """An fsync in a thread of its own; `wait` raises what it raised."""

    def __init__(self, make_durable: Callable[[], None]) -> None:
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, args=(make_durable,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self, make_durable: Callable[[], None]) -> None:
        try:
            make_durable()
        except OSError as error:
            self._error = error
