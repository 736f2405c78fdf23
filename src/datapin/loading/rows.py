"""How a worker of a data loader reads rows: by batches that it is told, or by itself, fetching ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base.id_columns import arrow_numbers
from datapin.dataset import Dataset
from datapin.loading.batches import Batches, rows_at
from datapin.store.reader import Verify

MakeSample = Callable[[bytes, dict[str, Any]], Any]


class NumberedRows:
    """Rows by number: a map-style dataset. Travels to workers by pickle, which open the same rows for themselves."""

    def __init__(
        self, dataset: Dataset, columns: Sequence[str], make: MakeSample | None = None, verify: Verify = "first"
    ) -> None:
        self.dataset = dataset
        self._names = tuple(columns)
        self._make = make
        self.verify = verify
        self._held: dict[str, pa.Array] = {}
        for name in self._names:
            self._column(name)  # raises now what a worker would raise later

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": {}}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: int | tuple[int, int]) -> Any:
        """One row, or (row, epoch)."""
        return self.__getitems__([(item, 0) if isinstance(item, int) else item])[0]

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> list[Any]:
        """A whole batch of (row, epoch): read at once. Its samples, in order."""
        rows = np.array([row for row, _ in items], dtype=np.int64)
        return self.samples(rows, items[0][1] if items else 0)

    def samples(self, rows: npt.NDArray[np.int64], epoch: int, contents: Sequence[bytes] | None = None) -> list[Any]:
        """The samples of these rows: what `make` gives for (bytes, columns), or tuples (bytes, column, …)."""
        data = contents if contents is not None else self.dataset.read_many(rows, verify=self.verify, epoch=epoch)
        places = arrow_numbers(rows)
        columns = [self._column(name).take(places).to_pylist() for name in self._names]
        if self._make is None:
            return list(zip(data, *columns, strict=True))
        named = (dict(zip(self._names, values, strict=True)) for values in zip(*columns, strict=True))
        if not columns:
            named = ({} for _ in data)
        return [self._make(one, row) for one, row in zip(data, named, strict=True)]

    def _column(self, name: str) -> pa.Array:
        found = self._held.get(name)
        if found is None:
            found = self._held[name] = self.dataset.column(name)
        return found


class RowsInOrder:
    """The rest of an epoch, batch by batch: an iterable dataset for rows that are not all here.

    Worker k of n takes the batches k, k + n, …, and fetches ahead in that order. A loader that asks its workers in turn
    gives the batches in the order that `NumberedRows` and `Batches` give them.
    """

    def __init__(self, rows: NumberedRows, batches: Batches) -> None:
        self._rows = rows
        self._epoch = batches.epoch
        self._order = batches.order()
        self._spans = list(batches.spans())

    def __len__(self) -> int:
        return len(self._spans)

    def batches(self, worker: int = 0, workers: int = 1) -> Iterator[list[Any]]:
        """The batches of one worker, as lists of samples."""
        mine = [rows_at(self._order, start, count) for start, count in self._spans[worker::workers]]
        if not mine:
            return
        reads = self._rows.dataset.in_order(np.concatenate(mine))
        try:
            for rows in mine:
                yield self._rows.samples(
                    rows, self._epoch, reads.next(len(rows), epoch=self._epoch, verify=self._rows.verify)
                )
        finally:
            reads.close()
