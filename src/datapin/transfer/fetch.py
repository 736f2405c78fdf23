"""Brings assets from a remote store to the local one; every byte is hashed before it becomes visible."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from datapin.base import failpoints
from datapin.base.errors import AssetsMissing, DamagedAsset, DamagedPack, ObjectMissing
from datapin.base.files import write_all
from datapin.base.id_columns import IdMatrix
from datapin.base.progress import SILENT, Progress
from datapin.pack.reader import Span, coalesce, read_stored
from datapin.pack.table import Table, read_table_of_file
from datapin.pack.writer import SealedPack
from datapin.store.encoded import EncodedAsset
from datapin.store.filling import Filled, Filler
from datapin.store.index import IN_LOOSE_FILE, Entries, Index
from datapin.store.layout import loose_key, pack_key, storage_failures
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.plan import Rows, plan_transfer
from datapin.transfer.report import TransferReport
from datapin.transfer.threads import map_in_order

_GAP_BYTES = 256 << 10  # reading this much for nothing costs less than another request to S3
_SPAN_BYTES = 8 << 20
_PUBLISH_BYTES = 1 << 30  # a fetch that is cut off keeps what was published


def fetch_assets(
    store: Store,
    remote: RemoteStore,
    ids: IdMatrix,
    *,
    jobs: int,
    progress: Progress = SILENT,
    dry_run: bool = False,
) -> TransferReport:
    """Bring the assets `ids` from `remote`; what is here is not fetched again, also after a fetch that was cut off.

    A pack of which more than half is wanted comes whole and keeps its name; of others, ranges. Raises AssetsMissing
    if the remote lacks one, DamagedAsset if it has no good copy of one, RemoteUnreachable, StorageFailed.
    """
    remote.check_format()
    index = remote.index()
    plan = plan_transfer(ids, index, store.index)
    if len(plan.absent):
        names = tuple(row.tobytes().hex() for row in ids[plan.absent[:20]])
        raise AssetsMissing(names=names, count=len(plan.absent), where=remote.url)
    if dry_run:
        return TransferReport(plan.assets, len(plan.whole) + len(plan.loose), plan.bytes, 0, plan.present)
    with (
        store.staging() as filler,
        progress.bar("fetching", plan.bytes, "B") as bar,
        storage_failures("write to the store", store.root),
    ):
        fetch = _Fetch(store, remote, index, filler)
        pieces = [plan.pieces]
        for number, pack in fetch.whole_packs(plan.whole, jobs):
            if pack is None:
                pieces.append(plan.wanted_in_whole[index.entries.pack[plan.wanted_in_whole] == number])
                continue
            filler.keep_pack(pack)
            bar.advance(pack.size_bytes)
            fetch.publish_if(pack.size_bytes)
        for asset in fetch.pieces(np.concatenate(pieces), jobs):
            filler.append_stored(asset.raw_id, asset.codec, asset.stored, asset.raw_length)
            bar.advance(len(asset.stored))
            fetch.publish_if(len(asset.stored))
        for row in plan.loose:
            fetch.loose(int(row))
            bar.advance(int(index.entries.length[row]))
            fetch.publish_if(int(index.entries.length[row]))
        fetch.publish()
    return TransferReport(fetch.assets, fetch.files, fetch.bytes, remote.backend.requests, plan.present)


@dataclass(frozen=True, slots=True)
class _Request:
    """Neighbouring pieces of one pack: rows of the index, and the span that covers them."""

    pack: int
    rows: Rows
    span: Span


class _Fetch:
    """One fetch under way."""

    def __init__(self, store: Store, remote: RemoteStore, index: Index, filler: Filler) -> None:
        self._store = store
        self._remote = remote
        self._index = index
        self._filler = filler
        self._unpublished = 0
        self.assets = self.files = self.bytes = 0

    def whole_packs(self, packs: Sequence[int], jobs: int) -> Iterator[tuple[int, SealedPack | None]]:
        """Each pack in a staged file, checked; None if it is damaged or gone there."""
        yield from map_in_order(lambda number: (number, self._whole_pack(number)), packs, jobs=jobs)

    def pieces(self, rows: Rows, jobs: int) -> Iterator[EncodedAsset]:
        """The assets of these rows, checked, in the order of their places."""
        entries = self._index.entries
        rows = rows[np.lexsort((entries.offset[rows], entries.pack[rows]))]
        for request, block in map_in_order(self._read, _requests(entries, rows), jobs=jobs):
            for row in request.rows:
                yield self._piece(int(row), request, block)

    def loose(self, row: int) -> None:
        """Bring one loose asset into a staged file."""
        raw_id = self._index.entries.ids[row].tobytes()
        key = loose_key(raw_id.hex())
        writer = self._filler.open_loose()
        try:
            for chunk in self._remote.backend.iter_chunks(key):
                writer.write(chunk)
        except ObjectMissing:
            raise AssetsMissing(names=(raw_id.hex(),), count=1, where=self._remote.url) from None
        if writer.raw_id() != raw_id:
            raise DamagedAsset(raw_id.hex(), f"{self._remote.url}/{key}")
        self._filler.keep_loose(writer, raw_id)

    def publish_if(self, new_bytes: int) -> None:
        """Count what came; publish when there is enough of it."""
        self._unpublished += new_bytes
        if self._unpublished >= _PUBLISH_BYTES:
            self.publish()

    def publish(self) -> None:
        """Make everything fetched so far visible."""
        filled = self._filler.finish()
        failpoints.hit("fetch.staged")
        self._store.publish(filled)
        self._unpublished = 0
        self._count(filled)

    def _count(self, filled: Filled) -> None:
        self.assets += sum(pack.count for pack in filled.packs) + len(filled.loose)
        self.files += len(filled.packs) + len(filled.loose)
        self.bytes += sum(pack.size_bytes for pack in filled.packs)
        self.bytes += sum(loose.size_bytes for loose in filled.loose)

    def _whole_pack(self, number: int) -> SealedPack | None:
        pack = self._index.entries.packs[number]
        path = self._filler.new_path()
        try:
            size = self._download(pack_key(pack.hex()), path, pack)
            if size is None:
                return None
            table = read_table_of_file(path)
            if not _all_assets_are_right(path, table):
                return None
        except (ObjectMissing, DamagedPack):
            return None
        return SealedPack(path, pack.hex(), size, table.tobytes())

    def _download(self, key: str, path: str, content: bytes) -> int | None:
        """Write the object to `path`, durably; its size, or None if it does not hash to `content`."""
        digest, size = hashlib.sha256(), 0
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            for chunk in self._remote.backend.iter_chunks(key):
                digest.update(chunk)
                write_all(number, chunk)
                size += len(chunk)
            if digest.digest() != content:
                return None
            os.fsync(number)
            failpoints.hit("fetch.pack.synced")
        finally:
            os.close(number)
        return size

    def _read(self, request: _Request) -> tuple[_Request, bytes]:
        key = pack_key(self._index.entries.packs[request.pack].hex())
        try:
            (block,) = self._remote.backend.get_ranges(key, [(request.span.offset, request.span.length)])
        except ObjectMissing:
            block = b""
        return request, block

    def _piece(self, row: int, request: _Request, block: bytes) -> EncodedAsset:
        entries = self._index.entries
        start, length = int(entries.offset[row]) - request.span.offset, int(entries.length[row])
        asset = self._asset(row, block[start : start + length])
        return asset if not asset.problem() else self._other_copy(row, asset.problem())

    def _asset(self, row: int, stored: bytes) -> EncodedAsset:
        entries = self._index.entries
        return EncodedAsset(entries.ids[row].tobytes(), int(entries.codec[row]), stored, int(entries.raw_length[row]))

    def _other_copy(self, row: int, problem: str) -> EncodedAsset:
        """Another copy of an asset whose first is damaged or gone. Raises DamagedAsset."""
        entries = self._index.entries
        raw_id = entries.ids[row].tobytes()
        first = self._index.find_one(raw_id)
        assert first is not None
        for copy in self._index.rows_with_id_of(first):
            pack = int(entries.pack[copy])
            if copy == row or pack == IN_LOOSE_FILE:
                continue
            span = Span(int(entries.offset[copy]), int(entries.length[copy]), 0, 0)
            asset = self._asset(copy, self._read(_Request(pack, np.array([copy]), span))[1])
            if not asset.problem():
                return asset
        key = pack_key(entries.packs[entries.pack[row]].hex())
        raise DamagedAsset(raw_id.hex(), f"{self._remote.url}/{key}", problem)


def _requests(entries: Entries, rows: Rows) -> Iterator[_Request]:
    """Spans over `rows`, which are sorted by place."""
    packs = entries.pack[rows]
    starts = [0, *(np.flatnonzero(np.diff(packs)) + 1).tolist(), len(rows)] if len(rows) else []
    for start, end in pairwise(starts):
        group = rows[start:end]
        offsets, lengths = entries.offset[group].tolist(), entries.length[group].tolist()
        for span in coalesce(offsets, lengths, gap=_GAP_BYTES, most=_SPAN_BYTES):
            yield _Request(int(packs[start]), group[span.first : span.last + 1], span)


def _all_assets_are_right(path: str, table: Table) -> bool:
    """Whether each asset of the pack hashes to its id: a pack may be whole and still name wrong ids."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for record in table:
            stored = read_stored(number, int(record["offset"]), int(record["stored"]))
            asset = EncodedAsset(record["id"].tobytes(), int(record["codec"]), stored, int(record["raw"]))
            if asset.problem():
                return False
        return True
    finally:
        os.close(number)
