"""Which rows a training gets, step by step: a function of the dataset, seed and epoch, whoever reads and how many.

The rows of an epoch stand in one order, `Dataset.order`. A step takes the next `batch · world` of them; rank r gets
the r-th batch of these. So what is done is a number of rows, whatever the batch size, the ranks and the workers were,
and others can read the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from datapin.base.errors import Refused, Usage
from datapin.dataset import Dataset

Even = Literal["drop", "pad"]
Positions = npt.NDArray[np.int64]
_STATE = 1


@dataclass(frozen=True, slots=True)
class Share:
    """Whose batches: rank `rank` of `world`. `even`: what becomes of rows that do not make one for every rank."""

    rank: int = 0
    world: int = 1
    even: Even = "drop"

    def __post_init__(self) -> None:
        if self.world < 1 or not 0 <= self.rank < self.world:
            raise Usage(f"rank={self.rank} of world={self.world}", "ranks go from 0 to world - 1")
        if self.even not in ("drop", "pad"):
            raise Usage(f"even={self.even!r} is unknown", 'use even="drop" or even="pad"')


class Batches:
    """The batches that one rank gets, epoch after epoch, from where it is.

    Every rank gets as many batches as the others, each as large: of the rows that are left at the end of an epoch, and
    do not make a row for every rank, at most `world - 1` are left out (`even="drop"`) or come twice (`even="pad"`).
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        share: Share | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        if batch_size < 1:
            raise Usage(f"batch size {batch_size} is less than 1")
        if epoch < 0:
            raise Usage(f"epoch {epoch} is less than 0")
        self._dataset = dataset
        self._size = batch_size
        self._seed = seed
        self._share = share or Share()
        self._is_shuffled = shuffle
        self._drops_last = drop_last
        self.epoch = epoch
        self.done = 0
        """How many rows of the epoch's order are done, by all ranks together."""

    def __len__(self) -> int:
        """How many batches are left in the epoch: the same number for every rank."""
        return sum(1 for _ in self.spans())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """The rest of the epoch: for each batch its rows as (row, epoch), so that a worker knows which copy to make."""
        order = self.order()
        for start, count in self.spans():
            yield [(int(row), self.epoch) for row in rows_at(order, start, count)]

    def order(self) -> Positions:
        """The rows of the epoch, of all ranks, int64 [n]."""
        if not self._is_shuffled:
            return np.arange(len(self._dataset), dtype=np.int64)
        return self._dataset.order(self._seed, self.epoch)

    def spans(self) -> Iterator[tuple[int, int]]:
        """Where this rank's batches of the rest of the epoch lie in its order: (start, rows); a start may be beyond it.

        Rows beyond the order are those of its start again.
        """
        share, rows = self._share, len(self._dataset)
        step = self._size * share.world
        start = self.done
        while start + step <= rows:
            yield start + share.rank * self._size, self._size
            start += step
        left = rows - start
        count = left // share.world if share.even == "drop" else -(-left // share.world)
        if count and not self._drops_last:
            yield start + share.rank * count, count

    def advance(self) -> None:
        """Note that every rank has consumed its next batch."""
        self.done = min(self.done + self._size * self._share.world, len(self._dataset))

    def go_to(self, epoch: int) -> None:
        """Begin this epoch."""
        if epoch < 0:
            raise Usage(f"epoch {epoch} is less than 0")
        self.epoch, self.done = epoch, 0

    def state(self) -> dict[str, Any]:
        """What is done, to be kept with the model: JSON values, the same on every rank after the same step."""
        return {
            "datapin": _STATE,
            "digest": self._dataset.digest,
            "rows": _selection(self._dataset),
            "seed": self._seed if self._is_shuffled else None,
            "epoch": self.epoch,
            "done": self.done,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another loader was, whatever its batch size, ranks and workers. Raises Refused for other rows."""
        here = self.state()
        for name, what in (
            ("datapin", "format"),
            ("digest", "dataset version"),
            ("rows", "selection"),
            ("seed", "seed"),
        ):
            if state.get(name) != here[name]:
                raise Refused(
                    f"the loader's state has another {what}: {state.get(name)!r}, here {here[name]!r}",
                    "open the dataset at the version, with the selection and the seed of then",
                )
        epoch, done = state.get("epoch"), state.get("done")
        if not isinstance(epoch, int) or not isinstance(done, int) or epoch < 0 or not 0 <= done <= len(self._dataset):
            raise Refused(f"the loader's state is none: epoch {epoch!r}, done {done!r}", "take the one of a checkpoint")
        self.epoch, self.done = epoch, done


def rows_at(order: Positions, start: int, count: int) -> Positions:
    """Rows of an order from `start` on; beyond its end it begins again."""
    return order[np.arange(start, start + count) % len(order)]


def _selection(dataset: Dataset) -> str:
    """Names the rows that are read: their number, and if they are not all, a hash of which they are."""
    chosen = dataset.chosen_rows
    if chosen is None:
        return f"{len(dataset)} of {len(dataset)}"
    mark = hashlib.sha256(np.ascontiguousarray(chosen).tobytes()).hexdigest()[:16]
    return f"{len(chosen)} of {dataset.manifest.rows}: {mark}"
