"""Rows as a PyTorch DataLoader: in an order that no number of workers or ranks changes, to go on with after any batch.

Needs PyTorch ≥ 2.0, which is imported here and nowhere else; datapin does not install it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from datapin.base.errors import Usage
from datapin.dataset import Dataset
from datapin.loading.batches import Batches, Even, Share
from datapin.loading.rows import MakeSample, NumberedRows, RowsInOrder
from datapin.store.reader import Verify

try:
    import torch.utils.data as torch_data
except ImportError:
    raise Usage("datapin.torch needs PyTorch, which is not installed", "pip install torch") from None

__all__ = ["Loader", "loader"]


class Loader:
    """Batches of one epoch after the other, as `torch.utils.data.DataLoader` gives them.

    The first loop over it begins where `epoch` or `load_state_dict` say, each later one at the start of the next epoch.
    """

    def __init__(
        self, batches: Batches, rows: NumberedRows, collate: Callable[[list[Any]], Any], **options: Any
    ) -> None:
        self._batches = batches
        self._rows = rows
        self._collate = collate
        self._options = options
        self._has_begun = False
        self._by_number: Any = None

    @property
    def epoch(self) -> int:
        """The epoch that is read, or would be."""
        return self._batches.epoch

    def __len__(self) -> int:
        """Batches that are left in this epoch, for each rank."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        if self._has_begun:
            self._batches.go_to(self._batches.epoch + 1)
        self._has_begun = True
        for batch in self._loader():
            self._batches.advance()  # here, where it is consumed: the sampler runs ahead
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Let the next loop begin at the start of this epoch."""
        self._batches.go_to(epoch)
        self._has_begun = False

    def state_dict(self) -> dict[str, Any]:
        """What is done, the last batch that was handed out included: for a checkpoint; the same on every rank."""
        return self._batches.state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after what `state` says is done, also with other ranks, workers and batch sizes. Raises Refused."""
        self._batches.restore(state)
        self._has_begun = False

    def _loader(self) -> Any:
        if self._rows.dataset.is_here:
            if self._by_number is None:
                self._by_number = torch_data.DataLoader(
                    self._rows, batch_sampler=self._batches, collate_fn=self._collate, **self._options
                )
            return self._by_number
        self._rows.dataset.reads.prepare()
        options = {name: value for name, value in self._options.items() if name != "persistent_workers"}
        rows = _Iterable(RowsInOrder(self._rows, self._batches))
        return torch_data.DataLoader(rows, batch_size=None, collate_fn=self._collate, **options)


class _Iterable(torch_data.IterableDataset):  # type: ignore[misc]  # PyTorch is not there when types are checked
    def __init__(self, rows: RowsInOrder) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[list[Any]]:
        info = torch_data.get_worker_info()
        return self._rows.batches() if info is None else self._rows.batches(info.id, info.num_workers)


def loader(
    dataset: Dataset,
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    rank: int = 0,
    world: int = 1,
    even: Even = "drop",
    shuffle: bool = True,
    drop_last: bool = False,
    columns: Sequence[str] = ("label",),
    sample: MakeSample | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
    verify: Verify = "first",
    **options: Any,
) -> Loader:
    """Batches of the dataset for a training loop.

    `sample(data, row)` makes one sample of an asset's bytes and the values of `columns`; without it a sample is the
    tuple (bytes, value, …). `collate` joins the samples of a batch: PyTorch's default where `sample` is given, else
    lists. With an online recipe, train rows are augmented with copy = epoch. `options` (`num_workers`, `pin_memory`,
    `persistent_workers`, `prefetch_factor`, `multiprocessing_context`, `worker_init_fn`, …) go to DataLoader.
    Raises Usage for impossible arguments.
    """
    taken = {"dataset", "batch_sampler", "sampler", "collate_fn", "generator"} & options.keys()
    if taken:
        raise Usage(f"{', '.join(sorted(taken))}: the loader decides that", "see the arguments of datapin.torch.loader")
    batches = Batches(
        dataset,
        batch_size,
        seed=seed,
        epoch=epoch,
        share=Share(rank, world, even),
        shuffle=shuffle,
        drop_last=drop_last,
    )
    joined = collate or (torch_data.default_collate if sample is not None else _as_lists)
    return Loader(batches, NumberedRows(dataset, columns, sample, verify), joined, **options)


def _as_lists(samples: list[Any]) -> list[list[Any]]:
    return [list(values) for values in zip(*samples, strict=True)]
