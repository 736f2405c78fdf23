"""Writes and removes the files of a checkout in threads: nearly all of its time is the kernel's, or the disk's."""

from __future__ import annotations

import os
import posixpath
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datapin.base import failpoints
from datapin.base.errors import StorageFailed
from datapin.base.files import TEMPORARY_PREFIX
from datapin.base.ids import AssetId
from datapin.base.progress import Bar, Progress
from datapin.base.syncing import sync_file_system
from datapin.store.store import Reader, Store
from datapin.trees.safe_tree import Obstructed, SafeTree
from datapin.trees.stat_records import StatMatrix

_BATCH_FILES = 64
_BATCH_BYTES = 8 << 20
_STREAM_FROM_BYTES = 64 << 20
_RUN_FILES = 256
_LONGEST_RUN_FILES = 2048
_RUN_BYTES = 64 << 20
_CHUNK_FILES = 16_384
_CHUNK_BYTES = 512 << 20
_FEW_FILES = 16
_OPEN_FOLDERS = "/proc/self/fd"


@dataclass(frozen=True, slots=True)
class NewFiles:
    """Files to write: keys and sizes, and the reader of their assets, aligned.

    `linkable` are those that may become links to loose assets of the store.
    """

    keys: list[str]
    sizes: npt.NDArray[np.int64]
    linkable: npt.NDArray[np.bool_]
    reader: Reader
    store: Store


@dataclass(frozen=True, slots=True)
class OldFiles:
    """Keys of files to remove; `are_in_the_way` if one may lie where a new file or its folder will."""

    keys: Sequence[str]
    are_in_the_way: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """Of every file its stat, and whether it is a link."""

    stats: StatMatrix
    is_linked: npt.NDArray[np.bool_]


def write_files(tree: SafeTree, files: NewFiles, old: OldFiles, *, jobs: int, progress: Progress) -> Written:
    """Write every new file and remove every old one, with the folders that are empty then; all of it is durable then.

    Bytes are hashed, and on the disk, before a file gets its name; what cannot be linked is copied. The first error
    ends all threads after their batch. Raises Obstructed, DamagedAsset, OSError.
    """
    runs = list(_cut_runs(files.keys, files.sizes))
    are_few = len(files.keys) + len(old.keys) <= _FEW_FILES
    stop = threading.Event()
    are_threads_worth_it = jobs > 1 and len(runs) > 1
    if old.are_in_the_way or not are_threads_worth_it:
        _remove(tree, old.keys, frozenset(), stop)
    with progress.bar("writing files", len(files.keys), "file") as bar:
        writing = _Writing(files, bar, stop, are_few=are_few)
        try:
            if not are_threads_worth_it:
                for chunk in _cut_chunks(runs, files.sizes):
                    for first, last in chunk:
                        writing.stage(tree, first, last)
                    writing.sync(tree)
                    for first, last in chunk:
                        writing.place(tree, first, last)
            else:
                # One thread more: unlink waits for the disk, which is told of the blocks that are free.
                with ThreadPoolExecutor(max_workers=jobs + 1) as threads:
                    try:
                        going = () if old.are_in_the_way else old.keys
                        removal = threads.submit(_remove_beside, tree, going, files.keys, stop)
                        for chunk in _cut_chunks(runs, files.sizes):
                            _wait(threads.submit(_beside, writing.stage, tree, *run) for run in chunk)
                            writing.sync(tree)
                            _wait(threads.submit(_beside, writing.place, tree, *run) for run in chunk)
                        removal.result()
                    finally:
                        stop.set()
            writing.sync_names(tree, old.keys)
        finally:
            writing.clear(tree)
    return Written(writing.stats, writing.is_linked)


def _wait(futures: Iterable[Future[None]]) -> None:
    for future in as_completed(list(futures)):
        future.result()


def _beside(step: Callable[[SafeTree, int, int], None], tree: SafeTree, first: int, last: int) -> None:
    """A step for a thread: `tree` only says which tree it is."""
    with closing(tree.twin()) as own:
        step(own, first, last)


def _remove_beside(tree: SafeTree, keys: Sequence[str], written: Sequence[str], stop: threading.Event) -> None:
    """Remove files while others are written: a folder that those need is left, it will not be empty."""
    needed: set[str] = set()
    for key in written:
        folder = posixpath.dirname(key)
        while folder and folder not in needed:
            needed.add(folder)
            folder = posixpath.dirname(folder)
    with closing(tree.twin()) as own:
        _remove(own, keys, needed, stop)


def _remove(tree: SafeTree, keys: Sequence[str], needed: Set[str], stop: threading.Event) -> None:
    """Remove files, and the folders that are empty then and not `needed`."""
    folders: set[str] = set()
    for key in keys:
        if stop.is_set():
            return
        folder, _, name = key.rpartition("/")
        tree.remove(folder, name)
        failpoints.hit("checkout.file.removed")
        folders.add(folder)
    for folder in sorted(folders, reverse=True):
        while folder and folder not in needed and tree.remove_if_empty(folder):
            folder = posixpath.dirname(folder)


class _Writing:
    """One checkout's files on their way: staged, synced, then given their names, chunk by chunk.

    Safe across threads, each with a tree of its own. `are_few`: each is synced by itself, which takes less than to wait
    for all that others have written to the disk.
    """

    def __init__(self, files: NewFiles, bar: Bar, stop: threading.Event, *, are_few: bool) -> None:
        self._files = files
        self._bar = bar
        self._lock = threading.Lock()
        self._stop = stop
        self._are_few = are_few
        # Random once and then counted: drawing a name per file costs a tenth of writing it.
        self._drawn = int.from_bytes(os.urandom(8))
        self._is_staged = np.zeros(len(files.keys), np.bool_)
        self._disks: dict[int, str] = {}  # others than that of the top, and a folder on each
        self.stats: StatMatrix = np.empty((len(files.keys), 4), np.int64)
        self.is_linked = np.zeros(len(files.keys), np.bool_)

    def stage(self, tree: SafeTree, first: int, last: int) -> None:
        """Write these files under temporary names, batch by batch, until somebody says stop."""
        files = self._files
        for begin, end in _cut_batches(files.sizes[first:last], files.linkable[first:last]):
            if self._stop.is_set():
                break
            start = first + begin
            if self._link(tree, start):
                pass
            elif end - begin == 1 and files.sizes[start] >= _STREAM_FROM_BYTES and os.path.isdir(_OPEN_FOLDERS):
                self._is_staged[start] = True
                self._stream(tree, start)
            else:
                for number, data in enumerate(files.reader.read_batch(range(start, first + end)), start):
                    folder = files.keys[number].rpartition("/")[0]
                    self._is_staged[number] = True
                    tree.stage(folder, self._temporary(number), data, is_synced=self._are_few)
            failpoints.hit("checkout.batch.written")
            with self._lock:
                self._bar.advance(end - begin)
                self._disks.update(tree.mounted)

    def sync(self, tree: SafeTree) -> None:
        """Make what was staged so far durable, if it is not."""
        if not self._are_few:
            for folder in ("", *self._disks.values()):
                number = tree.enter(folder, create=False)
                if number is not None:
                    sync_file_system(number)
        failpoints.hit("checkout.synced")

    def place(self, tree: SafeTree, first: int, last: int) -> None:
        """Give these files their names, those that were staged."""
        staged = first + np.flatnonzero(self._is_staged[first:last])
        rows = array("q")
        for number in staged.tolist():
            folder, _, name = self._files.keys[number].rpartition("/")
            rows.extend(tree.place(folder, self._temporary(number), name))
            self._is_staged[number] = False
            failpoints.hit("checkout.file.placed")
        self.stats[staged] = np.frombuffer(rows, np.int64).reshape(-1, 4)

    def sync_names(self, tree: SafeTree, removed: Sequence[str]) -> None:
        """Make durable that files have their names now, and that others are gone."""
        if not self._are_few:
            self.sync(tree)
            return
        folders = {""}
        for key in (*self._files.keys, *removed):
            while key:
                key = posixpath.dirname(key)
                folders.add(key)
        for folder in sorted(folders):
            with suppress(Obstructed):  # a file by now
                tree.fsync(folder)

    def clear(self, tree: SafeTree) -> None:
        """Take away what was staged and got no name."""
        for number in np.flatnonzero(self._is_staged).tolist():
            with suppress(OSError, Obstructed):
                tree.remove(self._files.keys[number].rpartition("/")[0], self._temporary(number))

    def _temporary(self, number: int) -> str:
        return f"{TEMPORARY_PREFIX}{os.getpid()}-{(self._drawn + number) & 0xFFFF_FFFF_FFFF_FFFF:016x}"

    def _link(self, tree: SafeTree, number: int) -> bool:
        """Whether a link was made, so that file `number` is not to be copied."""
        files = self._files
        if not files.linkable[number]:
            return False
        folder, _, name = files.keys[number].rpartition("/")
        raw_id = files.reader.raw_id(number)
        stat = tree.link(folder, name, files.store.loose_path(raw_id), raw_id)
        if stat is not None:
            self.stats[number] = stat
            self.is_linked[number] = True
        return stat is not None

    def _stream(self, tree: SafeTree, number: int) -> None:
        asset_id = AssetId(self._files.reader.raw_id(number).hex())
        key = self._files.keys[number]
        path = tree.staged_path(key.rpartition("/")[0], self._temporary(number))
        try:
            self._files.store.copy_to(asset_id, path, durable=self._are_few)
        except StorageFailed as error:
            # The path names an open folder of this process.
            raise StorageFailed("write", key, error.problem) from None
        failpoints.hit("checkout.file.written")


def _cut_chunks(runs: Sequence[tuple[int, int]], sizes: npt.NDArray[np.int64]) -> Iterator[list[tuple[int, int]]]:
    """Runs that wait for the disk together: many, as each wait costs; not all, as what is staged takes room."""
    chunk: list[tuple[int, int]] = []
    held = 0
    for first, last in runs:
        if chunk and (last - chunk[0][0] > _CHUNK_FILES or held > _CHUNK_BYTES):
            yield chunk
            chunk, held = [], 0
        chunk.append((first, last))
        held += int(sizes[first:last].sum())
    if chunk:
        yield chunk


def _cut_runs(keys: list[str], sizes: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of rows for one thread each: whole folders where that works, as two threads in one folder wait in turn."""
    first, held, folder = 0, 0, ""
    for number, (key, size) in enumerate(zip(keys, sizes.tolist(), strict=True)):
        here = key.rpartition("/")[0]
        count = number - first
        if count and (
            held + size > _RUN_BYTES or count >= _LONGEST_RUN_FILES or (count >= _RUN_FILES and here != folder)
        ):
            yield first, number
            first, held = number, 0
        held += size
        folder = here
    if first < len(keys):
        yield first, len(keys)


def _cut_batches(sizes: npt.NDArray[np.int64], alone: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Ranges of rows to read at once: bounded in files and bytes, a big file or one to be linked alone."""
    first, held, ends = 0, 0, False
    for number, (size, is_alone) in enumerate(zip(sizes.tolist(), alone.tolist(), strict=True)):
        if number > first and (number - first >= _BATCH_FILES or held + size > _BATCH_BYTES or is_alone or ends):
            yield first, number
            first, held = number, 0
        held += size
        ends = is_alone
    if first < len(sizes):
        yield first, len(sizes)
