"""Reads assets by their number in a list, fetching those that are not here; as fast as the store once all are."""

from __future__ import annotations

import numpy as np

from datapin.base.errors import AssetsMissing, DamagedAsset
from datapin.base.id_columns import IdMatrix
from datapin.store.reader import Reader, Verify
from datapin.store.store import Store
from datapin.transfer.lazy import Ahead, Lazy, Rows, Sizes

_LOOK_AGAIN_AFTER_READS = 1000
_MOST_AHEAD_BYTES = 4 << 20
_MOST_AHEAD_ROWS = 256


class LazyReader:
    """The assets `ids`. `lazy` None: those that are not here are AssetsMissing. Safe to share between threads."""

    def __init__(self, store: Store, ids: IdMatrix, sizes: Sizes, lazy: Lazy | None) -> None:
        self._store = store
        self._ids = ids
        self._sizes = sizes
        self._lazy = lazy
        self._whole: dict[Verify, Reader] = {}
        self._reads_until_look = 0
        self._run_end = -1  # one asset after another was missing up to here
        self._run_rows = 1

    def read(self, number: int, *, verify: Verify = True) -> bytes:
        """The bytes of one asset. Raises AssetsMissing, DamagedAsset."""
        number = range(len(self._ids))[number]
        row = self._ids[number : number + 1]
        reader = self._whole.get(verify) or self._look(verify)
        try:
            if reader is not None:
                return reader.read(number)
            if self._lazy is None:
                return self._store.reader(row, verify=verify).read(0)
            try:
                return self._store.reader(row, verify=verify, only_good=True).read(0)
            except AssetsMissing:
                if number != self._run_end:
                    self._run_end, self._run_rows = number + 1, 1
                    return self._lazy.read(row)
                self._bring(number, self._lazy)
            return self._store.reader(row, verify=verify).read(0)
        except DamagedAsset as damage:
            return self._read_healed(row, damage, verify=verify)[0]
        except AssetsMissing as absence:
            raise self._store.known_damage(row) or absence from None

    def read_many(
        self, numbers: Rows, *, verify: Verify = True, ahead: Ahead | None = None, end: int = 0
    ) -> list[bytes]:
        """The bytes of these assets; all that are missing are fetched at once.

        `ahead` fetches them before, if they come before `end` in its order. Raises AssetsMissing, DamagedAsset.
        """
        rows = self._ids[numbers]
        reader = self._whole.get(verify) or self._look(verify)
        try:
            if reader is not None:
                return reader.read_many(numbers)
            if ahead is not None:
                ahead.wait(end)
            if self._lazy is not None:
                self._lazy.ensure(rows)
            return self._store.reader(rows, verify=verify).read_batch(range(len(rows)))
        except DamagedAsset as damage:
            return self._read_healed(rows, damage, verify=verify)
        except AssetsMissing as absence:
            raise self._store.known_damage(rows) or absence from None

    def _read_healed(self, rows: IdMatrix, damage: DamagedAsset, *, verify: Verify) -> list[bytes]:
        """The assets after a good copy of the damaged one was fetched. Raises `damage` if none can be had."""
        healed: set[str] = set()
        while self._lazy is not None and damage.asset_id not in healed:
            healed.add(damage.asset_id)
            self._whole.clear()
            try:
                self._lazy.ensure(rows)
                return self._store.reader(rows, verify=verify).read_batch(range(len(rows)))
            except DamagedAsset as other:
                damage = other
            except AssetsMissing:
                break
        raise damage

    def prepare(self) -> None:
        """Let other processes find what they need to know of the remote. Raises AssetsMissing if it does not answer."""
        if self._lazy is not None and (missing := self._store.missing(self._ids)).any():
            self._lazy.prepare(self._ids[missing])

    def ahead(self, order: Rows) -> Ahead | None:
        """Who fetches ahead of somebody that reads in this order; None if nothing is ever fetched."""
        self._reads_until_look = 0
        return self._lazy.ahead(self._ids, order, self._sizes) if self._lazy is not None else None

    def _look(self, verify: Verify) -> Reader | None:
        """A reader of all, if all are here. To find out is not free, so it is done once in a while."""
        if self._reads_until_look > 0:
            self._reads_until_look -= 1
            return None
        try:
            reader = self._store.reader(self._ids, verify=verify, only_good=self._lazy is not None)
            return self._whole.setdefault(verify, reader)
        except AssetsMissing:
            self._reads_until_look = _LOOK_AGAIN_AFTER_READS
            return None

    def _bring(self, number: int, lazy: Lazy) -> None:
        """Fetch an asset and what follows it: the one before it was missing too, so somebody reads them all."""
        self._run_rows = min(2 * self._run_rows, _MOST_AHEAD_ROWS)
        sizes = self._sizes()[number : number + self._run_rows]
        count = max(1, int(np.searchsorted(np.cumsum(sizes), _MOST_AHEAD_BYTES, side="right")))
        self._run_end = number + count
        lazy.ensure(self._ids[number : number + count])
