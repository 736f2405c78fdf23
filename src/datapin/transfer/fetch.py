"""Brings assets from a remote store to the local one; every byte is hashed before it becomes visible.

Memory is bounded by what is under way, not by what is wanted: four packs as streams, and twice as many calls for
ranges as run at once, of 2 MiB each; packs and large assets go to the disk chunk by chunk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from datapin.base import failpoints, log
from datapin.base.errors import (
    AssetsMissing,
    Damage,
    DamagedAsset,
    Locked,
    ObjectMissing,
    StorageFailed,
    WorldError,
)
from datapin.base.id_columns import IdMatrix
from datapin.base.progress import SILENT, Bar, Progress
from datapin.store.adding.filling import Filled, Filler
from datapin.store.index import IN_LOOSE_FILE, Index
from datapin.store.layout import loose_key, pack_key, storage_failures
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.downloads import Downloads, Stopped, range_calls
from datapin.transfer.plan import Rows, TransferPlan, plan_transfer
from datapin.transfer.report import TransferReport
from datapin.transfer.threads import map_in_order, packs_at_once, ranges_at_once

GAP_BYTES = 64 << 10  # reading this much for nothing costs less than another request

_PUBLISH_BYTES = 1 << 30  # a fetch that is killed keeps what was published
_LOOSE = b""  # in place of a pack's id


def fetch_assets(
    store: Store,
    remote: RemoteStore,
    ids: IdMatrix,
    *,
    jobs: int,
    progress: Progress = SILENT,
    dry_run: bool = False,
    gap_bytes: int = GAP_BYTES,
) -> TransferReport:
    """Bring the assets `ids` from `remote`; what is here is not fetched again, also after a fetch that was cut off.

    A pack of which more than half is wanted comes whole and keeps its name; of others, ranges, where pieces at most
    `gap_bytes` apart are read together. Another copy is used where one is damaged. What came before an error or an
    interrupt stays. Raises AssetsMissing if the remote lacks one, DamagedAsset if it has no good copy of one, when all
    others are here; RemoteUnreachable, StorageFailed.
    """
    index = remote.index_with(ids)
    plan = plan_transfer(ids, index, store.index)
    lost = [ids[plan.absent]] if len(plan.absent) else []
    log.step(
        "fetch", "%d assets to bring: %d whole packs, %d assets out of others; %d are here already, not fetched",
        plan.assets, len(plan.whole), len(plan.pieces) + len(plan.loose), plan.present,
    )  # fmt: skip
    if lost and (dry_run or not plan.assets):
        raise _missing(lost[0], remote)
    if dry_run:
        return TransferReport(plan.assets, len(plan.whole) + len(plan.loose), plan.bytes, 0, plan.present)
    if not plan.assets:
        return TransferReport(0, 0, 0, remote.backend.requests, plan.present)
    with (
        store.staging() as filler,
        progress.bar("fetching", plan.bytes, "B") as bar,
        storage_failures("write to the store", store.root),
    ):
        fetch = _Fetch(store, remote, filler, bar, jobs, gap_bytes)
        try:
            _run_beside(lambda: fetch.run(index, plan), fetch.stop)
        except StorageFailed:
            raise
        except (WorldError, Damage, KeyboardInterrupt):
            with suppress(StorageFailed, Locked, OSError):  # the first error is the one to tell
                fetch.publish()
            raise
        fetch.publish()
        lost += fetch.lost
        if lost:
            raise fetch.no_copy(np.unique(np.concatenate(lost), axis=0))
    return TransferReport(fetch.assets, fetch.files, fetch.bytes, remote.backend.requests, plan.present)


def _run_beside(call: Callable[[], None], stop: threading.Event) -> None:
    """Run `call` in a thread, so that an interrupt never cuts a pack off half-written: it sets `stop` and waits."""
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(call)
        try:
            running.result()
        except KeyboardInterrupt:
            stop.set()
            raise


class _Fetch:
    """One fetch under way."""

    def __init__(self, store: Store, remote: RemoteStore, filler: Filler, bar: Bar, jobs: int, gap_bytes: int) -> None:
        self.stop = threading.Event()
        self.assets = self.files = self.bytes = 0
        self.lost: list[IdMatrix] = []  # no good copy of them is there
        self._store = store
        self._remote = remote
        self._filler = filler
        self._bar = bar
        self._jobs = jobs
        self._gap_bytes = gap_bytes
        self._downloads = Downloads(remote, filler, self.stop)
        self._lock = threading.Lock()  # of the filler, and of `_unpublished`
        self._unpublished = 0
        self._gone: set[bytes] = set()
        self._damaged_packs: set[bytes] = set()
        self._damaged: dict[tuple[bytes, bytes], str] = {}  # pack and asset, and what is wrong with this copy

    def run(self, index: Index, plan: TransferPlan) -> None:
        """Carry out the plan, then plans for what failed, from other copies, until nothing fails or no copy is left.

        Raises RemoteUnreachable, OSError.
        """
        with suppress(Stopped):
            while True:
                failed = [self._whole_packs(index, plan), self._pieces(index, plan), self._loose(index, plan)]
                rows = np.concatenate(failed)
                if not len(rows):
                    return
                ids = index.entries.ids[rows]
                self._remote.check_format()
                index = self._without_bad_copies(self._remote.index())  # read again: packs may have been replaced
                plan = plan_transfer(ids, index, self._store.index, never_whole=self._damaged_packs)
                if len(plan.absent):
                    self.lost.append(ids[plan.absent])

    def publish(self) -> None:
        """Make everything fetched so far visible."""
        with self._lock:
            self._publish()

    def _whole_packs(self, index: Index, plan: TransferPlan) -> Rows:
        """Fetch packs as they are; the wanted rows of those that are gone or damaged."""
        packs = index.entries.packs
        got = map_in_order(lambda number: self._whole_pack(packs[number]), plan.whole, jobs=packs_at_once(self._jobs))
        bad = [number for number, is_here in zip(plan.whole, got, strict=True) if not is_here]
        return plan.wanted_in_whole[np.isin(index.entries.pack[plan.wanted_in_whole], bad)]

    def _whole_pack(self, pack: bytes) -> bool:
        try:
            found = self._downloads.pack(pack)
        except ObjectMissing:
            self._gone.add(pack)
            return False
        if found is None:
            self._damaged_packs.add(pack)
            return False
        with self._lock:
            self._filler.keep_pack(found)
            self._count(found.size_bytes)
        return True

    def _pieces(self, index: Index, plan: TransferPlan) -> Rows:
        """Fetch assets out of their packs; the rows of those that are gone or damaged."""
        entries, bad = index.entries, []
        calls = range_calls(entries, plan.pieces, self._gap_bytes)
        for pieces in map_in_order(
            lambda call: self._downloads.ranges(entries, call), calls, jobs=ranges_at_once(self._jobs)
        ):
            for piece in pieces:
                pack = entries.packs[entries.pack[piece.row]]
                if piece.asset is not None:
                    asset = piece.asset
                    with self._lock:
                        self._filler.append_stored(asset.raw_id, asset.codec, asset.stored, asset.raw_length)
                        self._count(len(asset.stored))
                    continue
                bad.append(piece.row)
                if piece.problem:
                    self._damaged[pack, entries.ids[piece.row].tobytes()] = piece.problem
                else:
                    self._gone.add(pack)
        return np.array(bad, dtype=np.intp)

    def _loose(self, index: Index, plan: TransferPlan) -> Rows:
        """Fetch loose assets; the rows of those that are gone or damaged."""
        ids = [index.entries.ids[row].tobytes() for row in plan.loose]
        got = map_in_order(self._loose_asset, ids, jobs=packs_at_once(self._jobs))
        return plan.loose[[not is_here for is_here in got]] if ids else plan.loose

    def _loose_asset(self, raw_id: bytes) -> bool:
        try:
            writer = self._downloads.loose(raw_id)
        except ObjectMissing:
            self._damaged[_LOOSE, raw_id] = ""
            return False
        if writer is None:
            self._damaged[_LOOSE, raw_id] = "hash mismatch"
            return False
        with self._lock:
            self._filler.keep_loose(writer, raw_id)
            self._count(writer.size_bytes)
        return True

    def _without_bad_copies(self, index: Index) -> Index:
        """The index without what was found gone or damaged."""
        entries = index.entries
        good = np.array([*(pack not in self._gone for pack in entries.packs), True], dtype=bool)
        keep = good[entries.pack]  # the last place is for loose assets, whose pack is -1
        for pack, raw_id in self._damaged:
            first = index.find_one(raw_id)
            for row in index.rows_with_id_of(first) if first is not None else ():
                number = entries.pack[row]
                keep[row] &= (_LOOSE if number == IN_LOOSE_FILE else entries.packs[number]) != pack
        return Index(entries.take(keep))

    def no_copy(self, ids: IdMatrix) -> DamagedAsset | AssetsMissing:
        """The error for assets that no copy is left of."""
        for (pack, raw_id), problem in self._damaged.items():
            if problem and (ids == np.frombuffer(raw_id, dtype=np.uint8)).all(axis=1).any():
                key = pack_key(pack.hex()) if pack else loose_key(raw_id.hex())
                return DamagedAsset(raw_id.hex(), f"{self._remote.url}/{key}", problem)
        return _missing(ids, self._remote, came=self.assets)

    def _count(self, new_bytes: int) -> None:
        """Count what came; publish when there is enough of it."""
        self._bar.advance(new_bytes)
        self._unpublished += new_bytes
        if self._unpublished >= _PUBLISH_BYTES:
            self._publish()

    def _publish(self) -> None:
        filled = self._filler.finish()
        failpoints.hit("fetch.staged")
        self._store.publish(filled)
        self._unpublished = 0
        self._report(filled)

    def _report(self, filled: Filled) -> None:
        self.assets += sum(pack.count for pack in filled.packs) + len(filled.loose)
        self.files += len(filled.packs) + len(filled.loose)
        self.bytes += sum(pack.size_bytes for pack in filled.packs)
        self.bytes += sum(loose.size_bytes for loose in filled.loose)


def _missing(ids: IdMatrix, remote: RemoteStore, *, came: int = 0) -> AssetsMissing:
    names = tuple(row.tobytes().hex() for row in ids[:20])
    reason = f"{came} other(s) were fetched" if came else ""
    return AssetsMissing(names=names, count=len(ids), where=remote.url, reason=reason)
