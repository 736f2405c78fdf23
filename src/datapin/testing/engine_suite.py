"""What every engine must do, as tests: subclass `EngineSuite` and give it a fixture `engine`.

class TestMyEngine(EngineSuite):
    @pytest.fixture
    def engine(self):
        return MyEngine()
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from datapin.base.errors import DatapinError, OperatorRefused, StorageFailed, WorkersLost
from datapin.pipeline.mapping.engines.engine import Engine


@dataclass(frozen=True)
class Trial:
    """A computation for engines: squares numbers; words make it misbehave."""

    folder: str = ""

    def begin(self) -> Callable[[Any], Any]:
        """Notes that it began, once per process."""
        if self.folder:
            Path(self.folder, f"began-{os.getpid()}-{time.monotonic_ns()}").touch()
        return self.compute

    def compute(self, item: Any) -> Any:
        """The square of a number, the id of the process for `pid`, what else the words say."""
        if isinstance(item, int):
            return item * item
        match item:
            case "pid":
                return os.getpid()
            case "threads":
                return os.environ.get("OPENBLAS_NUM_THREADS")
            case "refuse":
                raise OperatorRefused("trial", "no")
            case "disk":
                raise StorageFailed("read", "place", "gone")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "die once" if not (mark := Path(self.folder, "died")).exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case "bug":
                raise ZeroDivisionError
        return item


def results(engine: Engine, items: list[Any], folder: str = "") -> list[Any]:
    """The results of the items, which came in order."""
    pairs = list(engine.run(Trial(folder), enumerate(items)))
    assert [mark for mark, _ in pairs] == list(range(len(items)))
    return [result for _, result in pairs]


class EngineSuite:
    """The contract of `datapin.pipeline.mapping.engines.engine.Engine`."""

    runs_here = False  # whether the engine may compute in this process

    def test_results_come_in_order(self, engine: Engine) -> None:
        items = [None, *range(100), None, None, 5]
        assert results(engine, items) == [item if item is None else item * item for item in items]

    def test_nothing_to_do(self, engine: Engine) -> None:
        assert list(engine.run(Trial(), [])) == []
        assert results(engine, [None, None]) == [None, None]

    def test_one_run_after_the_other(self, engine: Engine) -> None:
        for _ in range(3):
            assert results(engine, [1, 2, 3]) == [1, 4, 9]

    def test_a_computation_begins_once_per_process(self, engine: Engine, tmp_path: Path) -> None:
        pids = set(results(engine, ["pid"] * 40, str(tmp_path)))
        assert self.runs_here or os.getpid() not in pids
        began = [name.name.split("-")[1] for name in tmp_path.glob("began-*")]
        assert len(began) == len(set(began)), "and never twice in one"
        assert {str(pid) for pid in pids} <= set(began)

    def test_workers_have_one_thread(self, engine: Engine) -> None:
        assert self.runs_here or set(results(engine, ["threads"] * 8)) == {"1"}

    @pytest.mark.parametrize(("word", "error"), [("refuse", OperatorRefused), ("disk", StorageFailed)])
    def test_a_foreseen_error_comes_as_it_is(self, engine: Engine, word: str, error: type[DatapinError]) -> None:
        with pytest.raises(error):
            results(engine, [1, word, 2])
        assert results(engine, [3]) == [9], "and the engine goes on"

    def test_only_a_bounded_number_of_items_is_taken_ahead(self, engine: Engine) -> None:
        taken: list[int] = []

        def items() -> Iterator[tuple[int, int]]:
            for number in range(1000):
                taken.append(number)
                yield number, number

        running = engine.run(Trial(), items())
        assert next(running) == (0, 0)
        assert len(taken) < 100
        assert isinstance(running, Generator), "so that it can be closed"
        running.close()
        assert results(engine, [4]) == [16]

    def test_a_killed_worker_costs_only_time(self, engine: Engine, tmp_path: Path) -> None:
        if self.runs_here:
            pytest.skip("it would be this process")
        items = [1, 2, "die once", *range(20)]
        assert results(engine, items, str(tmp_path))[2:] == ["die once", *(n * n for n in range(20))]
        assert (tmp_path / "died").exists()

    def test_an_item_that_kills_every_worker_is_named(self, engine: Engine) -> None:
        if self.runs_here:
            pytest.skip("it would be this process")
        with pytest.raises(WorkersLost, match="on die"):
            results(engine, [1, "die", 2])

    def test_a_bug_is_told_and_not_tried_again(self, engine: Engine, tmp_path: Path) -> None:
        if self.runs_here:
            pytest.skip("it would come through as it is")
        with pytest.raises(WorkersLost, match="unforeseen"):
            results(engine, ["bug"], str(tmp_path))
        assert len(list(tmp_path.glob("began-*"))) == 1
