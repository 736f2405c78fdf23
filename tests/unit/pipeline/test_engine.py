"""The local engine: results in order, from here or from processes, whatever happens to those."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from computations import Square
from datapin.base.errors import OperatorRefused, WorkersLost
from datapin.pipeline.mapping.engines.local import ATTEMPTS, LocalEngine


@pytest.fixture(autouse=True)
def workers_find_the_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def results(engine: LocalEngine, items: list[Any], folder: str = "") -> list[Any]:
    marks, found = zip(*engine.run(Square(folder), enumerate(items)), strict=True)
    assert list(marks) == list(range(len(items)))
    return list(found)


@pytest.mark.parametrize("alone_s", [None, 0.0, 100.0])
@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_order(jobs: int, alone_s: float | None) -> None:
    items = [None, *range(30), None, None, 5]
    expected = [item if item is None else item * item for item in items]
    assert results(LocalEngine(jobs, alone_s=alone_s), items) == expected


def test_nothing_to_do_starts_nothing() -> None:
    assert list(LocalEngine(2, alone_s=None).run(Square(), [])) == []


def test_little_work_stays_in_this_process() -> None:
    assert set(results(LocalEngine(2), ["pid"] * 5)) == {os.getpid()}


def test_work_without_patience_goes_to_other_processes() -> None:
    pids = set(results(LocalEngine(2, alone_s=None), ["pid"] * 20))
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


def test_a_worker_has_one_thread() -> None:
    assert results(LocalEngine(1, alone_s=None), ["threads"]) == ["1"]


@pytest.mark.parametrize("alone_s", [None, 100.0])
def test_a_refusal_comes_through_as_it_is(alone_s: float | None) -> None:
    with pytest.raises(OperatorRefused, match="operator square: no"):
        results(LocalEngine(2, alone_s=alone_s), [1, "refuse", 2])


def test_a_killed_worker_costs_only_time(tmp_path: Path) -> None:
    items = [1, 2, "die once", *range(20)]
    assert results(LocalEngine(2, alone_s=None), items, str(tmp_path))[2:] == ["die once", *(n * n for n in range(20))]
    assert (tmp_path / "died").exists()


def test_an_item_that_kills_every_worker_is_named_in_the_end() -> None:
    with pytest.raises(WorkersLost) as caught:
        results(LocalEngine(2, alone_s=None), [1, "die", 2])
    assert caught.value.attempts == ATTEMPTS
    assert "signal 9 while working on die" in caught.value.message


def test_a_bug_in_a_worker_is_not_tried_again(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WorkersLost, match="unforeseen"):
        results(LocalEngine(2, alone_s=None), ["bug"])
    assert capfd.readouterr().err.count("Traceback") == 1


def test_only_a_bounded_number_of_items_is_taken_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[tuple[int, int]]:
        for number in range(1000):
            taken.append(number)
            yield number, number

    running = LocalEngine(2, alone_s=None).run(Square(), items())
    next(running)
    assert len(taken) < 20
    assert isinstance(running, Generator)
    running.close()


def test_workers_end_with_the_run_that_started_them(tmp_path: Path) -> None:
    items = enumerate(["pid", "pid", *["sleep"] * 6])
    running = LocalEngine(2, alone_s=None).run(Square(str(tmp_path)), items)
    pids = {next(running)[1], next(running)[1]}
    assert isinstance(running, Generator)
    running.close()
    assert not (tmp_path / "woke").exists()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
