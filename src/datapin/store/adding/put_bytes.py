"""Adds assets that are in memory, one by one: what stages make."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from datapin.base.ids import AssetId
from datapin.store.adding.claims import Claims
from datapin.store.adding.copies import StoredCopies
from datapin.store.adding.filling import Filled, Filler
from datapin.store.index import Index
from datapin.store.layout import Limits, storage_failures


class Filling:
    """Takes assets until its context ends; they become visible at `publish` and at the end. One thread at a time."""

    def __init__(
        self, root: str, staging: str, limits: Limits, index: Index, publish: Callable[[Filled], None]
    ) -> None:
        self._root = root
        self._filler = Filler(staging, limits)
        self._claims = Claims(index)
        self._copies = StoredCopies(root)
        self._publish = publish

    def put(self, data: bytes) -> AssetId:
        """Take one asset; its id. A stored copy is compared, and healed if damaged. Raises StorageFailed."""
        raw_id = hashlib.sha256(data).digest()
        place = self._claims.judge_one(raw_id)
        if place is not False and (place is True or not self._copies.is_intact(place, raw_id, data)):
            with storage_failures("write to the store", self._root):
                self._filler.append(raw_id, data)
        return AssetId(raw_id.hex())

    def publish(self) -> None:
        """Make everything put so far durable and visible. Raises StorageFailed, Locked."""
        with storage_failures("write to the store", self._root):
            self._publish(self._filler.finish())

    def abandon(self) -> None:
        """Give up what was not published."""
        self._copies.close()
        self._filler.abandon()

    def close(self) -> None:
        """Close the packs that were compared with."""
        self._copies.close()
