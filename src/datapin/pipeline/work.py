"""What worker processes compute: assets read from the store, an operator applied, results handed back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datapin.base.id_columns import ids_from_raw
from datapin.base.ids import RAW_ID_BYTES
from datapin.base.settings import StoreSettings
from datapin.pipeline.operators.operator import AssetBroken, AssetOperator, Derived, FeatureOperator, Vectors
from datapin.pipeline.operators.user_code import UserFunction
from datapin.store.store import Store


@dataclass(frozen=True, slots=True)
class StorePlace:
    """Where another process finds the store."""

    root: Path

    def open(self) -> Store:
        """The store, opened there for reading: how it packs does not matter."""
        return Store.open(self.root, StoreSettings())


@dataclass(frozen=True, slots=True, repr=False)
class Batch:
    """Some assets, and which copy of each is wanted."""

    raw_ids: bytes
    copies: tuple[int, ...]

    def __repr__(self) -> str:
        return f"{len(self.copies)} asset(s) from {self.raw_ids[:6].hex()} on"

    def read(self, store: Store) -> list[bytes]:
        """Their bytes. Raises AssetsMissing or DamagedAsset."""
        reader = store.reader(ids_from_raw(self.raw_ids))
        return [reader.read(number) for number in range(len(self.copies))]

    def hex_ids(self) -> list[str]:
        """Their ids as text."""
        text = self.raw_ids.hex()
        return [text[at : at + 2 * RAW_ID_BYTES] for at in range(0, len(text), 2 * RAW_ID_BYTES)]


@dataclass(frozen=True, slots=True)
class DeriveAssets:
    """Computation: Batch to one Derived, or one problem (text), per asset."""

    operator: AssetOperator
    place: StorePlace

    def begin(self) -> Callable[[Batch], list[Derived | str]]:
        """Open the store."""
        store, operator = self.place.open(), self.operator

        def derive(batch: Batch) -> list[Derived | str]:
            results: list[Derived | str] = []
            for data, asset_id, copy in zip(batch.read(store), batch.hex_ids(), batch.copies, strict=True):
                try:
                    results.append(operator.derive(data, asset_id, copy))
                except AssetBroken as error:
                    results.append(str(error))
            return results

        return derive


@dataclass(frozen=True, slots=True)
class ExtractFeatures:
    """Computation: Batch to Vectors."""

    operator: FeatureOperator
    place: StorePlace

    def begin(self) -> Callable[[Batch], Vectors]:
        """Open the store."""
        store, operator = self.place.open(), self.operator
        return lambda batch: operator.extract(batch.read(store))


@dataclass(frozen=True, slots=True)
class CheckInvariance:
    """Computation: Batch to whether a user's function may be called in batches: declared, and true of these assets."""

    function: UserFunction
    place: StorePlace

    def begin(self) -> Callable[[Batch], tuple[bool, bool]]:
        """Open the store."""
        store, function = self.place.open(), self.function

        def check(batch: Batch) -> tuple[bool, bool]:
            if not function.declares_batch_invariance():
                return False, False
            return True, function.is_batch_invariant(batch.read(store))

        return check
