"""`Dataset`: the order of an epoch, many rows at once, one column; and what the first read of a process costs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from clones import ENVIRONMENT, Clone
from datapin import Repo
from datapin.dataset import Dataset
from datapin.errors import Usage
from datapin.store.reader import Verify

FIRST_READ = """
import sys
import datapin
dataset = datapin.open("data/raw")
next(iter(dataset.batches(4, shuffle=1))).read()
dataset.read_many([0, 1], verify="first"), dataset.order(1), dataset.column("asset_id"), dataset.ids
heavy = {"pandas", "duckdb", "dvc", "git", "boto3", "PIL", "pydantic"}
print(*sorted({name.partition(".")[0] for name in sys.modules} & heavy))
"""


@pytest.fixture
def raw(filled: Clone) -> Dataset:
    return Repo.find(filled.path).open("data/raw")


def test_the_order_is_a_function_of_digest_seed_and_epoch(raw: Dataset, filled: Clone) -> None:
    order = raw.order(7, 2)
    assert order.dtype == np.dtype(np.int64)
    assert sorted(order.tolist()) == list(range(12))
    assert np.array_equal(order, Repo.find(filled.path).open("data/raw", version="HEAD").order(7, 2))
    others = {tuple(raw.order(seed, epoch).tolist()) for seed in range(4) for epoch in range(4)}
    assert len(others) == 16
    batches = [sample.index for batch in raw.batches(5, shuffle=7, epoch=2) for sample in batch]
    assert batches == order.tolist()
    assert raw.order(7).tolist() == raw.order(7, 0).tolist()


def test_many_rows_are_read_in_their_order(raw: Dataset) -> None:
    wanted = [3, 0, -1, 3]
    modes: tuple[Verify, ...] = (True, False, "first")
    for verify in modes:
        found = raw.read_many(np.array(wanted), verify=verify)
        assert found == [raw.read(number) for number in wanted]
    assert raw.read_many([]) == []
    for number in (12, -13):
        with pytest.raises(IndexError, match=f"12 rows, asked for row {number}"):
            raw.read_many([0, number])


def test_one_column(raw: Dataset, filled: Clone) -> None:
    assert raw.column("label").to_pylist() == ["a"] * 6 + ["b"] * 6
    some = Repo.find(filled.path).open("data/raw", where="label = 'b'")
    assert some.column("key").to_pylist() == [sample.key for sample in some]
    with pytest.raises(Usage, match="colour"):
        raw.column("colour")


def test_the_first_read_of_a_process_loads_no_library_that_it_does_not_need(filled: Clone) -> None:
    """Each worker of a training pays for what is loaded here; pandas alone takes longer than all the rest."""
    words = [sys.executable, "-I", "-c", FIRST_READ]
    ended = subprocess.run(words, cwd=filled.path, env=ENVIRONMENT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == []
