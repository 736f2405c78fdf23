"""What worker processes compute: assets read from the store, an operator applied, results handed back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from datapin.base.errors import DamagedAsset
from datapin.base.id_columns import IdMatrix
from datapin.base.ids import AssetId
from datapin.base.settings import StoreSettings
from datapin.pipeline.operators.operator import (
    AssetBroken,
    AssetOperator,
    Derived,
    FeatureOperator,
    PartnerOperator,
    Vectors,
)
from datapin.pipeline.operators.user_code import UserFunction
from datapin.store.index import IN_LOOSE_FILE
from datapin.store.reader import PackFiles, Reader
from datapin.store.store import Locations, Store


@dataclass(frozen=True, slots=True, repr=False)
class AssetBatch:
    """Some assets, where they lie, and which copy of each is wanted."""

    ids: IdMatrix
    copies: tuple[int, ...]
    locations: Locations
    partners: AssetBatch | None = None  # the asset that enters each copy beside its own

    def __repr__(self) -> str:
        return f"{len(self.copies)} asset(s) from {self.ids[0].tobytes().hex()[:12]} on"

    def hex_ids(self) -> list[str]:
        """Their ids as text."""
        return [row.tobytes().hex() for row in self.ids]


class AssetSource:
    """Reads assets that another process located: no index is opened here, unless a copy is damaged or gone."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = PackFiles(str(root))

    def read(self, batch: AssetBatch) -> list[bytes]:
        """The batch's assets, hashed. Raises AssetsMissing or DamagedAsset."""
        return list(self.each(batch))

    def each(self, batch: AssetBatch) -> Iterator[bytes]:
        """The same, one at a time."""
        reader = Reader(str(self._root), batch.ids, batch.locations, self._files, self._read_elsewhere, verify=True)
        return (reader.read(number) for number in range(len(reader)))

    def _read_elsewhere(self, raw_id: bytes, damage: DamagedAsset | None) -> bytes:
        return Store.open(self._root, StoreSettings()).read(AssetId(raw_id.hex()))


def located(store: Store, ids: IdMatrix, copies: Sequence[int], partners: IdMatrix | None = None) -> AssetBatch:
    """A batch of assets that are all in the store; of the store's packs it names only those it needs."""
    beside = None if partners is None else located(store, partners, copies)
    found = store.locate(ids)
    packs, number = np.unique(found.pack, return_inverse=True)
    loose = int(len(packs) > 0 and packs[0] == IN_LOOSE_FILE)
    pack = (number - loose).astype(np.int32).reshape(-1)  # so that a loose asset is -1 again
    locations = replace(found, pack=pack, packs=tuple(found.packs[n] for n in packs[loose:]))
    return AssetBatch(ids, tuple(copies), locations, beside)


def derived_of(operator: AssetOperator, source: AssetSource, batch: AssetBatch) -> Iterator[Derived | str]:
    """What the operator makes of each asset of the batch, or why it cannot. Raises AssetsMissing or DamagedAsset."""
    named = zip(source.each(batch), batch.hex_ids(), batch.copies, strict=True)
    beside = batch.partners
    pairs = repeat((None, "")) if beside is None else zip(source.each(beside), beside.hex_ids(), strict=True)
    for (data, asset_id, copy), (partner, partner_id) in zip(named, pairs, strict=False):
        try:
            if partner is None:
                yield operator.derive(data, asset_id, copy)
            else:
                assert isinstance(operator, PartnerOperator)
                yield operator.derive_pair(data, partner, asset_id, partner_id, copy)
        except AssetBroken as error:
            yield str(error)


@dataclass(frozen=True, slots=True)
class DeriveAssets:
    """Computation: AssetBatch to one Derived, or one problem (text), per asset."""

    operator: AssetOperator
    store_root: Path

    def begin(self) -> Callable[[AssetBatch], list[Derived | str]]:
        """Nothing is opened before the first batch."""
        source, operator = AssetSource(self.store_root), self.operator
        return lambda batch: list(derived_of(operator, source, batch))


@dataclass(frozen=True, slots=True)
class ExtractFeatures:
    """Computation: AssetBatch to Vectors."""

    operator: FeatureOperator
    store_root: Path

    def begin(self) -> Callable[[AssetBatch], Vectors]:
        """Nothing is opened before the first batch."""
        source, operator = AssetSource(self.store_root), self.operator
        return lambda batch: operator.extract(source.read(batch))


@dataclass(frozen=True, slots=True)
class CheckInvariance:
    """Computation: AssetBatch to whether a user's function gives these assets the same bits in batches of any size."""

    function: UserFunction
    store_root: Path

    def begin(self) -> Callable[[AssetBatch], bool]:
        """Nothing is opened before the first batch."""
        source, function = AssetSource(self.store_root), self.function
        return lambda batch: function.is_batch_invariant(source.read(batch))
