"""`Repo.run`, `trace`, `uses`: stages make datasets, and each row is followed to its source and back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clones import ENVIRONMENT, Clone
from datapin import Repo
from datapin.errors import BadSettings, DatapinError, UnknownAsset, Usage
from workspaces import picture
from worlds import RAW, World

PARAMS = """
prepare: {resize: 8, mode: L, split: {train: 0.6, val: 0.2, test: 0.2}, seed: 0}
augment: {copies: 1, operators: {shift: {fraction: 0.1}}, seed: 0}
featurize: {extract: [{use: pixels}]}
train: {estimator: sklearn.ensemble.ExtraTreesClassifier, estimator_params: {n_estimators: 3}, seed: 0}
"""


@pytest.fixture(scope="session")
def made_pipeline(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of two classes, and the template's four stages, run and committed."""
    path = tmp_path_factory.mktemp("pipeline") / "repo"
    shutil.copytree(blank, path, symlinks=True)
    for number in range(20):
        (path / "photos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        (path / "photos" / "ab"[number % 2] / f"{number:02d}.png").write_bytes(picture(number))
    (path / ".gitignore").write_text("/photos\n")
    Repo.init(path, template="image", hooks=False)
    (path / "params.yaml").write_text(PARAMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", ENVIRONMENT["PATH"])
        Repo.find(path).add(path / "photos", to=RAW, label="parent")
    Clone(path).dvc("repro", "-q")
    Clone(path).commit("model")
    return path


@pytest.fixture
def trained(made_pipeline: Path, tmp_path: Path) -> World:
    shutil.copytree(made_pipeline, tmp_path / "repo", symlinks=True)
    return World(Clone(tmp_path / "repo"), tmp_path / "lab")


def test_each_stage_runs_and_reuses(trained: World) -> None:
    for stage, rows in (("prepare", 20), ("augment", None), ("featurize", None), ("train", None)):
        before = trained.repo.show(f"data/{_OUTPUTS[stage]}").digest if stage in _OUTPUTS else None
        report = trained.repo.run(stage)
        assert report.stage == stage
        assert report.computed == (report.rows if stage == "train" else 0)
        assert rows is None or report.rows == rows
        assert before is None or report.digest == before


_OUTPUTS = {"prepare": "prepared", "augment": "augmented", "featurize": "features"}


def test_parameters_of_another_file(trained: World) -> None:
    other = trained.path / "other.yaml"
    other.write_text(PARAMS.replace("resize: 8", "resize: 6"))
    before = trained.repo.show("data/prepared").digest
    report = trained.repo.run("prepare", params_file=other)
    assert report.computed == 20
    assert report.digest != before
    assert trained.repo.run("prepare", params_file="params.yaml").digest == before


def test_where_a_stage_computes_does_not_show(trained: World) -> None:
    before = trained.repo.show("data/prepared").digest
    assert trained.repo.run("prepare", engine="local").digest == before
    with pytest.raises(Usage, match="spark"):
        trained.repo.run("prepare", engine="spark")


def test_a_preview_is_a_page_and_changes_nothing(trained: World) -> None:
    before = trained.clone.files("data")
    page = trained.path / "out.html"
    trained.repo.run("augment", preview=(2, page))
    assert page.read_text().count("<img") >= 4
    assert trained.clone.files("data") == before


def test_what_cannot_run_says_why(trained: World) -> None:
    with pytest.raises(Usage, match="bake"):
        trained.repo.run("bake")
    with pytest.raises(DatapinError, match=r"none\.yaml"):
        trained.repo.run("prepare", params_file="none.yaml")
    bad = trained.path / "bad.yaml"
    bad.write_text("prepare: {resize: -1}\n")
    with pytest.raises(BadSettings, match="resize"):
        trained.repo.run("prepare", params_file=bad)


def test_trace_goes_from_a_model_to_its_source(trained: World) -> None:
    report = trained.repo.trace("models/model.skops")
    kinds = [node.kind for node in report.nodes]
    assert kinds[0] == "output"
    assert {"stage", "dataset", "source"} <= set(kinds)
    assert {node.name for node in report.nodes if node.kind == "dataset"} >= {RAW, "data/prepared", "data/features"}
    assert (report.rows, report.unread, report.dirty) == ([], [], False)
    ids = {node.id for node in report.nodes}
    assert all(made in ids for node in report.nodes for made in node.made_from)


def test_trace_with_rows_and_of_one_row(trained: World) -> None:
    rows = trained.repo.trace(Path("data/features"), with_rows=True).rows
    assert len(rows) == trained.repo.show("data/features").rows
    copy = next(row.key for row in rows if row.key != row.source_key)
    (row,) = trained.repo.trace(f"data/features:{copy}").rows
    assert row.split == "train"
    assert row.source_key in trained.key_list(RAW)


def test_uses_goes_from_an_asset_to_its_model(trained: World) -> None:
    key = next(row["key"] for row in trained.repo.ls("data/prepared").to_pylist() if row["split"] == "train")
    report = trained.repo.uses(f"{RAW}:{key}")
    assert report.asset_id == trained.repo.uses(report.asset_id).asset_id
    assert {use.dataset for use in report.versions} >= {RAW, "data/prepared", "data/augmented", "data/features"}
    assert "models/model.skops" in [use.path for use in report.outputs]
    assert report.derived


def test_names_that_nothing_has(trained: World) -> None:
    for ask in (trained.repo.trace, trained.repo.uses):
        with pytest.raises(DatapinError) as refused:
            ask("models/none.skops")
        assert refused.value.hint
    with pytest.raises(UnknownAsset):
        trained.repo.uses("ab" * 32)


def test_repro_of_some_rows(trained: World) -> None:
    report = trained.repo.verify("HEAD", repro=True, sample=3)
    assert report.ok, report.findings
    assert any(check.name.startswith("repro") for check in report.checks)


def test_a_pinned_output_of_a_stage_is_frozen(trained: World) -> None:
    (trained.path / "params.yaml").write_text(PARAMS.replace("resize: 8", "resize: 6"))
    trained.clone.dvc("repro", "-q", "prepare")
    trained.clone.commit("smaller")
    report = trained.repo.rollback("data/prepared", to="HEAD~1", pin=True)
    assert report.frozen == ["prepare"]
    assert "frozen: true" in (trained.path / "dvc.yaml").read_text()
    with pytest.raises(DatapinError):
        trained.repo.rollback("data/augmented", to="v9", pin=True)
