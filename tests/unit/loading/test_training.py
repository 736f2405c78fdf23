"""datapin.training: what a training script leaves, for every task; whole, or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import datapin
from clones import Clone
from datapin import Repo
from datapin.errors import DatapinError, StageRefused, Usage
from datapin.loading.training import Training
from datapin.pipeline.record.record import read_record
from datapin.pipeline.training.tasks import average_precision, overlap

COUNT = 30
SPLITS = ["train"] * 18 + ["val"] * 6 + ["test"] * 6


@pytest.fixture(scope="session")
def made(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty rows of text, with a column for each task."""
    path = tmp_path_factory.mktemp("training") / "repo"
    shutil.copytree(blank, path, symlinks=True)
    repo = Repo.find(path)
    ids = repo.put_all(b"asset %d" % n for n in range(COUNT))
    table = {
        "key": [f"{n:02d}" for n in range(COUNT)], "asset_id": ids, "size": [7] * 10 + [8] * 20,
        "split": SPLITS, "label": ["abc"[n % 3] for n in range(COUNT)], "weight": [n / 4 for n in range(COUNT)],
        "tags": [["x"] if n % 2 else ["x", "y"] for n in range(COUNT)],
        "objects": [[{"label": "cat", "x": n, "y": 0, "width": 10, "height": 10}] for n in range(COUNT)],
    }  # fmt: skip
    repo.write("data/rows", pa.table(table))
    (path / "params.yaml").write_text("train: {seed: 5, lr: 0.1}\nother: {seed: 6}\n")
    return path


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


def start(root: Path, **more: Any) -> Training:
    return datapin.training("data/rows", repo=root, **more)


def left(root: Path) -> list[str]:
    return sorted(
        path.relative_to(root).as_posix() for top in ("models", "reports") for path in (root / top).rglob("*")
        if path.is_file()
    )  # fmt: skip


def test_a_classifier_leaves_what_the_train_stage_leaves(root: Path) -> None:
    with start(root, model="models/m.pt") as run:
        assert (run.params, run.seed, run.classes) == ({"seed": 5, "lr": 0.1}, 5, ("a", "b", "c"))
        assert (len(run.fit), len(run.split("val"))) == (18, 6)
        assert run.fit.column("split").unique().to_pylist() == ["train"]
        assert [sample.read() for sample in run.split("val")] == [b"asset %d" % n for n in range(18, 24)]
        assert run.codes(run.split("val")).tolist() == [0, 1, 2, 0, 1, 2]
        run.save(b"weights")
        run.predict("val", probabilities=np.eye(3)[[0, 1, 2, 0, 1, 1]])
        run.predict("test", ["a", "b", "c"] * 2, probabilities=np.full((6, 3), 1 / 3))
        run.metric("parameters", 12)
        for epoch in range(2):
            run.log(epoch=epoch, loss=1 / (epoch + 1))
    assert left(root) == [
        "models/m.pt", "reports/environment.json", "reports/metrics.json", "reports/plots/calibration.csv",
        "reports/plots/class_distribution.csv", "reports/plots/confusion_matrix.csv", "reports/plots/history.csv",
        "reports/plots/roc.csv", "reports/predictions.parquet", "reports/run.json",
    ]  # fmt: skip
    metrics = json.loads((root / "reports/metrics.json").read_text())
    assert (metrics["val"]["accuracy"], metrics["test"]["accuracy"]) == (round(5 / 6, 6), 1.0)
    assert metrics["parameters"] == 12
    rows = pd.read_parquet(root / "reports/predictions.parquet")
    assert rows["key"].tolist() == [f"{n:02d}" for n in range(18, 30)]
    assert rows["predicted"].tolist() == [*"abcabb", *"abcabc"]
    record = read_record(root / "reports/run.json")
    assert record["inputs"] == {"data/rows": Repo.find(root).show("data/rows").digest}
    assert (record["seed"], record["task"], record["classes"]) == (5, "classification", ["a", "b", "c"])
    assert record["rows"] == {"fit": 18, "fit_augmented": 0, "val": 6, "test": 6}
    assert record["params"] == {"train": {"seed": 5, "lr": 0.1}}
    assert "deterministic" not in record
    assert (root / "reports/plots/history.csv").read_text() == "epoch,loss\n0.0,1.0\n1.0,0.5\n"


def test_a_regressor(root: Path) -> None:
    with start(root, task="regression", label_column="weight", params="other", evaluate=["test"]) as run:
        assert (run.seed, run.classes) == (6, ())
        run.save(b"w")
        run.predict("test", np.arange(24, 30) / 4 + 1)
    metrics = json.loads((root / "reports/metrics.json").read_text())
    assert metrics["test"]["mae"] == 1.0
    rows = pd.read_parquet(root / "reports/predictions.parquet")
    assert (rows["predicted"] - rows["label"]).tolist() == [1.0] * 6
    assert rows["loss"].tolist() == [1.0] * 6
    assert "reports/plots/residuals.csv" in left(root)


@pytest.mark.parametrize("with_names", [True, False])
def test_several_labels_of_a_row(root: Path, with_names: bool) -> None:
    with start(root, task="multilabel", label_column="tags") as run:
        assert run.classes == ("x", "y")
        run.save(b"w")
        for split in ("val", "test"):
            if with_names:
                run.predict(split, [["x", "y"]] * 6)
            else:
                run.predict(split, probabilities=np.tile([0.9, 0.6], (6, 1)))
    metrics = json.loads((root / "reports/metrics.json").read_text())["val"]
    assert (metrics["exact"], metrics["f1_micro"]) == (0.5, round(2 * 9 / (9 + 12), 6))
    rows = pd.read_parquet(root / "reports/predictions.parquet")
    assert [list(one) for one in rows["predicted"]] == [["x", "y"]] * 12
    assert [list(one) for one in rows["label"]] == [["x", "y"], ["x"]] * 6
    if with_names:
        assert rows["loss"].tolist() == [0.0, 0.5] * 6
    else:
        expected = [-(np.log(0.9) + np.log(0.6)) / 2, -(np.log(0.9) + np.log(0.4)) / 2]
        assert np.allclose(rows["loss"], expected * 6)


def test_objects_in_pictures(root: Path) -> None:
    with start(root, task="detection") as run:
        assert run.classes == ("cat",)
        run.save(b"w")
        for split, first in (("val", 18), ("test", 24)):
            boxes = [[{"label": "cat", "x": n + 1, "y": 0, "width": 10, "height": 10, "score": 0.9}] for n in range(6)]
            run.predict(split, [[{**box, "x": box["x"] + first} for box in row] for row in boxes])  # type: ignore[operator]
    metrics = json.loads((root / "reports/metrics.json").read_text())["val"]
    assert (metrics["map_50"], metrics["objects"]) == (1.0, 6)
    rows = pd.read_parquet(root / "reports/predictions.parquet")
    assert rows["predicted"][0][0]["x"] == 19.0
    assert rows["loss"].tolist() == [0.0] * 12


def test_average_precision_is_the_area_under_precision_over_recall() -> None:
    def box(x: float, score: float = 1.0) -> dict[str, Any]:
        return {"label": "a", "x": x, "y": 0.0, "width": 10.0, "height": 10.0, "score": score}

    assert overlap(box(0), box(5)) == pytest.approx(1 / 3)
    actual = [[box(0)], [box(0), box(100)]]
    predicted = [[box(0, 0.9), box(50, 0.8)], [box(100, 0.7), box(101, 0.6)]]
    # by falling score: hit, miss, hit, a second one on the same object: precision 1, 1/2, 2/3, 1/2; recall 1/3, 2/3
    assert average_precision(actual, predicted, "a") == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert average_precision(actual, [[], []], "a") == 0.0
    assert average_precision(actual, predicted, "b") is None


def test_the_same_run_gives_the_same_bytes(root: Path) -> None:
    def train() -> dict[str, bytes]:
        with start(root) as run:
            run.save(b"w")
            run.predict("val", [0] * 6)
            run.predict("test", [1] * 6)
        return {name: (root / name).read_bytes() for name in left(root)}

    assert train() == train()


def test_a_block_that_raises_leaves_what_was_there(root: Path) -> None:
    with start(root) as run:
        run.save(b"first")
        run.predict("val", [0] * 6)
        run.predict("test", [0] * 6)
    before = {name: (root / name).read_bytes() for name in left(root)}

    def fails() -> None:
        with start(root) as run:
            run.save(b"second")
            run.predict("val", [1] * 6)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert {name: (root / name).read_bytes() for name in left(root)} == before


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: run.predict("train", [0] * 18), "not among those evaluated"),
        (lambda run: run.predict("val", [0] * 5), r"5 row\(s\), expected 6"),
        (lambda run: run.predict("val"), "nothing was predicted"),
        (lambda run: run.metric("loss", float("nan")), "finite"),
        (lambda run: run.metric("val", 1.0), "name of a split"),
        (lambda run: run.log(loss=float("inf")), "finite"),
        (lambda run: run.save(b""), "no bytes"),
        (lambda run: run.save("nowhere.bin"), "'nowhere.bin' cannot be read: No such file"),
        (lambda run: run.save(None), "no file name"),
        (lambda run: run.metric("loss", "low"), "the metric loss is 'low'"),
        (lambda run: run.log(loss=None), "loss is None"),
        (lambda run: run.predict("val", 3), "is int, expected a list"),
        (lambda run: run.predict("val", "aaaaaa"), "is str, expected a list"),
    ],
)
def test_what_a_script_gets_wrong_is_said_at_once(root: Path, call: Any, said: str) -> None:
    with pytest.raises(Usage, match=said), start(root) as run:
        call(run)
    assert not (root / "models").exists()


@pytest.mark.parametrize(
    ("predicted", "probabilities", "said"),
    [
        ([3] * 6, None, "class 3, expected 0 to 2"),
        (["z"] * 6, None, "'z', which is no class"),
        (np.zeros((6, 2), dtype=int), None, "no list of class numbers or names"),
        ([0, 0, 0, 0, 0, [1]], None, "no list of class numbers or names"),
        (None, [[1, 0, 0]] * 5 + [[1]], "not all numbers of the shape"),
        (None, [["a", "b", "c"]] * 6, "not all numbers"),
        (None, np.full((6, 2), 0.5), "expected"),
        (None, np.full((6, 3), np.nan), "not finite"),
        (None, np.full((6, 3), 0.5), "add up to 1"),
        (None, np.full((6, 3), -1.0), "go from -1 to -1"),
    ],
)
def test_what_was_predicted_is_checked_before_anything_is_written(
    root: Path, predicted: Any, probabilities: Any, said: str
) -> None:

    def train() -> None:
        with start(root) as run:
            run.save(b"w")
            run.predict("val", predicted, probabilities)
            run.predict("test", [0] * 6)

    with pytest.raises(Usage, match=said):
        train()
    assert not (root / "models").exists()


BOX = {"label": "cat", "x": 1, "y": 0, "width": 1, "height": 1}


@pytest.mark.parametrize(
    ("more", "predicted", "probabilities", "said"),
    [
        ({"task": "detection"}, None, np.zeros((6, 1)), "takes no probabilities"),
        ({"task": "detection"}, [1] * 6, None, "expected a list of boxes"),
        ({"task": "detection"}, [[{**BOX, "x": "a"}]] * 6, None, "x of a box predicted for val is 'a'"),
        ({"task": "detection"}, [[{**BOX, "scor": 1}]] * 6, None, "has scor"),
        ({"task": "detection"}, [[{**BOX, "width": -1}]] * 6, None, "a box predicted for val is"),
        ({"task": "regression", "label_column": "weight"}, ["a"] * 6, None, "not all numbers"),
        ({"task": "regression", "label_column": "weight"}, None, np.zeros((6, 1)), "takes no probabilities"),
        ({"task": "multilabel", "label_column": "tags"}, np.full((6, 2), np.nan), None, "other than 0 and 1"),
        ({"task": "multilabel", "label_column": "tags"}, ["x"] * 6, None, "'x', expected a list of names"),
        ({"task": "multilabel", "label_column": "tags"}, [1] * 6, None, "1, expected a list of names"),
    ],
)
def test_what_does_not_fit_the_task_is_refused_in_one_line(
    root: Path, more: dict[str, Any], predicted: Any, probabilities: Any, said: str
) -> None:
    with pytest.raises(Usage, match=said) as refused:
        predict_both(root, more, predicted, probabilities)
    assert "\n" not in refused.value.message
    assert left(root) == []


def predict_both(root: Path, more: dict[str, Any], predicted: Any, probabilities: Any) -> None:
    with start(root, **more) as run:
        run.save(b"w")
        run.predict("val", predicted, probabilities)
        run.predict("test", predicted, probabilities)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"task": "regression"}, "label is string, expected a number for regression"),
        ({"task": "multilabel", "label_column": "label"}, "label is string, expected a list of texts"),
        ({"task": "detection", "label_column": "tags"}, "expected a list of boxes"),
        ({"label_column": "tags"}, "expected a text or an integer"),
    ],
)
def test_labels_of_another_task_are_refused_before_anything_is_learnt(
    root: Path, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(StageRefused, match=said):
        start(root, **more)


@pytest.mark.parametrize("key", ["02", "20"])
@pytest.mark.parametrize(
    ("column", "more"), [("label", {}), ("weight", {"task": "regression", "label_column": "weight"})]
)
def test_rows_without_a_label_are_named_before_anything_is_learnt(
    root: Path, key: str, column: str, more: dict[str, Any]
) -> None:
    Repo.find(root).update("data/rows", f"{column} = NULL", where=f"key = '{key}'")
    with pytest.raises(StageRefused, match=rf"1 row\(s\) have no {column}: {key}"):
        start(root, **more)


def test_a_script_that_forgets_something_is_told(root: Path) -> None:
    with pytest.raises(Usage, match="saved no model"), start(root):
        pass

    def forgets_a_split() -> None:
        with start(root) as run:
            run.save(b"w")
            run.predict("val", [0] * 6)

    with pytest.raises(Usage, match="nothing was predicted for test"):
        forgets_a_split()
    assert left(root) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "ranking"}, {"model": "../m"}, {"model": "/m"}, {"reports": ".git/x"}, {"evaluate": ()},
        {"evaluate": ("train",)}, {"evaluate": ("val", "val")}, {"tolerance": 0.1}, {"fit_split": "none"},
        {"deterministic": False, "tolerance": -1.0}, {"label_column": "colour"}, {"model": "data/rows/m"},
        {"model": "params.yaml"}, {"model": "dvc.lock"}, {"model": "reports"}, {"model": "reports/run.json"},
        {"model": "reports/metrics.json"}, {"model": "reports/environment.json"}, {"model": "reports/plots/roc.csv"},
        {"evaluate": "val"}, {"deterministic": False, "tolerance": "little"},
    ],
)  # fmt: skip
def test_impossible_arguments_are_refused(root: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises((Usage, StageRefused)) as refused:
        start(root, **wrong)
    assert isinstance(refused.value, DatapinError)
    assert "\n" not in refused.value.message


def test_leaks_are_refused_as_the_stage_refuses_them(root: Path) -> None:
    Repo.find(root).update("data/rows", "group = 'one'")
    with pytest.raises(StageRefused, match="group"):
        start(root)


SCRIPT = """
import os, sys
import datapin
with datapin.training("data/rows", deterministic=False, tolerance=0.1) as run:
    run.save(os.urandom(8))
    run.predict("val", [0] * 6)
    run.predict("test", [0] * 6)
    run.metric("loss", 1 + float(open("noise").read()))
"""
STAGE = """
stages:
  train:
    cmd: python train.py
    deps: [data/rows, train.py]
    outs: [models/model.bin, reports/predictions.parquet]
    metrics:
      - reports/metrics.json: {cache: false}
      - reports/run.json: {cache: false}
"""


def test_what_is_not_deterministic_is_held_to_its_metrics_within_a_tolerance(root: Path) -> None:
    clone = Clone(root)
    (root / "train.py").write_text(SCRIPT.replace('float(open("noise").read())', "0.0"))
    (root / "dvc.yaml").write_text(STAGE)
    clone.dvc("add", "-q", "data/rows")
    clone.dvc("repro", "-q")
    clone.commit("trained")
    report = Repo.find(root).verify("HEAD")
    assert report.ok, report.findings
    repo = Repo.find(root)
    again = repo.verify("HEAD", checks="repro.outputs")
    assert again.ok, again.findings
    assert "not deterministic" in " ".join(finding.message for finding in again.findings)
    record = read_record(root / "reports/run.json")
    assert (record["deterministic"], record["tolerance"]) == (False, 0.1)
    for gap, ok in ((0.05, True), (0.5, False)):
        # Something else than what DVC knows of: the metric moves from run to run.
        (root.parent / "noise").write_text("0")
        text = SCRIPT.replace('open("noise")', f"open({str(root.parent / 'noise')!r})")
        (root / "train.py").write_text(text)
        clone.dvc("repro", "-q")
        clone.commit(f"noise {gap}")
        (root.parent / "noise").write_text(str(gap))
        found = Repo.find(root).verify("HEAD", checks="repro.outputs")
        assert found.ok == ok, found.findings
        said = [finding for finding in found.findings if finding.where == "reports/metrics.json"]
        assert [one.severity for one in said] == ["note" if ok else "error"]
        assert "loss" in said[0].message
