"""Adds many files: in this process, or in worker processes that read, hash and write while this one answers.

Workers get contiguous runs of files, so packs follow the order of keys. Ids travel to this process, which knows what
is new; no asset crosses a pipe.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datapin.base.errors import SourcesRefused, StorageFailed, WorkersLost
from datapin.base.id_columns import IdMatrix, ids_from_raw
from datapin.base.ids import RAW_ID_BYTES
from datapin.base.processes import worker_environment, worker_words
from datapin.base.progress import Bar
from datapin.pack.table import records_from_bytes
from datapin.store.adding.adding import Adder, PutBatch, Verdicts
from datapin.store.adding.channel import (
    ADVANCED,
    ASK_RUN,
    BATCH,
    FAILED,
    FILLED,
    NO_MORE,
    REFUSED,
    RUN,
    VERDICTS,
    Channel,
    ChannelClosed,
    decode_batch,
    decode_filled,
    encode_json,
    encode_verdicts,
)
from datapin.store.adding.claims import Claims
from datapin.store.adding.filling import Filled
from datapin.store.index import IN_LOOSE_FILE, Index, Int64s
from datapin.store.layout import Limits

# Below both, starting workers takes longer than they save.
PARALLEL_FROM_FILES = 2000
PARALLEL_FROM_BYTES = 64 << 20
_RUN_FILES = 4096


@dataclass(frozen=True, slots=True)
class FileBatch:
    """Files to add, in key order: paths to open, names for errors, sizes as the walk saw them (to plan only)."""

    paths: Sequence[str]
    names: Sequence[str]
    sizes: Int64s


@dataclass(frozen=True, slots=True)
class PutResult:
    """What was read: ids `uint8 [n, 32]`, sizes, and stats `int64 [n, 4]`.

    A stat is size, mtime_ns, ctime_ns and inode at the read. `new_assets` and `new_bytes` count what was new here.
    """

    ids: IdMatrix
    sizes: Int64s
    stats: npt.NDArray[np.int64]
    new_assets: int
    new_bytes: int


@dataclass(frozen=True, slots=True)
class PutSettings:
    """Where and how to add."""

    root: str
    staging: str
    limits: Limits
    index: Index

    def loose_sizes(self, sizes: Int64s) -> frozenset[int]:
        """Those of the large `sizes` that some loose asset of the store has."""
        large = np.unique(sizes[sizes >= self.limits.large_asset])
        entries = self.index.entries
        return frozenset(np.intersect1d(large, entries.length[entries.pack == IN_LOOSE_FILE]).tolist())


def add_files(files: FileBatch, settings: PutSettings, *, jobs: int, bar: Bar) -> tuple[PutResult, Filled]:
    """Read `files` and write the new ones into the staging directory, durable but not published.

    Raises SourcesRefused that lists every bad file, StorageFailed, WorkersLost, OSError of the store.
    """
    ledger = _Ledger(files, Claims(settings.index), bar, settings.limits.large_asset)
    pays = len(files.paths) > PARALLEL_FROM_FILES or int(files.sizes.sum()) > PARALLEL_FROM_BYTES
    if jobs > 1 and pays and len(files.paths) > 1:
        filled = _add_with_workers(files, settings, ledger, jobs)
    else:
        filled = _add_here(files, settings, ledger)
    return ledger.result(filled), filled


class _Ledger:
    """Collects what was read, and judges it."""

    def __init__(self, files: FileBatch, claims: Claims, bar: Bar, large_asset: int) -> None:
        count = len(files.paths)
        self._names = files.names
        self._claims = claims
        self._bar = bar
        self._large_asset = large_asset
        self._ids: IdMatrix = np.zeros((count, RAW_ID_BYTES), dtype=np.uint8)
        self._stats = np.zeros((count, 4), dtype=np.int64)
        self._problems: dict[int, str] = {}

    def take(self, first: int, ids: bytes, stats: bytes, problems: Sequence[tuple[int, str]]) -> Verdicts:
        """Write a batch down; the verdicts on its ids."""
        count = len(ids) // RAW_ID_BYTES
        self._ids[first : first + count] = ids_from_raw(ids)
        self._stats[first : first + count] = np.frombuffer(stats, dtype=np.int64).reshape(-1, 4)
        self._problems.update(problems)
        sizes = self._stats[first : first + count, 0]
        self._bar.advance(int(sizes[sizes < self._large_asset].sum()))
        return self._claims.judge(ids)

    def advance(self, size_bytes: int) -> None:
        """So much of a large file was read: a batch that holds one is long in coming."""
        self._bar.advance(size_bytes)

    def refuse(self, number: int, problem: str) -> None:
        """File `number` cannot be added."""
        self._problems[number] = problem

    def result(self, filled: Filled) -> PutResult:
        """The whole call's result. Raises SourcesRefused if a file was refused."""
        if self._problems:
            listed = sorted(self._problems.items())
            raise SourcesRefused(tuple(f"{self._names[number]}: {problem}" for number, problem in listed))
        new_assets, new_bytes = count_new(filled)
        return PutResult(self._ids, self._stats[:, 0].copy(), self._stats, new_assets, new_bytes)


def count_new(filled: Filled) -> tuple[int, int]:
    """Assets and their raw bytes in what was written."""
    tables = [records_from_bytes(pack.table) for pack in filled.packs]
    count = sum(len(table) for table in tables) + len(filled.loose)
    size = sum(int(table["raw"].sum()) for table in tables) + sum(loose.size_bytes for loose in filled.loose)
    return count, size


class _DeskHere:
    """The desk for an adder in this process."""

    def __init__(self, ledger: _Ledger) -> None:
        self._ledger = ledger
        self._verdicts: list[Verdicts] = []

    def hand_in(self, batch: PutBatch) -> None:
        self._verdicts.append(
            self._ledger.take(batch.first, b"".join(batch.ids), batch.stats.tobytes(), batch.problems)
        )

    def verdicts(self) -> Verdicts:
        return self._verdicts.pop(0)

    def refuse(self, number: int, problem: str) -> None:
        self._ledger.refuse(number, problem)

    def advance(self, size_bytes: int) -> None:
        self._ledger.advance(size_bytes)


def _add_here(files: FileBatch, settings: PutSettings, ledger: _Ledger) -> Filled:
    loose_sizes = settings.loose_sizes(files.sizes)
    adder = Adder(settings.root, settings.staging, settings.limits, loose_sizes, _DeskHere(ledger))
    try:
        adder.add_run(0, files.paths)
        return adder.finish()
    except BaseException:
        adder.abandon()
        raise


def _cut_runs(sizes: Int64s, pack_size: int) -> Iterator[tuple[int, int]]:
    """Runs of about a pack each, or one large file each: (start, end)."""
    ends = np.cumsum(sizes)
    start, count = 0, len(sizes)
    while start < count:
        before = int(ends[start - 1]) if start else 0
        end = int(np.searchsorted(ends, before + pack_size)) + 1
        end = min(end, start + _RUN_FILES, count)
        yield start, end
        start = end


class _Worker:
    """One worker process and the channel to it."""

    def __init__(self, settings: PutSettings, loose_sizes: frozenset[int]) -> None:
        from_parent, to_worker = os.pipe()
        from_worker, to_parent = os.pipe()
        said = {
            "root": settings.root,
            "staging": settings.staging,
            "large_asset": settings.limits.large_asset,
            "pack_size": settings.limits.pack_size,
            "loose_sizes": sorted(loose_sizes),
        }
        # A fresh interpreter, not a fork (the parent may have threads) and not multiprocessing's spawn (it would
        # import the caller's main module, with all that hangs on it).
        words = worker_words("datapin.store.adding.worker", str(from_parent), str(to_parent), json.dumps(said))
        try:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, pass_fds=(from_parent, to_parent), env=worker_environment()
            )
        finally:
            os.close(from_parent)
            os.close(to_parent)
        self.channel = Channel(from_worker, to_worker)

    def end(self) -> None:
        """Wait for a worker that has said its last word, or kill one that has not; it only holds staged files."""
        self.channel.close()
        try:
            self.process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _add_with_workers(files: FileBatch, settings: PutSettings, ledger: _Ledger, jobs: int) -> Filled:
    runs = list(_cut_runs(files.sizes, settings.limits.pack_size))
    loose_sizes = settings.loose_sizes(files.sizes)
    workers: dict[int, _Worker] = {}
    filled, waiting, poll = Filled(), iter(runs), select.poll()
    try:
        for _ in range(min(jobs, len(runs))):
            worker = _Worker(settings, loose_sizes)
            workers[worker.channel.incoming] = worker
            poll.register(worker.channel.incoming, select.POLLIN)
        active = len(workers)
        while active:
            for number, _ in poll.poll():
                written = _answer(workers[number].channel, files, ledger, waiting)
                if written is not None:
                    filled.extend(written)
                    poll.unregister(number)
                    active -= 1
        return filled
    except ChannelClosed:
        raise WorkersLost(attempts=1, problem="a process that reads and packs files was killed") from None
    finally:
        for worker in workers.values():
            worker.end()


def _answer(channel: Channel, files: FileBatch, ledger: _Ledger, runs: Iterator[tuple[int, int]]) -> Filled | None:
    """Read one message and answer it; what the worker wrote if it was its last word."""
    kind, payload = channel.receive()
    if kind == BATCH:
        channel.send(VERDICTS, encode_verdicts(ledger.take(*decode_batch(payload))))
    elif kind == ASK_RUN:
        run = next(runs, None)
        if run is None:
            channel.send(NO_MORE)
        else:
            start, end = run
            channel.send(RUN, encode_json([start, list(files.paths[start:end])]))
    elif kind == ADVANCED:
        ledger.advance(int(payload))
    elif kind == REFUSED:
        ledger.refuse(*json.loads(payload))
    elif kind == FAILED:
        raise StorageFailed(*json.loads(payload))
    elif kind == FILLED:
        return decode_filled(payload)
    return None
