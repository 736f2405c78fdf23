"""Brings assets from the local store to a remote one: packs, then the index that names them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datapin.base import failpoints
from datapin.base.errors import AssetsMissing, DamagedAsset, DamagedPack
from datapin.base.id_columns import IdMatrix
from datapin.base.progress import SILENT, Progress
from datapin.pack.table import read_table_of_file, records_from_bytes
from datapin.pack.writer import SealedPack
from datapin.store.copies import hash_of_file
from datapin.store.filling import Filler
from datapin.store.index import Entries, Index, entries_of_loose, entries_of_table, join_entries
from datapin.store.layout import loose_key, pack_key, storage_failures
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.plan import Rows, TransferPlan, plan_transfer
from datapin.transfer.report import TransferReport
from datapin.transfer.threads import map_in_order


@dataclass(frozen=True, slots=True)
class _Upload:
    """A pack or loose asset that is on the remote now; `is_new` if this push put it there."""

    size_bytes: int
    entries: Entries
    is_new: bool


def push_assets(
    store: Store,
    remote: RemoteStore,
    ids: IdMatrix,
    *,
    jobs: int,
    progress: Progress = SILENT,
    dry_run: bool = False,
) -> TransferReport:
    """Bring the assets `ids` to `remote`; what is there is not sent again, also after a push that was cut off.

    Packs move whole where that is worth it. Everything is hashed before it leaves. Raises AssetsMissing if one is not
    in `store`, DamagedAsset if no good copy is, DamagedPack, RemoteUnreachable, StorageFailed.
    """
    if dry_run:
        remote.check_format()
    else:
        remote.make()
    index = store.index
    plan = plan_transfer(ids, index, remote.index())
    if len(plan.absent):
        names = tuple(row.tobytes().hex() for row in ids[plan.absent[:20]])
        raise AssetsMissing(names=names, count=len(plan.absent))
    if dry_run:
        return TransferReport(plan.assets, len(plan.whole) + len(plan.loose), plan.bytes, 0, plan.present)
    with store.staging() as filler, progress.bar("pushing", plan.bytes, "B") as bar:
        sent = []
        for upload in _uploads(store, remote, index, plan, filler, jobs=jobs):
            bar.advance(upload.size_bytes)
            sent.append(upload)
        failpoints.hit("push.packs.sent")
        if sent:
            # The index follows its packs: a reader must never find an entry whose bytes are not there yet.
            remote.publish_index(join_entries([upload.entries for upload in sent]))
            failpoints.hit("push.index.sent")
    new = [upload for upload in sent if upload.is_new]
    return TransferReport(
        assets=sum(len(upload.entries) for upload in sent),
        packs=len(new),
        bytes=sum(upload.size_bytes for upload in new),
        requests=remote.backend.requests,
        skipped=plan.present,
    )


def _uploads(
    store: Store, remote: RemoteStore, index: Index, plan: TransferPlan, filler: Filler, *, jobs: int
) -> Iterator[_Upload]:
    """Send everything the plan names, whole packs first; each upload when it is there.

    A pack that is damaged anywhere is not sent: its wanted assets are taken out of it one by one.
    """
    pieces = [plan.pieces]
    whole = map_in_order(lambda number: _send_whole(store, remote, index.entries.packs[number]), plan.whole, jobs=jobs)
    for number, upload in zip(plan.whole, whole, strict=True):
        if upload is None:
            pieces.append(plan.wanted_in_whole[index.entries.pack[plan.wanted_in_whole] == number])
        else:
            yield upload
    with storage_failures("write to the store", store.root):
        repacked = _repack(store, index, np.concatenate(pieces), filler)
    yield from map_in_order(lambda pack: _send_repacked(remote, pack), repacked, jobs=jobs)
    loose = [index.entries.ids[row].tobytes() for row in plan.loose]
    yield from map_in_order(lambda raw_id: _send_loose(store, remote, raw_id), loose, jobs=jobs)


def _send(remote: RemoteStore, key: str, path: Path, entries: Entries) -> _Upload:
    """Put one file unless it is there."""
    size = path.stat().st_size
    seen = remote.backend.head(key)
    is_there = seen is not None and seen.size_bytes == size
    return _Upload(size, entries, not is_there and remote.put_object(key, path, size))


def _send_whole(store: Store, remote: RemoteStore, pack: bytes) -> _Upload | None:
    """Send a pack as it is; None if it is damaged, or gone since the plan was made."""
    path = store.pack_path(pack)
    try:
        if hash_of_file(str(path)) != pack:
            return None
        entries = entries_of_table(pack, read_table_of_file(path))
    except (OSError, DamagedPack):
        return None
    return _send(remote, pack_key(pack.hex()), path, entries)


def _send_repacked(remote: RemoteStore, pack: SealedPack) -> _Upload:
    entries = entries_of_table(bytes.fromhex(pack.pack_id), records_from_bytes(pack.table))
    return _send(remote, pack_key(pack.pack_id), Path(pack.path), entries)


def _send_loose(store: Store, remote: RemoteStore, raw_id: bytes) -> _Upload:
    path, key = store.loose_path(raw_id), loose_key(raw_id.hex())
    try:
        if hash_of_file(str(path)) != raw_id:
            raise DamagedAsset(raw_id.hex(), key)
        size = path.stat().st_size
    except FileNotFoundError:
        raise AssetsMissing(names=(raw_id.hex(),), count=1) from None
    return _send(remote, key, path, entries_of_loose([raw_id], [size]))


def _repack(store: Store, index: Index, pieces: Rows, filler: Filler) -> list[SealedPack]:
    """The assets of these rows in new packs, each hashed on the way."""
    for row in pieces:
        asset = store.read_encoded(index.entries, int(row))
        filler.append_stored(asset.raw_id, asset.codec, asset.stored, asset.raw_length)
    return filler.finish().packs
