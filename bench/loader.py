"""Random batches through PyTorch's DataLoader with two workers; run by a Python that has torch, in a repository.

    loader.py [EPOCHS]         prints {"reader: step": [value, unit]} as JSON

Every reader is a map-style dataset with the same sampler, order and collate function, so only the reading differs:
`floor` reads nothing, `files` opens and reads the plain files, `lmdb` (if it is installed) is the fastest other store.
Workers stay; readers take turns, epoch by epoch. The first epoch of each, which starts its workers, is not counted,
but for the time until its first batch.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch.utils.data as torch_data

import datapin
from datapin.dataset import Dataset
from datapin.torch import loader

DATASET = "data/raw"
SOURCE = "img"
BATCH = 64
WORKERS = 2
SIZE = 10 << 10

ReadRows = Callable[[Sequence[int]], list[bytes]]


class Rows(torch_data.Dataset):  # type: ignore[misc,type-arg]  # PyTorch is not there when types are checked
    """What somebody writes who has a function that reads many rows."""

    def __init__(self, open_reader: Callable[[], ReadRows]) -> None:
        self._open = open_reader
        self._read: ReadRows | None = None

    def __getitems__(self, rows: Sequence[int]) -> list[bytes]:
        self._read = self._read or self._open()
        return self._read(rows)


class Order:
    """The batches of the next epoch, each time that it is asked."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._epoch = 0

    def __iter__(self) -> Iterator[list[int]]:
        order = self._dataset.order(1, self._epoch)
        self._epoch += 1
        for start in range(0, len(order), BATCH):
            yield order[start : start + BATCH].tolist()


def floor() -> ReadRows:
    """New bytes of the right size, from nowhere."""
    zeros = bytes(SIZE + 1)
    return lambda rows: [zeros[row % 2 : row % 2 + SIZE] for row in rows]


def files(paths: Sequence[str]) -> ReadRows:
    """Open and read, the usual way."""

    def read(rows: Sequence[int]) -> list[bytes]:
        found = []
        for row in rows:
            with open(paths[row], "rb") as file:
                found.append(file.read())
        return found

    return read


def lmdb(path: str) -> ReadRows:
    """One transaction a batch, opened in the worker."""
    import lmdb

    environment = lmdb.open(path, readonly=True, lock=False, readahead=False, subdir=False)

    def read(rows: Sequence[int]) -> list[bytes]:
        with environment.begin() as transaction:
            return [transaction.get(b"%d" % row) for row in rows]

    return read


def write_lmdb(path: str, paths: Sequence[str]) -> bool:
    """The same files in LMDB; False if it is not installed."""
    try:
        import lmdb
    except ImportError:
        return False
    with lmdb.open(path, map_size=4 * SIZE * len(paths) + (16 << 20), subdir=False) as environment:
        for start in range(0, len(paths), 1000):
            with environment.begin(write=True) as transaction:
                for row in range(start, min(start + 1000, len(paths))):
                    transaction.put(b"%d" % row, Path(paths[row]).read_bytes())
    return True


def epoch(batches: Iterable[Any], count: int) -> tuple[float, float]:
    """Seconds until the first batch, and for all."""
    began = time.perf_counter()
    first, seen = 0.0, 0
    for batch in batches:
        first = first or time.perf_counter() - began
        seen += len(batch[0] if isinstance(batch, tuple) else batch)
    if seen != count:
        raise SystemExit(f"read {seen} rows, expected {count}")
    return first, time.perf_counter() - began


def _whole(samples: list[tuple[bytes]]) -> tuple[list[bytes]]:
    return ([data for (data,) in samples],)


def _list(samples: list[bytes]) -> list[bytes]:
    return samples


def main(epochs: int) -> int:
    """Measure and print."""
    dataset = datapin.open(DATASET)
    paths = [f"{SOURCE}/{key}" for key in dataset.column("key").to_pylist()]
    options: dict[str, Any] = {"num_workers": WORKERS, "persistent_workers": True, "multiprocessing_context": "fork"}

    def plain(open_reader: Callable[[], ReadRows]) -> Iterable[Any]:
        return torch_data.DataLoader(Rows(open_reader), batch_sampler=Order(dataset), collate_fn=_list, **options)

    with tempfile.TemporaryDirectory() as folder:
        database = f"{folder}/lmdb"
        modes = {"unverified": False, "verify=first": "first", "verified": True}
        # A dataset of its own for each, as a training has: what one reader opened does not help the next.
        readers: dict[str, Iterable[Any]] = {
            f"datapin: {name}": loader(
                datapin.open(DATASET), BATCH, seed=1, columns=(), collate=_whole, verify=mode, **options
            )
            for name, mode in modes.items()
        }
        readers["files: epoch"] = plain(lambda: files(paths))
        readers["floor: epoch"] = plain(floor)
        if write_lmdb(database, paths):
            readers["lmdb: epoch"] = plain(lambda: lmdb(database))
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
        for _ in range(epochs + 1):
            for name, batches in readers.items():
                times[name].append(epoch(batches, len(paths)))
    answer: dict[str, tuple[float, str]] = {}
    for name, (cold, *warm) in times.items():
        answer[name] = (len(paths) / statistics.median(took for _, took in warm), "per s")
        answer[f"{name}, first batch"] = (cold[0], "s")
    json.dump(answer, sys.stdout)
    print()
    return 0


if __name__ == "__main__":
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
