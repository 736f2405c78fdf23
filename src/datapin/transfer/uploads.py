"""Sends the packs and loose assets of a plan; each is hashed before it leaves, unless it lies there already."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datapin.base import failpoints
from datapin.base.errors import AssetsMissing, DamagedAsset, DamagedPack, DatapinError
from datapin.pack.table import read_table_of_file, records_from_bytes
from datapin.pack.writer import SealedPack
from datapin.store.adding.copies import hash_of_file
from datapin.store.adding.filling import Filler
from datapin.store.index import Entries, Index, entries_of_loose, entries_of_table
from datapin.store.layout import loose_key, pack_key, storage_failures
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.plan import Rows, TransferPlan
from datapin.transfer.salting import salted_pack, salted_pack_of_one
from datapin.transfer.survey import Survey
from datapin.transfer.threads import map_in_order

_REPACKED_BYTES = 256 << 20  # repacked packs are sent whenever there are so many bytes: bounds the disk they take


@dataclass(frozen=True, slots=True)
class Upload:
    """A pack or loose asset that is on the remote now; `is_new` if this push put it there."""

    size_bytes: int
    entries: Entries
    is_new: bool


class Uploads:
    """One plan being carried out."""

    def __init__(self, store: Store, remote: RemoteStore, index: Index, survey: Survey, filler: Filler) -> None:
        self._store = store
        self._remote = remote
        self._index = index
        self._survey = survey
        self._filler = filler
        self.damaged: dict[bytes, DatapinError] = {}  # what has no good copy here, and was not sent

    def send(self, plan: TransferPlan, jobs: int) -> Iterator[Upload]:
        """Send everything the plan names, whole packs first; each upload when it is there.

        A pack that is damaged anywhere is not sent: its wanted assets are taken out of it one by one. What is damaged
        or gone is left out and in `damaged` then. Raises DamagedPack, RemoteUnreachable, StorageFailed.
        """
        entries = self._index.entries
        pieces = [plan.pieces]
        whole = map_in_order(lambda number: self._send_whole(entries.packs[number]), plan.whole, jobs=jobs)
        for number, upload in zip(plan.whole, whole, strict=True):
            if upload is None:
                pieces.append(plan.wanted_in_whole[entries.pack[plan.wanted_in_whole] == number])
            else:
                yield upload
        yield from map_in_order(self._send_staged, self._repacked(np.concatenate(pieces)), jobs=jobs)
        loose = [entries.ids[row].tobytes() for row in plan.loose]
        held = self._survey.loose if loose else {}
        sent = map_in_order(lambda raw_id: self._find_loose(raw_id, held), loose, jobs=jobs)
        yield from (upload for upload in sent if upload is not None)

    def _send_whole(self, pack: bytes) -> Upload | None:
        """Send a pack as it is; None if it is damaged, or gone since the plan was made."""
        path = self._store.pack_path(pack)
        try:
            size = path.stat().st_size
            is_there = self._survey.packs.get(pack) == size
            if not is_there and hash_of_file(str(path)) != pack:
                return None
            entries = entries_of_table(pack, read_table_of_file(path))
        except (OSError, DamagedPack):
            return None
        return Upload(size, entries, not is_there and self._put(pack_key(pack.hex()), path, size, pack))

    def _send_staged(self, pack: SealedPack) -> Upload:
        """Send a pack that was made for this push, and remove it here."""
        raw_id = bytes.fromhex(pack.pack_id)
        is_there = self._survey.packs.get(raw_id) == pack.size_bytes
        is_new = not is_there and self._put(pack_key(pack.pack_id), Path(pack.path), pack.size_bytes, raw_id)
        with suppress(OSError):
            os.unlink(pack.path)
        return Upload(pack.size_bytes, entries_of_table(raw_id, records_from_bytes(pack.table)), is_new)

    def _find_loose(self, raw_id: bytes, held: Mapping[bytes, int]) -> Upload | None:
        try:
            return self._send_loose(raw_id, held)
        except (DamagedAsset, AssetsMissing) as error:
            self.damaged[raw_id] = error
            return None

    def _send_loose(self, raw_id: bytes, held: Mapping[bytes, int]) -> Upload:
        path, key = self._store.loose_path(raw_id), loose_key(raw_id.hex())
        try:
            if raw_id in self._survey.condemned.loose:
                # Its key is its id, so a fresh copy of it has to lie elsewhere.
                return self._send_staged(salted_pack_of_one(raw_id, path, self._filler.new_path()))
            size = path.stat().st_size
            is_there = held.get(raw_id) == size
            if not is_there and hash_of_file(str(path)) != raw_id:
                self._store.note_damaged_file(raw_id)
                raise DamagedAsset(raw_id.hex(), key)
        except FileNotFoundError:
            raise AssetsMissing(names=(raw_id.hex(),), count=1) from None
        is_new = not is_there and self._put(key, path, size, raw_id)
        return Upload(size, entries_of_loose([raw_id], [size]), is_new)

    def _put(self, key: str, path: Path, size: int, raw_id: bytes) -> bool:
        return self._remote.put_object(key, path, size, replace=self._survey.is_replaced(raw_id, size))

    def _repacked(self, pieces: Rows) -> Iterator[SealedPack]:
        """The assets of these rows in new packs, each hashed on the way."""
        waiting = 0
        with storage_failures("write to the store", self._store.root):
            for row in pieces:
                try:
                    asset = self._store.read_encoded(self._index.entries, int(row))
                except (DamagedAsset, AssetsMissing) as error:
                    self.damaged[self._index.entries.ids[row].tobytes()] = error
                    continue
                self._filler.append_stored(asset.raw_id, asset.codec, asset.stored, asset.raw_length)
                waiting += len(asset.stored)
                if waiting >= _REPACKED_BYTES:
                    yield from self._unlike_condemned(self._filler.finish().packs)
                    waiting = 0
            yield from self._unlike_condemned(self._filler.finish().packs)
        failpoints.hit("push.repacked")

    def _unlike_condemned(self, packs: list[SealedPack]) -> Iterator[SealedPack]:
        """The packs; one that came out just like a condemned one is made again under another name."""
        for pack in packs:
            is_condemned = bytes.fromhex(pack.pack_id) in self._survey.condemned.packs
            yield salted_pack(pack, self._filler.new_path()) if is_condemned else pack
