"""What torch.utils.data promises of DataLoader: who is asked for what, in which process, in which order it comes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WorkerInfo:
    id: int
    num_workers: int


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    return _info


class IterableDataset:
    pass


def default_collate(samples: list[Any]) -> list[Any]:
    return [list(values) for values in zip(*samples, strict=True)]


class DataLoader:
    """Workers get lists of indices some batches ahead, or iterate by themselves; their batches are taken in turn."""

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int | None = 1,
        batch_sampler: Any = None,
        collate_fn: Callable[[Any], Any],
        num_workers: int = 0,
        prefetch_factor: int = 2,
        multiprocessing_context: str = "fork",
    ) -> None:
        self.dataset = dataset
        self.sampler = batch_sampler
        self.collate = collate_fn
        self.workers = num_workers
        self.ahead = prefetch_factor
        self.context: Any = multiprocessing.get_context(multiprocessing_context)

    def __iter__(self) -> Iterator[Any]:
        if self.workers:
            yield from self._by_workers()
        elif isinstance(self.dataset, IterableDataset):
            yield from map(self.collate, self.dataset)  # type: ignore[call-overload]
        else:
            for indices in self.sampler:
                yield self.collate(self.dataset.__getitems__(indices))

    def _by_workers(self) -> Iterator[Any]:
        is_iterable = isinstance(self.dataset, IterableDataset)
        asked = [self.context.Queue() for _ in range(self.workers)]
        answers = [self.context.Queue() for _ in range(self.workers)]
        processes = [
            self.context.Process(
                target=_serve,
                args=(self.dataset, self.collate, number, self.workers, asked[number], answers[number]),
                daemon=True,
            )
            for number in range(self.workers)
        ]
        for process in processes:
            process.start()
        try:
            wanted = _forever() if is_iterable else iter(self.sampler)
            sent = received = 0
            over = [False] * self.workers
            while True:
                while sent - received < self.ahead * self.workers and (indices := next(wanted, _END)) is not _END:
                    asked[sent % self.workers].put(indices)
                    sent += 1
                if sent == received:
                    return
                kind, batch = answers[received % self.workers].get(timeout=60)
                over[received % self.workers] |= kind == "over"
                received += 1
                if kind == "error":
                    raise batch
                if kind == "batch":
                    yield batch
                elif all(over):
                    return
        finally:
            for process in processes:
                process.terminate()
                process.join()


_END = object()


def _forever() -> Iterator[None]:
    while True:
        yield None


def _serve(dataset: Any, collate: Any, number: int, count: int, asked: Any, answers: Any) -> None:
    global _info
    _info = WorkerInfo(number, count)
    batches = iter(dataset) if isinstance(dataset, IterableDataset) else None  # type: ignore[call-overload]
    while True:
        indices = asked.get()
        try:
            if batches is None:
                answers.put(("batch", collate(dataset.__getitems__(indices))))
            elif (batch := next(batches, None)) is None:
                answers.put(("over", None))
            else:
                answers.put(("batch", collate(batch)))
        except Exception as error:  # noqa: BLE001  # as DataLoader: whatever it is goes to the parent
            answers.put(("error", error))
