"""datapin.torch: the same order for any number of workers, however they start; broken off and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from clones import ENVIRONMENT
from computations import number_and_label
from datapin import Repo
from datapin.errors import Refused, Usage
from datapin.pipeline.operators.recipe import apply_recipe

Load = Callable[..., Any]

WHOLE = [f"row {number:03d}".encode() for number in range(60)]


def read(batches: Iterable[Any]) -> list[bytes]:
    return [data for batch in batches for data in batch[0]]


def options(workers: int, start: str) -> dict[str, Any]:
    return {"num_workers": workers, "multiprocessing_context": start} if workers else {}


@pytest.mark.parametrize(("workers", "start"), [(0, ""), (1, "fork"), (3, "fork"), (2, "spawn"), (2, "forkserver")])
def test_workers_do_not_change_the_order(torch: Load, here: Repo, workers: int, start: str) -> None:
    dataset = here.open("data/raw")
    expected = [WHOLE[row] for row in dataset.order(3, 0)]
    batches = torch(dataset, 7, seed=3, columns=("label", "key"), **options(workers, start))
    assert len(batches) == 9
    data, labels, keys = [], [], []
    for batch in batches:
        data += batch[0]
        labels += batch[1]
        keys += batch[2]
    assert data == expected
    assert keys == [one.decode()[4:] for one in expected]
    assert labels == ["ab"[int(key) % 2] for key in keys]


@pytest.mark.parametrize(("workers", "start"), [(0, ""), (2, "fork"), (2, "spawn")])
def test_rows_that_are_elsewhere_come_in_the_same_order(torch: Load, elsewhere: Repo, workers: int, start: str) -> None:
    dataset = elsewhere.open("data/raw")
    assert not dataset.is_here
    assert read(torch(dataset, 7, seed=3, **options(workers, start))) == [WHOLE[row] for row in dataset.order(3, 0)]
    again = elsewhere.open("data/raw")
    assert again.is_here
    assert read(torch(again, 7, seed=3)) == [WHOLE[row] for row in again.order(3, 0)]


def test_each_loop_is_the_next_epoch(torch: Load, here: Repo) -> None:
    dataset = here.open("data/raw")
    batches = torch(dataset, 16, seed=3, num_workers=1, multiprocessing_context="fork")
    epochs = [read(batches) for _ in range(3)]
    assert epochs == [[WHOLE[row] for row in dataset.order(3, epoch)] for epoch in range(3)]
    batches.set_epoch(1)
    assert (batches.epoch, read(batches)) == (1, epochs[1])


@pytest.mark.parametrize("steps", [0, 1, 4, 8])
def test_a_state_counts_what_was_handed_out_and_not_what_was_read_ahead(torch: Load, here: Repo, steps: int) -> None:
    dataset = here.open("data/raw")
    order = [WHOLE[row] for row in dataset.order(3, 2)]
    first = torch(dataset, 7, seed=3, epoch=2, **options(2, "fork"))
    head: list[bytes] = []
    for number, batch in enumerate(first, 1) if steps else ():
        head += batch[0]
        if number == steps:
            break
    state = json.loads(json.dumps(first.state_dict()))
    second = torch(dataset, 5, seed=3, **options(3, "fork"))
    second.load_state_dict(state)
    assert head + read(second) == order
    ranks = [torch(dataset, 3, seed=3, rank=rank, world=2, even="pad") for rank in range(2)]
    for one in ranks:
        one.load_state_dict(state)
    steps_of = [[batch[0] for batch in one] for one in ranks]
    rest = [data for both in zip(*steps_of, strict=True) for batch in both for data in batch]
    assert (head + rest)[:60] == order


KILLED = """
import json, os, sys
import datapin
from datapin.torch import loader
batches = loader(datapin.open("data/raw"), 7, seed=3, num_workers=2, multiprocessing_context="fork")
for number, batch in enumerate(batches):
    with open(sys.argv[1] + ".new", "w") as file:  # a step, then a checkpoint
        json.dump({"seen": [one.decode() for one in batch[0]], "state": batches.state_dict()}, file)
    os.replace(sys.argv[1] + ".new", sys.argv[1] + f".{number}")
    if number == 3:
        os.kill(os.getpid(), 9)
"""


def test_a_training_that_is_killed_goes_on_after_its_last_checkpoint(torch: Load, here: Repo, tmp_path: Path) -> None:
    path = os.pathsep.join(sys.path)  # with what stands in for PyTorch
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "at")], cwd=here.root, env={**ENVIRONMENT, "PYTHONPATH": path}
    )
    assert ended.returncode == -signal.SIGKILL
    kept = [json.loads((tmp_path / f"at.{number}").read_text()) for number in range(4)]
    dataset = here.open("data/raw")
    rest = torch(dataset, 7, seed=3)
    rest.load_state_dict(kept[-1]["state"])
    seen = [one.encode() for step in kept for one in step["seen"]]
    assert seen + read(rest) == [WHOLE[row] for row in dataset.order(3, 0)]


def test_samples_are_made_by_the_workers(torch: Load, here: Repo) -> None:
    batches = torch(
        here.open("data/raw"), 4, shuffle=False, sample=number_and_label, collate=list, **options(1, "spawn")
    )
    assert next(iter(batches)) == [(0, "a"), (1, "b"), (2, "a"), (3, "b")]


@pytest.mark.parametrize(("workers", "start"), [(0, ""), (2, "fork"), (2, "spawn")])
def test_train_rows_are_augmented_by_the_workers_and_others_never(
    torch: Load, online: Repo, workers: int, start: str
) -> None:
    dataset = online.open("data/augmented")
    recipe = dataset.recipe
    assert recipe is not None
    rows = dataset.table.select(["key", "asset_id", "split"]).to_pylist()
    stored = dict(zip((row["key"] for row in rows), dataset.read_many(range(len(rows))), strict=True))
    batches = torch(dataset, 5, seed=3, columns=("key",), **options(workers, start))
    for epoch in range(2):
        seen = {key: data for batch in batches for data, key in zip(*batch, strict=True)}
        assert len(seen) == len(rows) == 12
        for row in rows:
            data = stored[row["key"]]
            wanted = apply_recipe(recipe, data, row["asset_id"], epoch) if row["split"] == "train" else data
            assert seen[row["key"]] == wanted
            assert (wanted != data) == (row["split"] == "train")


def test_what_is_wrong_is_said_before_anything_is_read(torch: Load, here: Repo) -> None:
    dataset = here.open("data/raw")
    every: list[dict[str, Any]] = [
        {"rank": 2}, {"even": "none"}, {"columns": ("colour",)}, {"sampler": []}, {"batch_sampler": []},
    ]  # fmt: skip
    for wrong in every:
        with pytest.raises(Usage):
            torch(dataset, 4, **wrong)
    with pytest.raises(Usage):
        torch(dataset, 0)
    with pytest.raises(Refused):
        torch(dataset, 4).load_state_dict({"done": 3})
