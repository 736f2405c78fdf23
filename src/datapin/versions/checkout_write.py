"""Writes and removes the files of a checkout in threads: nearly all of its time is the kernel's, or the disk's."""

from __future__ import annotations

import os
import posixpath
import threading
from array import array
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datapin.base import failpoints
from datapin.base.errors import StorageFailed
from datapin.base.ids import AssetId
from datapin.base.progress import Bar, Progress
from datapin.base.stat_records import StatMatrix
from datapin.store.store import Reader, Store
from datapin.versions.safe_tree import SafeTree, StatRow

_BATCH_FILES = 64
_BATCH_BYTES = 8 << 20
_STREAM_FROM_BYTES = 64 << 20
_RUN_FILES = 256
_LONGEST_RUN_FILES = 2048
_RUN_BYTES = 64 << 20
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
    """Write every new file and remove every old one, with the folders that are empty then.

    Bytes are hashed before a file gets its name; what cannot be linked is copied. The first error ends all threads
    after their batch. Raises Obstructed, DamagedAsset, OSError.
    """
    stats = np.empty((len(files.keys), 4), np.int64)
    runs = list(_cut_runs(files.keys, files.sizes))
    stop = threading.Event()
    are_threads_worth_it = jobs > 1 and len(runs) > 1
    if old.are_in_the_way or not are_threads_worth_it:
        _remove(tree, old.keys, frozenset(), stop)
    with progress.bar("writing files", len(files.keys), "file") as bar:
        writing = _Writing(files, bar, stop)
        if not are_threads_worth_it:
            for first, last in runs:
                stats[first:last] = writing.write(tree, first, last)
            return Written(stats, writing.is_linked)
        # One thread more: unlink waits for the disk, which is told of the blocks that are free.
        with ThreadPoolExecutor(max_workers=jobs + 1) as threads:
            try:
                removal = threads.submit(_remove_beside, tree, () if old.are_in_the_way else old.keys, files.keys, stop)
                places = {threads.submit(writing.write_beside, tree, first, last): first for first, last in runs}
                for future in as_completed(places):
                    written = future.result()
                    stats[places[future] : places[future] + len(written)] = written
                removal.result()
            finally:
                stop.set()
    return Written(stats, writing.is_linked)


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
    """One checkout's files on their way. Safe across threads, each with a tree of its own."""

    def __init__(self, files: NewFiles, bar: Bar, stop: threading.Event) -> None:
        self._files = files
        self._bar = bar
        self._bar_lock = threading.Lock()
        self._stop = stop
        self.is_linked = np.zeros(len(files.keys), np.bool_)

    def write_beside(self, tree: SafeTree, first: int, last: int) -> StatMatrix:
        """`write` for a thread: `tree` only says which tree it is."""
        with closing(tree.twin()) as own:
            return self.write(own, first, last)

    def write(self, tree: SafeTree, first: int, last: int) -> StatMatrix:
        """Write these files, batch by batch; the stats of those that were written when somebody said stop."""
        files, stats = self._files, array("q")
        for begin, end in _cut_batches(files.sizes[first:last], files.linkable[first:last]):
            if self._stop.is_set():
                break
            start = first + begin
            if linked := self._link(tree, start):
                stats.extend(linked)
            elif end - begin == 1 and files.sizes[start] >= _STREAM_FROM_BYTES and os.path.isdir(_OPEN_FOLDERS):
                stats.extend(self._stream(tree, start))
            else:
                for number, data in enumerate(files.reader.read_batch(range(start, first + end)), start):
                    folder, _, name = files.keys[number].rpartition("/")
                    stats.extend(tree.write(folder, name, data))
            failpoints.hit("checkout.batch.written")
            with self._bar_lock:
                self._bar.advance(end - begin)
        return np.frombuffer(stats, np.int64).reshape(-1, 4)

    def _link(self, tree: SafeTree, number: int) -> StatRow | None:
        """The stat of the link that was made, None if file `number` is to be copied."""
        files = self._files
        if not files.linkable[number]:
            return None
        folder, _, name = files.keys[number].rpartition("/")
        raw_id = files.reader.raw_id(number)
        stat = tree.link(folder, name, files.store.loose_path(raw_id), raw_id)
        self.is_linked[number] = stat is not None
        return stat

    def _stream(self, tree: SafeTree, number: int) -> StatRow:
        asset_id = AssetId(self._files.reader.raw_id(number).hex())
        key = self._files.keys[number]
        folder, _, name = key.rpartition("/")
        with tree.streamed(folder, name) as (path, written):
            self._copy(asset_id, path, key)
        return written[0]

    def _copy(self, asset_id: AssetId, path: Path, key: str) -> None:
        try:
            self._files.store.copy_to(asset_id, path, durable=False)
        except StorageFailed as error:
            # The path names an open folder of this process.
            raise StorageFailed("write", key, error.problem) from None


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
