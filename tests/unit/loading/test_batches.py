"""Which rows a training gets: all, once, in one order, whoever reads them and wherever it was broken off."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datapin import Repo
from datapin.errors import Refused, Usage
from datapin.loading.batches import Batches, Even, Share
from datapin.loading.rows import NumberedRows, RowsInOrder

EVEN = st.sampled_from(["drop", "pad"])
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def ranks(repo: Repo, rows: int, size: int, world: int, even: Even, **more: Any) -> list[Batches]:
    dataset = repo.open("data/raw", where=f"number < {rows}")
    return [Batches(dataset, size, seed=5, share=Share(rank, world, even), **more) for rank in range(world)]


def stream(batches: list[Batches], steps: int | None = None) -> list[int]:
    """What all ranks get, step by step, for as many steps; they advance."""
    found: list[int] = []
    iterators = [iter(one) for one in batches]
    while steps is None or steps > 0:
        step = [next(one, None) for one in iterators]
        if step[0] is None:
            assert step == [None] * len(step), "all ranks end together"
            break
        found += [row for batch in step for row, _ in batch or []]
        for one in batches:
            one.advance()
        steps = None if steps is None else steps - 1
    return found


@shared
@given(rows=st.integers(1, 60), size=st.integers(1, 20), world=st.integers(1, 5), even=EVEN)
def test_ranks_together_get_the_epochs_order(here: Repo, rows: int, size: int, world: int, even: Even) -> None:
    batches = ranks(here, rows, size, world, even)
    order = batches[0].order().tolist()
    sizes = [[len(batch) for batch in one] for one in batches]
    assert all(one == sizes[0] for one in sizes), "as many batches, as large"
    assert [len(one) for one in batches] == [len(sizes[0])] * world
    found = stream(batches)
    assert found == (order * (world + 1))[: len(found)]
    assert 0 <= (rows - len(found) if even == "drop" else len(found) - rows) < world


@shared
@given(
    rows=st.integers(1, 60),
    first=st.tuples(st.integers(1, 9), st.integers(1, 4)),
    second=st.tuples(st.integers(1, 9), st.integers(1, 4)),
    steps=st.integers(0, 30),
)
def test_whoever_goes_on_gets_exactly_the_rest(
    here: Repo, rows: int, first: tuple[int, int], second: tuple[int, int], steps: int
) -> None:
    before = ranks(here, rows, *first, "pad")
    order = before[0].order().tolist()
    head = stream(before, steps)
    states = [json.loads(json.dumps(one.state())) for one in before]
    assert all(state == states[0] for state in states), "the same on every rank"
    after = ranks(here, rows, *second, "pad")
    for one in after:
        one.restore(states[0])
    rest = stream(after)
    assert (head[:rows] + rest)[:rows] == order


def test_epochs_differ_and_repeat(here: Repo) -> None:
    (one,) = ranks(here, 60, 7, 1, "drop")
    first = stream([one])
    one.go_to(1)
    assert [epoch for batch in one for _, epoch in batch] == [1] * 60
    second = stream([one])
    assert sorted(first) == sorted(second) == list(range(60))
    assert first != second
    one.go_to(0)
    assert stream([one]) == first


def test_without_shuffling_rows_come_in_key_order(here: Repo) -> None:
    (one,) = ranks(here, 10, 4, 1, "drop", shuffle=False)
    assert [[row for row, _ in batch] for batch in one] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    (one,) = ranks(here, 10, 4, 1, "drop", shuffle=False, drop_last=True)
    assert [len(batch) for batch in one] == [4, 4]


def test_a_state_of_other_rows_is_refused(here: Repo) -> None:
    (one,) = ranks(here, 60, 7, 1, "drop")
    state = one.state()
    (fewer,) = ranks(here, 59, 7, 1, "drop")
    with pytest.raises(Refused, match="selection"):
        fewer.restore(state)
    for change in ({"digest": "sha256:0"}, {"seed": 6}, {"done": 61}, {"done": -1}, {"epoch": "0"}, {"datapin": 2}):
        with pytest.raises(Refused):
            one.restore({**state, **change})
    with pytest.raises(Refused):
        one.restore({})
    assert one.state() == state


def test_impossible_arguments_are_refused(here: Repo) -> None:
    dataset = here.open("data/raw")
    for call in (
        lambda: Batches(dataset, 0), lambda: Batches(dataset, 1, epoch=-1), lambda: Share(2, 2), lambda: Share(0, 0),
        lambda: Share(0, 1, "none"), lambda: Batches(dataset, 1).go_to(-1),  # type: ignore[arg-type]
    ):  # fmt: skip
        with pytest.raises(Usage):
            call()


def test_rows_of_a_selection_are_numbered_within_it(here: Repo) -> None:
    dataset = here.open("data/raw", where="label = 'b'")
    assert dataset.chosen_rows is not None
    assert np.array_equal(dataset.chosen_rows, np.arange(1, 60, 2))
    assert sorted(row for batch in Batches(dataset, 4) for row, _ in batch) == list(range(30))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_that_fetch_for_themselves_give_the_same_samples(online: Repo, workers: int) -> None:
    rows = NumberedRows(online.open("data/augmented"), ("key",))
    batches = Batches(rows.dataset, 5, seed=3, epoch=4)
    expected = [rows.__getitems__(batch) for batch in batches]
    parts = [list(RowsInOrder(rows, batches).batches(number, workers)) for number in range(workers)]
    assert [parts[number % workers][number // workers] for number in range(len(expected))] == expected
