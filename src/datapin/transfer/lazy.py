"""Brings assets when somebody reads them: those of one read, or those of the coming reads ahead of their reader."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from datapin.base.errors import AssetsMissing, BadSettings, DatapinError, RemoteUnreachable
from datapin.base.id_columns import IdMatrix
from datapin.base.progress import SILENT, Progress
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.fetch import fetch_assets

# Assets that are wanted here and there in their packs: with a gap as wide as a fetch's, whole packs would come.
_SCATTERED_GAP_BYTES = 32 << 10
_FIRST_ROWS = 256
_FIRST_BYTES = 4 << 20
_MOST_ROWS = 8192
_MOST_BYTES = 64 << 20
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
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._remote: RemoteStore | None = None

    def ensure(self, ids: IdMatrix) -> None:
        """Bring those of the assets `ids` that are not here; all of them are here then, verified.

        Raises AssetsMissing if the remote lacks one, does not answer, or if there is none; DamagedAsset, StorageFailed.
        """
        if not self._store.missing(ids).any():
            return
        if self._pid != os.getpid():  # forked: the lock may be held by a thread that is not here, sockets are shared
            self._pid, self._lock, self._remote = os.getpid(), threading.Lock(), None
        with self._lock:
            missing = ids[self._store.missing(ids)]  # another thread may have brought them
            if not len(missing):
                return
            try:
                self._remote = self._remote or self._open()
                fetch_assets(
                    self._store,
                    self._remote,
                    missing,
                    jobs=self._jobs,
                    progress=self._progress,
                    gap_bytes=_SCATTERED_GAP_BYTES,
                )
            except (BadSettings, RemoteUnreachable) as error:
                names = tuple(row.tobytes().hex() for row in missing[:20])
                reason = error.problem if isinstance(error, BadSettings) else error.message
                raise AssetsMissing(names=names, count=len(missing), reason=reason) from None

    def ahead(self, ids: IdMatrix, order: Rows, sizes: Sizes) -> Ahead:
        """Fetches the assets `ids[order]` ahead of somebody who reads them in this order; nothing happens yet.

        `sizes` gives the bytes of the assets `ids`.
        """
        return Ahead(self, self._store, ids, order, sizes)


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
            self._lazy.ensure(self._ids[rows[missing[begin:end]]])
            with self._change:
                self._ready = end
                self._change.notify_all()
            before, begin = begin, end
            most_rows, most_bytes = min(2 * most_rows, _MOST_ROWS), min(2 * most_bytes, _MOST_BYTES)

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
