"""Every engine against the one contract, and stages on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from datapin.base.errors import BadSettings
from datapin.base.settings import read_settings
from datapin.pipeline.mapping.engines.dask import DaskEngines
from datapin.pipeline.mapping.engines.engine import Engine
from datapin.pipeline.mapping.engines.local import LocalEngine
from datapin.pipeline.stages.prepare import run_prepare
from datapin.testing.engine_suite import EngineSuite
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
