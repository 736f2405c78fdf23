"""The reading API: rows are there at once, bytes when they are asked for, verified."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base.errors import Refused, Usage
from datapin.base.id_columns import IdMatrix, arrow_numbers, ids_from_hex
from datapin.base.id_columns import numbers as numbers_of
from datapin.base.progress import SILENT
from datapin.manifest.columns.columns import one_array
from datapin.manifest.columns.values import python_rows
from datapin.manifest.manifest import Manifest
from datapin.manifest.query import select_rows
from datapin.pipeline.operators.recipe import RECIPE, TRAIN, apply_recipe
from datapin.pipeline.splits.classes import classes_of
from datapin.store.reader import Verify
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.lazy import Ahead, Lazy
from datapin.transfer.lazy_reader import LazyReader
from datapin.verbs.workspace.place import remote_place
from datapin.verbs.workspace.selector import select
from datapin.verbs.workspace.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

Fetch = Literal["auto", "never"]


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
        return python_rows(self._dataset.table.slice(self.index, 1))[0]

    def read(self, *, verify: Verify = True) -> bytes:
        """The asset's bytes, fetched if they are not here. Raises AssetsMissing or DamagedAsset."""
        return self._dataset.read(self.index, verify=verify)


@dataclass(frozen=True, slots=True)
class Source:
    """How a dataset was opened: what another process needs to open it too."""

    root: str  # of the repository
    name: str  # with its version, if that was named
    where: str | None
    fetch: Fetch
    jobs: int
    rows: npt.NDArray[np.int64] | None = field(default=None, compare=False)  # of the version, where they were chosen


@dataclass(frozen=True, slots=True)
class Batch(Sequence[Sample]):
    """Some rows in reading order: `table` holds them, `read()` their bytes."""

    dataset: Dataset
    indices: npt.NDArray[np.int64]
    epoch: int
    ahead: Ahead | None = field(default=None, repr=False, compare=False)
    """Who fetches the assets before they are read."""
    end: int = field(default=0, repr=False, compare=False)
    """How far `ahead` must have come for this batch."""

    @property
    def table(self) -> pa.Table:
        """The rows of the batch, in its order."""
        return self.dataset.table.take(arrow_numbers(self.indices))

    def read(self, *, verify: Verify = True) -> list[bytes]:
        """The bytes of each row; with an online recipe, train rows are augmented with copy = epoch.

        What is not here is fetched, and what the next batches need along with it. Raises AssetsMissing or DamagedAsset.
        """
        found = self.dataset.reads.read_many(self.indices, verify=verify, ahead=self.ahead, end=self.end)
        return self.dataset.as_in_epoch(self.indices, found, self.epoch)

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

    def __init__(
        self, manifest: Manifest, store: Store, rows: pa.Array | None, source: Source, lazy: Lazy | None
    ) -> None:
        self.name = source.name
        self.manifest = manifest
        self._store = store
        self._rows = rows
        self.source = source
        """How it was opened."""
        self._lazy = lazy
        self._is_here = False

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
    def classes(self) -> tuple[str, ...] | None:
        """The classes in index order, as prepare pinned them; None if nobody did."""
        found = classes_of(self.manifest)
        return None if found is None else tuple(found)

    def only(self, places: npt.NDArray[np.int64]) -> Dataset:
        """Some of these rows, by their places, in order."""
        chosen = places if self._rows is None else numbers_of(one_array(self._rows))[places]
        return Dataset(self.manifest, self._store, arrow_numbers(chosen), replace(self.source, rows=chosen), self._lazy)

    @property
    def recipe(self) -> str | None:
        """How to augment while reading, if the dataset was made with `mode: online`."""
        return self.manifest.properties.get(RECIPE)

    @cached_property
    def reads(self) -> LazyReader:
        """The way to the bytes, by row."""
        return LazyReader(self._store, self.ids, self._sizes, self._lazy)

    def read(self, index: int, *, verify: Verify = True) -> bytes:
        """The bytes of row `index`, fetched if they are not here; `verify` as in `read_many`.

        Raises AssetsMissing or DamagedAsset.
        """
        return self.reads.read(index, verify=verify)

    def read_many(
        self, rows: Sequence[int] | npt.NDArray[np.int64], *, verify: Verify = True, epoch: int | None = None
    ) -> list[bytes]:
        """The bytes of these rows, in their order; all that are not here are fetched at once.

        `verify="first"` hashes an asset when this process first reads it, and again only if its file changed. With an
        `epoch` and an online recipe, train rows are augmented with copy = epoch. Raises IndexError, AssetsMissing or
        DamagedAsset.
        """
        numbers = np.asarray(rows, dtype=np.int64).reshape(-1)
        count = len(self)
        if len(numbers) and not (-count <= int(numbers.min()) and int(numbers.max()) < count):
            raise IndexError(f"{self.name} has {count} rows, asked for row {_outside(numbers, count)}")
        numbers = np.where(numbers < 0, numbers + count, numbers)
        found = self.reads.read_many(numbers, verify=verify)
        return found if epoch is None else self.as_in_epoch(numbers, found, epoch)

    def in_order(self, order: npt.NDArray[np.int64]) -> InOrder:
        """Reads these rows one batch after the other, and fetches ahead what is not here."""
        return InOrder(self, order)

    def as_in_epoch(self, rows: npt.NDArray[np.int64], contents: list[bytes], epoch: int) -> list[bytes]:
        """The contents of these rows as a training sees them: with an online recipe, train rows as copy = epoch."""
        if self.recipe is None or "split" not in self.schema.names:
            return contents
        places = arrow_numbers(rows)
        ids, splits = (self._columns[name].take(places).to_pylist() for name in ("asset_id", "split"))
        return [
            apply_recipe(self.recipe, data, asset_id, epoch) if split == TRAIN else data
            for data, asset_id, split in zip(contents, ids, splits, strict=True)
        ]

    @cached_property
    def _columns(self) -> dict[str, pa.Array]:
        return {name: self.column(name) for name in ("asset_id", "split")}

    @property
    def chosen_rows(self) -> npt.NDArray[np.int64] | None:
        """Which rows of the version these are, int64 [n]; None for all."""
        return None if self._rows is None else numbers_of(one_array(self._rows))

    @property
    def is_here(self) -> bool:
        """Whether every asset is in the local store."""
        self._is_here = self._is_here or not self._store.missing(self.ids).any()
        return self._is_here

    def column(self, name: str) -> pa.Array:
        """One column of the rows; no other is read. Raises Usage if there is none of this name."""
        if name not in self.schema.names:
            raise Usage(f"{self.name} has no column {name!r}", f"columns: {', '.join(self.schema.names)}")
        table = self.manifest.to_table(columns=[name])
        return one_array((table if self._rows is None else table.take(self._rows))[name])

    def order(self, seed: int, epoch: int = 0) -> npt.NDArray[np.int64]:
        """A shuffled order of the rows, int64 [n]: a function of (digest, seed, epoch), n and nothing else."""
        return _order(self.digest, seed, epoch, len(self))

    def __reduce__(self) -> tuple[Callable[[Source, str], Dataset], tuple[Source, str]]:
        # How to open it, and no open files: a data loader's process opens the same rows for itself.
        return _open_again, (self.source, self.digest)

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
        order = np.arange(len(self), dtype=np.int64) if shuffle is None else self.order(shuffle, epoch)
        ahead = self.reads.ahead(order)
        try:
            for start in range(0, len(order), batch_size):
                indices = order[start : start + batch_size]
                yield Batch(self, indices, epoch, ahead, start + len(indices))
        finally:
            if ahead is not None:
                ahead.close()

    def _sizes(self) -> npt.NDArray[np.int64]:
        table = self.manifest.to_table(columns=["size"])
        return numbers_of(one_array((table if self._rows is None else table.take(self._rows))["size"]))


class InOrder:
    """Reads rows in an order that is known from the start."""

    def __init__(self, dataset: Dataset, order: npt.NDArray[np.int64]) -> None:
        self._dataset = dataset
        self._order = order
        self._ahead = dataset.reads.ahead(order)
        self._at = 0

    def next(self, count: int, *, epoch: int, verify: Verify = True) -> list[bytes]:
        """The contents of the next `count` rows, as in this epoch. Raises AssetsMissing or DamagedAsset."""
        rows = self._order[self._at : self._at + count]
        self._at += len(rows)
        found = self._dataset.reads.read_many(rows, verify=verify, ahead=self._ahead, end=self._at)
        return self._dataset.as_in_epoch(rows, found, epoch)

    def close(self) -> None:
        """Stop fetching."""
        if self._ahead is not None:
            self._ahead.close()


def open_dataset(
    workspace: Workspace, dataset: str, *, version: str | None, where: str | None, fetch: Fetch = "auto"
) -> Dataset:
    """The dataset for reading; with `fetch="never"` nothing is brought from the remote, neither rows nor bytes.

    Raises UnknownDataset, UnknownVersion, ManifestMissing, BadQuery, or Usage for another `fetch`.
    """
    if fetch not in ("auto", "never"):
        raise Usage(f"fetch={fetch!r} is unknown", 'use fetch="auto" or fetch="never"')
    text = dataset if version is None else f"{dataset}@{version}"
    selected = select(workspace, text, fetch=fetch == "auto")
    rows = select_rows(selected.manifest, where) if where is not None else None
    source = Source(str(workspace.root), selected.name, where, fetch, workspace.jobs)
    lazy = Lazy(workspace.store, partial(_store_of_remote, workspace), jobs=workspace.jobs) if fetch == "auto" else None
    return Dataset(selected.manifest, workspace.store, rows, source, lazy)


def _store_of_remote(workspace: Workspace) -> RemoteStore:
    return remote_place(workspace).store


def _open_again(source: Source, digest: str) -> Dataset:
    """The same dataset in another process. Raises Refused if its rows have changed meanwhile."""
    workspace = Workspace.find(Path(source.root), progress=SILENT, jobs=source.jobs)
    name, _, version = source.name.partition("@")
    where = source.where if source.rows is None else None
    found = open_dataset(workspace, name, version=version or None, where=where, fetch=source.fetch)
    if found.digest != digest:
        raise Refused(f"{source.name} has other rows than the process that sent it saw", "open a version of it")
    return found if source.rows is None else found.only(source.rows)


def _outside(numbers: npt.NDArray[np.int64], count: int) -> int:
    return int(numbers[(numbers < -count) | (numbers >= count)][0])


def _order(digest: str, seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    # Raw bit-generator output is stable across NumPy versions, Generator.permutation is not (NEP 19).
    key = int.from_bytes(hashlib.sha256(f"{digest}\0{seed}\0{epoch}".encode()).digest()[:16], "little")
    return np.argsort(np.random.Philox(key=key).random_raw(count), kind="stable")
