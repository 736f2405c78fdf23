"""The reading API: rows are there at once, bytes when they are asked for, verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base.errors import Usage
from datapin.base.id_columns import IdMatrix, ids_from_hex
from datapin.manifest.manifest import Manifest
from datapin.manifest.query import select_rows
from datapin.pipeline.recipe import RECIPE, apply_recipe
from datapin.store.store import Reader, Store
from datapin.verbs.selector import select
from datapin.verbs.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


class Sample:
    """One row of a dataset and the way to its bytes."""

    __slots__ = ("_dataset", "index")

    def __init__(self, dataset: Dataset, index: int) -> None:
        self._dataset = dataset
        self.index = index

    @property
    def key(self) -> str:
        """The row's name in its dataset."""
        key: str = self._dataset.table["key"][self.index].as_py()
        return key

    @property
    def row(self) -> dict[str, Any]:
        """All columns of the row as Python values."""
        return {name: self._dataset.table[name][self.index].as_py() for name in self._dataset.table.column_names}

    def read(self, *, verify: bool = True) -> bytes:
        """The asset's bytes. Raises AssetsMissing or DamagedAsset."""
        return self._dataset.read(self.index, verify=verify)


@dataclass(frozen=True, slots=True)
class Batch(Sequence[Sample]):
    """Some rows in reading order: `table` holds them, `read()` their bytes."""

    dataset: Dataset
    indices: npt.NDArray[np.int64]
    epoch: int

    @property
    def table(self) -> pa.Table:
        """The rows of the batch, in its order."""
        return self.dataset.table.take(pa.array(self.indices))

    def read(self, *, verify: bool = True) -> list[bytes]:
        """The bytes of each row; with an online recipe, train rows are augmented with copy = epoch."""
        found = [self.dataset.read(int(index), verify=verify) for index in self.indices]
        recipe = self.dataset.recipe
        if recipe is None:
            return found
        ids = self.table["asset_id"].to_pylist()
        splits = self.table["split"].to_pylist() if "split" in self.dataset.schema.names else [None] * len(ids)
        return [
            apply_recipe(recipe, data, asset_id, self.epoch) if split == "train" else data
            for data, asset_id, split in zip(found, ids, splits, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, position: int) -> Sample: ...
    @overload
    def __getitem__(self, position: slice) -> list[Sample]: ...
    def __getitem__(self, position: int | slice) -> Sample | list[Sample]:
        if isinstance(position, slice):
            return [Sample(self.dataset, int(index)) for index in self.indices[position]]
        return Sample(self.dataset, int(self.indices[position]))


class Dataset(Sequence[Sample]):
    """The rows of one dataset version, or those of them that match; in key order."""

    def __init__(self, name: str, manifest: Manifest, store: Store, rows: pa.Array | None) -> None:
        self.name = name
        self.manifest = manifest
        self._store = store
        self._rows = rows
        self._readers: dict[bool, Reader] = {}

    @property
    def digest(self) -> str:
        """The digest of the whole version, whatever `where` selects."""
        return self.manifest.digest

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        return self.manifest.schema

    @cached_property
    def table(self) -> pa.Table:
        """The rows, in memory after the first use."""
        table = self.manifest.to_table()
        return (table if self._rows is None else table.take(self._rows)).combine_chunks()

    @cached_property
    def ids(self) -> IdMatrix:
        """The rows' asset ids, `uint8 [n, 32]`."""
        table = self.manifest.to_table(columns=["asset_id"])
        return ids_from_hex((table if self._rows is None else table.take(self._rows))["asset_id"])

    @property
    def recipe(self) -> str | None:
        """How to augment while reading, if the dataset was made with `mode: online`."""
        return self.manifest.properties.get(RECIPE)

    def read(self, index: int, *, verify: bool = True) -> bytes:
        """The bytes of row `index`. Raises AssetsMissing or DamagedAsset."""
        reader = self._readers.get(verify) or self._readers.setdefault(
            verify, self._store.reader(self.ids, verify=verify)
        )
        return reader.read(index)

    def __len__(self) -> int:
        return self.manifest.rows if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, position: int) -> Sample: ...
    @overload
    def __getitem__(self, position: slice) -> list[Sample]: ...
    def __getitem__(self, position: int | slice) -> Sample | list[Sample]:
        if isinstance(position, slice):
            return [Sample(self, index) for index in range(len(self))[position]]
        return Sample(self, range(len(self))[position])

    def __iter__(self) -> Iterator[Sample]:
        return (Sample(self, index) for index in range(len(self)))

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, rows={len(self)}, digest={self.digest[:15]!r})"

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table; no bytes are read."""
        return self.table

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a pandas frame; no bytes are read."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def batches(self, batch_size: int, *, shuffle: int | None = None, epoch: int = 0) -> Iterator[Batch]:
        """The rows in batches, the last one may be short.

        With `shuffle` (a seed) the order is a function of (digest, seed, epoch) and nothing else; without, it is key
        order.
        """
        if batch_size < 1:
            raise Usage(f"batch size {batch_size} is less than 1")
        order = (
            np.arange(len(self), dtype=np.int64) if shuffle is None else _order(self.digest, shuffle, epoch, len(self))
        )
        for start in range(0, len(order), batch_size):
            yield Batch(self, order[start : start + batch_size], epoch)


def open_dataset(workspace: Workspace, name: str, *, version: str | None, where: str | None) -> Dataset:
    """The dataset for reading. Raises UnknownDataset, UnknownVersion, ManifestMissing or BadQuery."""
    selected = select(workspace, name if version is None else f"{name}@{version}")
    rows = select_rows(selected.manifest, where) if where is not None else None
    return Dataset(selected.name, selected.manifest, workspace.store, rows)


def _order(digest: str, seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    # Raw bit-generator output is stable across NumPy versions, Generator.permutation is not (NEP 19).
    key = int.from_bytes(hashlib.sha256(f"{digest}\0{seed}\0{epoch}".encode()).digest()[:16], "little")
    return np.argsort(np.random.Philox(key=key).random_raw(count), kind="stable")
