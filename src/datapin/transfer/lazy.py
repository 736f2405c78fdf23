"""Brings assets when somebody reads them: those of one read, or those of the coming reads ahead of their reader."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from datapin.base.errors import AssetsMissing, BadSettings, DatapinError, ObjectMissing, RemoteUnreachable
from datapin.base.id_columns import IdMatrix, ids_from_raw
from datapin.base.progress import SILENT, Progress
from datapin.pack.codec import decode
from datapin.pack.encoded import EncodedAsset
from datapin.store.index import IN_LOOSE_FILE, NO_ENTRIES, Index
from datapin.store.layout import pack_key, storage_failures
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.fetch import fetch_assets

# Assets that are wanted here and there in their packs: with a gap as wide as a fetch's, whole packs would come.
_SCATTERED_GAP_BYTES = 32 << 10
_MOST_HELD = 256
_MOST_HELD_BYTES = 8 << 20
_FIRST_ROWS = 256
_FIRST_BYTES = 4 << 20
_MOST_ROWS = 8192
_MOST_BYTES = 64 << 20
_CHUNK_S = 0.5  # chunks grow while they take less: a longer one would only make its reader wait
_LEAVE_S = 2.0

Rows = npt.NDArray[np.int64]
Sizes = Callable[[], npt.NDArray[np.int64]]


class Lazy:
    """Fetches what `store` lacks; the remote is opened when first needed. Safe across threads and after a fork."""

    def __init__(
        self, store: Store, remote: Callable[[], RemoteStore], *, jobs: int, progress: Progress = SILENT
    ) -> None:
        self._store = store
        self._open = remote
        self._jobs = jobs
        self._progress = progress
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._remote: RemoteStore | None = None
        self._index = Index(NO_ENTRIES)  # of the remote, for single reads
        self._held: dict[bytes, EncodedAsset] = {}
        self._held_bytes = 0
        self._single = 0

    def ensure(self, ids: IdMatrix) -> None:
        """Bring those of the assets `ids` that are not here; all of them are here then, verified.

        Raises AssetsMissing if the remote lacks one, does not answer, or if there is none; DamagedAsset, StorageFailed.
        """
        if not self._store.missing(ids).any():
            return
        self._leave_parent()
        with self._lock:
            self._keep_held()
            missing = ids[self._store.missing(ids)]  # another thread may have brought them
            if not len(missing):
                return
            with _absence_explained(missing):
                fetch_assets(
                    self._store,
                    self._opened(),
                    missing,
                    jobs=self._jobs,
                    progress=self._progress,
                    gap_bytes=_SCATTERED_GAP_BYTES,
                )

    def prepare(self, ids: IdMatrix) -> None:
        """Read the remote's index once, before other processes of this machine fetch from it: they find it kept.

        Raises as `ensure`.
        """
        self._leave_parent()
        with self._lock, _absence_explained(ids):
            self._opened().index_with(ids)

    def read(self, row: IdMatrix) -> bytes:
        """The bytes of one asset (`row` is `[1, 32]`) that is not in the store, verified.

        To publish every asset on its own costs ten times what it takes to fetch one. So somebody who reads many here
        and there has the last of them (at most a fifth) held in memory for a while: they are lost if the process ends.
        Raises as `ensure`.
        """
        self._leave_parent()
        raw_id = row.tobytes()
        asset = self._held.get(raw_id)
        if asset is None:
            with _absence_explained(row):
                asset = self._fetch_piece(raw_id)
            if asset is None:  # large, damaged there, or unknown: not so simple
                self.ensure(row)
                return self._store.reader(row).read(0)
            self._hold(asset)
        return decode(asset.codec, asset.stored, asset.raw_length, asset.raw_id)

    def ahead(self, ids: IdMatrix, order: Rows, sizes: Sizes) -> Ahead:
        """Fetches the assets `ids[order]` ahead of somebody who reads them in this order; nothing happens yet.

        `sizes` gives the bytes of the assets `ids`.
        """
        return Ahead(self, self._store, ids, order, sizes)

    def _fetch_piece(self, raw_id: bytes) -> EncodedAsset | None:
        """The asset out of its pack; None if it is not there as it should be. Raises BadSettings, RemoteUnreachable."""
        with self._lock:
            remote = self._opened()
            if (found := self._index.find_one(raw_id)) is None:
                self._index = remote.index_with(ids_from_raw(raw_id))
                found = self._index.find_one(raw_id)
            entries = self._index.entries
        if found is None or entries.pack[found] == IN_LOOSE_FILE:
            return None
        place = (int(entries.offset[found]), int(entries.length[found]))
        try:
            (stored,) = remote.backend.get_ranges(pack_key(entries.packs[entries.pack[found]].hex()), [place])
        except ObjectMissing:
            self._index = Index(NO_ENTRIES)  # packs were replaced: it is asked for again
            return None
        asset = EncodedAsset(raw_id, int(entries.codec[found]), stored, int(entries.raw_length[found]))
        return None if asset.problem() else asset

    def _hold(self, asset: EncodedAsset) -> None:
        with self._lock:
            self._single += 1
            self._held[asset.raw_id] = asset
            self._held_bytes += len(asset.stored)
            most = min(max(1, self._single // 5), _MOST_HELD)
            if len(self._held) >= most or self._held_bytes >= _MOST_HELD_BYTES:
                self._keep_held()

    def _keep_held(self) -> None:
        """Store what is held."""
        if not self._held:
            return
        with self._store.staging() as filler, storage_failures("write to the store", self._store.root):
            for asset in self._held.values():
                filler.append_stored(asset.raw_id, asset.codec, asset.stored, asset.raw_length)
            self._store.publish(filler.finish())
        self._held, self._held_bytes = {}, 0

    def _opened(self) -> RemoteStore:
        if self._remote is None:
            self._remote = self._open()
        return self._remote

    def _leave_parent(self) -> None:
        """After a fork, begin anew: the lock may be held by a thread that is not here, and sockets are shared."""
        if self._pid != os.getpid():
            self._begin()


@contextmanager
def _absence_explained(ids: IdMatrix) -> Iterator[None]:
    """A remote that is not there or does not answer makes assets missing."""
    try:
        yield
    except (BadSettings, RemoteUnreachable) as error:
        names = tuple(row.tobytes().hex() for row in ids[:20])
        reason = error.problem if isinstance(error, BadSettings) else error.message
        raise AssetsMissing(names=names, count=len(ids), reason=reason) from None


class Ahead:
    """Fetches in a thread what a reader will ask for next, chunk by chunk, never more than one chunk ahead.

    The first chunk is small, so that reading can start soon; the next ones grow, as a chunk has a price of its own.
    The thread starts with the first `wait`. A fork leaves it behind: then `wait` does nothing.
    """

    def __init__(self, lazy: Lazy, store: Store, ids: IdMatrix, order: Rows, sizes: Sizes) -> None:
        self._lazy = lazy
        self._store = store
        self._ids = ids
        self._order = order
        self._sizes = sizes
        self._pid = os.getpid()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asked = 0  # positions in the order: the reader wants all before this one
        self._ready = 0  # all before this one are here
        self._is_over = False
        self._error: DatapinError | None = None

    def wait(self, position: int) -> None:
        """Wait until all assets before `position` in the order are here; or until it is clear that they do not come.

        Raises what fetching raised.
        """
        if self._pid != os.getpid():
            return
        with self._change:
            if self._is_over and self._error is None:
                return
            if self._thread is None and not self._is_over:
                # A daemon: a program that ends in the middle of an epoch does not wait for the rest of it.
                self._thread = threading.Thread(target=self._run, name="datapin-ahead", daemon=True)
                self._thread.start()
            self._asked = max(self._asked, position)
            self._change.notify_all()
            self._change.wait_for(lambda: self._is_over or self._ready >= position)
            if self._ready < position and self._error is not None:
                error, self._error = self._error, None  # once: whoever asks again fetches for himself
                raise error

    def close(self) -> None:
        """Stop fetching; the chunk that is under way may come to its end."""
        if self._pid != os.getpid():
            return
        with self._change:
            self._is_over = True
            self._change.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LEAVE_S)

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _nobody_ahead, ()  # what is sent to another process reads without it

    def _run(self) -> None:
        try:
            self._fetch_chunks()
        except DatapinError as error:
            self._error = error
        except RuntimeError:
            if threading.main_thread().is_alive():
                raise
            # Else the interpreter is ending and takes no new threads: nobody reads any more.
        finally:
            with self._change:
                self._is_over = True
                self._change.notify_all()

    def _fetch_chunks(self) -> None:
        missing = self._store.missing(self._ids)[self._order]
        counts = np.cumsum(missing, dtype=np.int64)
        ends = np.cumsum(np.where(missing, self._sizes()[self._order], 0))
        begin, before, most_rows, most_bytes = 0, 0, _FIRST_ROWS, _FIRST_BYTES
        while begin < len(self._order) and self._is_wanted(before):
            end = _chunk_end(counts, ends, begin, most_rows, most_bytes)
            rows = self._order[begin:end]
            started_s = time.monotonic()
            self._lazy.ensure(self._ids[rows[missing[begin:end]]])
            took_s = time.monotonic() - started_s
            with self._change:
                self._ready = end
                self._change.notify_all()
            before, begin = begin, end
            if took_s < _CHUNK_S:
                most_rows, most_bytes = min(2 * most_rows, _MOST_ROWS), min(2 * most_bytes, _MOST_BYTES)
            elif took_s > 2 * _CHUNK_S:
                most_rows, most_bytes = max(most_rows // 2, _FIRST_ROWS), max(most_bytes // 2, _FIRST_BYTES)

    def _is_wanted(self, position: int) -> bool:
        """Wait until the reader is beyond `position`; False if it has left."""
        with self._change:
            self._change.wait_for(lambda: self._is_over or self._asked > position)
            return not self._is_over


def _nobody_ahead() -> None:
    return None


def _chunk_end(counts: Rows, ends: Rows, begin: int, most_rows: int, most_bytes: int) -> int:
    """Where a chunk of at most so many missing rows and bytes ends, at least one row long; `counts`, `ends` add up."""
    count, size = (int(counts[begin - 1]), int(ends[begin - 1])) if begin else (0, 0)
    last = min(
        int(np.searchsorted(counts, count + most_rows, side="right")),
        int(np.searchsorted(ends, size + most_bytes, side="right")),
    )
    return max(begin + 1, last)
