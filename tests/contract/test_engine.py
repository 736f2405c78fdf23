"""Every engine against the one contract, and stages on each of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from datapin.base.errors import BadSettings, Refused
from datapin.base.settings import read_settings
from datapin.pipeline.mapping.engines import dask
from datapin.pipeline.mapping.engines.dask import DaskEngines, Expected, compute_one, expected_of
from datapin.pipeline.mapping.engines.engine import Engine
from datapin.pipeline.mapping.engines.local import LocalEngine
from datapin.pipeline.mapping.work import DeriveAssets
from datapin.pipeline.operators.images.prepare import NormaliseImage
from datapin.pipeline.stages.prepare import run_prepare
from datapin.testing.engine_suite import EngineSuite, Trial, results
from workspaces import Workspace, digits, labels_of, picture

PARAMS = "prepare: {resize: 6, split: {train: 0.5, test: 0.5}}\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskEngines]:
    """Dask, with two processes here."""
    engines = DaskEngines(None, 2)
    yield engines
    engines.close()


class TestLocalEngineWithProcesses(EngineSuite):
    @pytest.fixture
    def engine(self) -> Engine:
        return LocalEngine(2, alone_s=None)


class TestLocalEngineInThisProcess(EngineSuite):
    runs_here = True

    @pytest.fixture
    def engine(self) -> Engine:
        return LocalEngine(1)


class TestDaskEngine(EngineSuite):
    @pytest.fixture
    def engine(self, cluster: DaskEngines) -> Engine:
        return cluster(True)


def prepared(root: Path, engines: DaskEngines | None) -> tuple[str, dict[str, bytes]]:
    workspace = Workspace.make(root)
    assets = digits(60)
    workspace.write("data/raw", assets, label=labels_of(assets))
    context = replace(workspace.context(2), engines=engines)
    report = run_prepare(context, workspace.params(PARAMS))
    assert report.computed == 60
    return report.digest, workspace.files("data/prepared")


def test_a_stage_gives_the_same_bytes_on_every_engine(tmp_path: Path, cluster: DaskEngines) -> None:
    assert prepared(tmp_path / "dask", cluster) == prepared(tmp_path / "local", None)


def test_a_worker_that_is_stopped_or_killed_in_between_changes_nothing(tmp_path: Path) -> None:
    engines = DaskEngines(None, 2)
    try:
        engine = engines(True)
        pids = sorted(set(results(engine, ["pid"] * 40)))
        assert len(pids) == 2
        os.kill(pids[0], signal.SIGKILL)
        os.kill(pids[1], signal.SIGSTOP)
        running = engine.run(Trial(), enumerate(range(60)))
        time.sleep(0.5)
        os.kill(pids[1], signal.SIGCONT)
        assert [result for _, result in running] == [number * number for number in range(60)]
    finally:
        engines.close()


def test_a_cluster_of_ones_own_by_its_address(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--port",
        "0",
        "--host",
        "127.0.0.1",
        "--no-dashboard",
    ]
    file = tmp_path / "scheduler.json"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    scheduler = subprocess.Popen([*words, "--scheduler-file", str(file)], **quiet)  # type: ignore[call-overload]
    worker = None
    try:
        engines = DaskEngines(None, 1)
        engines._address = _address(file)
        with pytest.raises(Refused, match="has no worker"):
            results(engines(True), [1])
        words = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1"]
        worker = subprocess.Popen([*words, "--no-dashboard", "--no-nanny"], **quiet)  # type: ignore[call-overload]
        engines._client.wait_for_workers(1, timeout=60)
        assert results(engines(True), [1, 2, 3]) == [1, 4, 9]
        engines.close()
        digest, _ = prepared(tmp_path / "far", DaskEngines(_address(file), 1))
        assert digest == prepared(tmp_path / "near", None)[0]
    finally:
        for process in (worker, scheduler):
            if process is not None:
                with suppress(ProcessLookupError):
                    process.kill()
                process.wait()


def _address(file: Path) -> str:
    for _ in range(300):
        if file.exists():
            return str(json.loads(file.read_text())["address"])
        time.sleep(0.1)
    raise AssertionError("the scheduler did not start")


def test_no_scheduler_at_the_address(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "CONNECT_S", 0.5)
    with pytest.raises(Refused, match="no scheduler of Dask at tcp://127"):
        results(DaskEngines(f"tcp://127.0.0.1:{closed_port}", 1)(True), [1])


def test_a_worker_of_another_version_or_without_the_store_refuses(tmp_path: Path, cluster: DaskEngines) -> None:
    workspace = Workspace.make(tmp_path / "repo")
    client = cluster._opened()
    computation = DeriveAssets(NormaliseImage((6, 6), "stretch", "L"), workspace.store.root)
    right = expected_of(computation)
    assert right.environment["pillow"]
    for wrong, said in (
        (replace(right, version="0.0.1"), "has datapin 0.1.0, expected 0.0.1"),
        (replace(right, environment={**right.environment, "pillow": "1"}), "expected 1"),
        (Expected(right.version, right.environment, str(workspace.root / "nowhere")), "does not see the store"),
    ):
        answer = client.submit(compute_one, "t", computation, wrong, None, pure=False).result()
        assert isinstance(answer, Refused)
        assert said in answer.message
        assert answer.hint


def test_a_refusal_in_a_stage_is_told_as_ever(tmp_path: Path, cluster: DaskEngines) -> None:
    workspace = Workspace.make(tmp_path / "repo")
    workspace.write("data/raw", {"a.png": picture(1), "b.png": b"no image"}, label=["a", "b"])
    with pytest.raises(Exception, match="1 broken image") as refused:
        run_prepare(replace(workspace.context(2), engines=cluster), workspace.params(PARAMS))
    assert type(refused.value).__name__ == "StageRefused"


def test_the_engine_is_named_by_settings_and_options(repo_settings: Path) -> None:
    (repo_settings / "config.toml").write_text('[engine]\nkind = "dask"\n')
    assert read_settings(repo_settings.parent).engine.text == "dask"
    (repo_settings / "config.local.toml").write_text('[engine]\naddress = "tcp://a:1"\n')
    assert read_settings(repo_settings.parent).engine.text == "dask:tcp://a:1"
    (repo_settings / "config.toml").write_text('[engine]\nkind = "dask"\naddress = "tcp://evil:1"\n')
    with pytest.raises(BadSettings, match=r"engine\.address"):
        read_settings(repo_settings.parent)


@pytest.fixture
def repo_settings(tmp_path: Path) -> Path:
    (tmp_path / ".datapin").mkdir()
    return tmp_path / ".datapin"
