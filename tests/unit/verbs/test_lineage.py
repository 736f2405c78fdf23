"""`Repo.run`, `trace`, `uses`, `why`: stages make datasets, each row is followed to its source and back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clones import ENVIRONMENT, Clone
from datapin import Repo
from datapin.errors import BadSettings, DatapinError, UnknownAsset, UnknownDataset, UnknownKey, UnknownVersion, Usage
from datapin.verbs.lineage.why import Cause, WhyReport
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
    for ask in (trained.repo.trace, trained.repo.uses, trained.repo.why):
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


def run_again(world: World, message: str) -> None:
    """The three stages that make datasets, and what DVC's lock says of them, committed."""
    for stage in _OUTPUTS:
        world.repo.run(stage)
    world.clone.dvc("commit", "-q", "-f")
    world.clone.commit(message)


def outcomes(report: WhyReport) -> list[tuple[str, str]]:
    return [(step.dataset.removeprefix("data/"), step.outcome) for step in report.steps]


def test_why_of_the_first_version(trained: World) -> None:
    report = trained.repo.why("data/features:a/02.png")
    assert report.before is None
    assert outcomes(report) == [
        ("features", "computed"), ("augmented", "kept"), ("prepared", "computed"), ("raw", "added"),
    ]  # fmt: skip
    assert [step.stage for step in report.steps] == ["featurize", "augment", "prepare", None]


def test_why_a_row_was_computed_and_its_neighbour_reused(trained: World) -> None:
    repo, photos = trained.repo, trained.path / "photos"
    (photos / "a/00.png").write_bytes(picture(77))
    (photos / "a/again.png").write_bytes((photos / "a/02.png").read_bytes())
    repo.add(photos, to=RAW, label="parent")
    repo.update(RAW, "label = 'b'", where="key = 'a/04.png'")
    run_again(trained, "a better picture")
    changed = repo.why("data/features:a/00.png@HEAD")
    assert outcomes(changed)[0::3] == [("features", "computed"), ("raw", "replaced")]
    assert [cause.kind for step in changed.steps for cause in step.causes] == ["asset", "asset", "asset"]
    assert changed.before is not None
    assert changed.before["subject"] == "model"
    source = changed.steps[3].causes[0]
    assert changed.steps[2].causes == [Cause("asset", f"{RAW}:a/00.png", source.before, source.after)]
    untouched = repo.why("data/features:a/02.png")
    assert outcomes(untouched)[0::3] == [("features", "reused"), ("raw", "unchanged")]
    assert not [cause for step in untouched.steps for cause in step.causes]
    again = repo.why("data/prepared:a/again.png")
    assert outcomes(again) == [("prepared", "reused"), ("raw", "added")], "its asset was known by another key"
    label = repo.why("data/prepared:a/04.png")
    assert outcomes(label) == [("prepared", "reused"), ("raw", "unchanged")]
    assert label.steps[1].causes == [Cause("column", "label", "a", "b")]


def test_why_all_rows_were_computed(trained: World) -> None:
    params = trained.path / "params.yaml"
    params.write_text(PARAMS.replace("resize: 8", "resize: 6").replace("test: 0.2}", "test: 0.2}, on_broken: drop"))
    report = trained.repo.why("data/features:a/02.png")
    wanted = [Cause("params", "prepare.resize", "8", "6"), Cause("params", "prepare.on_broken", None, "drop")]
    assert report.pending == wanted
    assert trained.repo.why("data/features:a/02.png@HEAD").pending == []
    run_again(trained, "smaller")
    report = trained.repo.why("data/features:a/02.png")
    assert report.pending == []
    assert outcomes(report)[-2:] == [("prepared", "computed"), ("raw", "unchanged")]
    assert report.steps[2].causes == wanted


def test_why_names_code_of_the_users(trained: World) -> None:
    code, pipeline, params = (trained.path / name for name in ("mine.py", "dvc.yaml", "params.yaml"))
    text = "import numpy as np\ndef size(assets):\n    return np.array([[len(one) * 1.0] for one in assets])\n"
    code.write_text(text)
    params.write_text(PARAMS.replace("{use: pixels}", "{use: 'mine:size'}"))
    pipeline.write_text(
        pipeline.read_text().replace(
            "      - data/augmented\n    params", "      - data/augmented\n      - mine.py\n    params"
        )
    )
    run_again(trained, "my features")
    code.write_text(text.replace("1.0", "2.0"))
    (pending,) = trained.repo.why("data/features:a/02.png").pending
    assert (pending.kind, pending.name) == ("code", "mine.py")
    run_again(trained, "twice")
    report = trained.repo.why("data/features:a/02.png")
    assert report.steps[0].causes == [pending]
    assert outcomes(report)[2:] == [("prepared", "reused"), ("raw", "unchanged")]


@pytest.mark.parametrize(
    ("selector", "kind", "said"),
    [
        ("data/features", Usage, "names no row"),
        ("data/nope:a/02.png", UnknownDataset, "data/nope"),
        ("data/features:nope.png", UnknownKey, "nope.png"),
        ("data/features:a/02.png@nope", UnknownVersion, "nope"),
        ("models/model.skops:a", UnknownDataset, "model.skops"),
    ],
)
def test_why_of_what_is_no_row(trained: World, selector: str, kind: type[DatapinError], said: str) -> None:
    with pytest.raises(kind, match=said) as refused:
        trained.repo.why(selector)
    assert refused.value.hint
