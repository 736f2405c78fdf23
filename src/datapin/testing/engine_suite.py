"""What every engine must do, as tests: subclass `EngineSuite` and give it a fixture `engine`.

class TestMyEngine(EngineSuite):
    @pytest.fixture
    def engine(self):
        return MyEngine()
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datapin.base.errors import DamagedAsset, DatapinError, OperatorRefused, StorageFailed, WorkersLost
from datapin.base.id_columns import ids_from_hex
from datapin.base.settings import StoreSettings
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.derived import DerivedAssets, derive_assets
from datapin.pipeline.mapping.engines.engine import Engine
from datapin.pipeline.mapping.map import MapPlan, Rows, map_rows
from datapin.pipeline.mapping.memo import Memo
from datapin.pipeline.mapping.work import DeriveAssets
from datapin.pipeline.operators.operator import Derived
from datapin.store.store import Store

_ASSETS = tuple(f"asset {number}".encode() for number in range(40))


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
            case "damaged":
                raise DamagedAsset("ab" * 32, "the store", "hash mismatch")
            case "touch":
                Path(self.folder, f"touched-{time.monotonic_ns()}").touch()
                time.sleep(0.2)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "die once" if not (mark := Path(self.folder, "died")).exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case "bug":
                raise ZeroDivisionError
        return item


@dataclass(frozen=True)
class Reversed:
    """Operator: the bytes of an asset backwards. The asset `poison` kills the process that reads it."""

    poison: bytes | None = None

    @property
    def name(self) -> str:
        """For people."""
        return "reversed"

    @property
    def fingerprint(self) -> str:
        """What identifies it."""
        return "re" * 32

    @property
    def environment(self) -> Mapping[str, str]:
        """No library has a part in it."""
        return {}

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """One asset."""
        if data == self.poison:
            os.kill(os.getpid(), signal.SIGKILL)
        return Derived(data[::-1])


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

    def test_an_error_carries_the_asset_that_it_is_about(self, engine: Engine) -> None:
        with pytest.raises(DamagedAsset) as caught:
            results(engine, [1, "damaged", 2])
        assert (caught.value.asset_id, caught.value.where) == ("ab" * 32, "the store")

    def test_what_has_not_begun_when_a_run_is_given_up_never_begins(self, engine: Engine, tmp_path: Path) -> None:
        running = engine.run(Trial(str(tmp_path)), enumerate([1, *["touch"] * 60]))
        assert next(running) == (0, 1)
        assert isinstance(running, Generator)
        running.close()
        time.sleep(1.0)  # those that were at work may end
        touched = len(list(tmp_path.glob("touched-*")))
        time.sleep(0.6)
        assert len(list(tmp_path.glob("touched-*"))) == touched < 60

    def test_the_assets_made_are_those_of_any_other_engine(self, engine: Engine, tmp_path: Path) -> None:
        context = _context(tmp_path, engine)
        rows = _rows(context.store)
        made, again = _derived(rows, context), _derived(rows, context)
        assert made.results["id"].tobytes() == b"".join(hashlib.sha256(data[::-1]).digest() for data in _ASSETS)
        assert (made.computed, made.problems.null_count) == (len(_ASSETS), len(_ASSETS))
        assert (again.computed, again.results.tobytes()) == (0, made.results.tobytes())

    def test_a_poisoned_asset_is_named_and_the_engine_goes_on(self, engine: Engine, tmp_path: Path) -> None:
        if self.runs_here:
            pytest.skip("it would be this process")
        context = _context(tmp_path, engine)
        rows = _rows(context.store)
        poisoned = DeriveAssets(Reversed(_ASSETS[-1]), context.store.root)
        plan = MapPlan(poisoned, "ab" * 32, makes_assets=True, title="", batch_assets=4)
        with pytest.raises(WorkersLost) as caught:
            list(map_rows([rows], plan, context, engine, total=len(rows)))
        assert hashlib.sha256(_ASSETS[-4]).hexdigest()[:12] in caught.value.message, "where its batch begins"
        assert caught.value.attempts == 3
        assert _derived(rows, context).computed == len(_ASSETS)


def _context(folder: Path, engine: Engine) -> StageContext:
    store = Store.create(folder / "store", StoreSettings())
    return StageContext(folder, store, Memo(folder / "memo"), engines=lambda apart: engine)


def _rows(store: Store) -> Rows:
    with store.filling() as filling:
        ids = [str(filling.put(data)) for data in _ASSETS]
    sizes = np.array([len(data) for data in _ASSETS], dtype=np.int64)
    keys = pa.array([f"{number:02}" for number in range(len(ids))])
    return Rows(keys, ids_from_hex(pa.array(ids)), np.zeros(len(ids), dtype=np.int64), sizes)


def _derived(rows: Rows, context: StageContext) -> DerivedAssets:
    return derive_assets(rows, Reversed(), context, title="suite")
