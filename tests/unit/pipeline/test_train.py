"""Stage train on real manifests: what it writes, that bytes repeat, what it refuses, what a kill leaves."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from datapin.base.errors import BadSettings, DatapinError, StageRefused, StorageFailed
from datapin.base.settings import StoreSettings
from datapin.manifest.write import write_manifest
from datapin.pipeline.mapping.context import StageContext, StageReport
from datapin.pipeline.mapping.memo import Memo
from datapin.pipeline.record.environment_file import environment_of
from datapin.pipeline.record.record import read_record
from datapin.pipeline.stages.train import note_commit, run_train
from datapin.pipeline.training.model_file import load_model
from datapin.store.store import Store

OUTPUTS = (
    "models/model.skops",
    "reports/environment.json",
    "reports/metrics.json",
    "reports/plots/calibration.csv",
    "reports/plots/class_distribution.csv",
    "reports/plots/confusion_matrix.csv",
    "reports/plots/roc.csv",
    "reports/predictions.parquet",
    "reports/run.json",
)
BESIDE = ("reports/environment.json", "reports/run.json")  # no outputs that the record names
INPUTS = {"data/augmented": "sha256:" + "1" * 64, "data/raw": "sha256:" + "2" * 64}


def feature_table(classes: tuple[str, ...] = ("ant", "bee", "cat"), rows: int = 120, width: int = 5) -> pa.Table:
    """Separable classes; a fifth of the rows val, a fifth test, the others train, each with one derived row."""
    rng = np.random.default_rng(3)
    number = np.arange(rows) % len(classes)
    split = np.array(["train", "train", "train", "val", "test"])[np.arange(rows) // len(classes) % 5]
    points = rng.normal(size=(rows, width)) + 3.0 * number[:, None] * np.eye(width)[0]
    keys = [f"{classes[n]}/{i:04d}.png" for i, n in enumerate(number)]
    ids = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    is_parent = np.flatnonzero(split == "train")
    all_points = np.concatenate([points, points[is_parent] + 0.1]).astype(np.float32)
    parents = [*keys, *(keys[i] for i in is_parent)]  # a prepared row has the parent of its own name
    return pa.table(
        {
            "key": [*keys, *(f"{keys[i][:-4]}~1.png" for i in is_parent)],
            "asset_id": [*ids, *(hashlib.sha256(f"{keys[i]}~1".encode()).hexdigest() for i in is_parent)],
            "size": pa.array([100] * len(parents), pa.int64()),
            "media_type": ["image/png"] * len(parents),
            "label": [classes[n] for n in [*number, *number[is_parent]]],
            "split": [*split, *split[is_parent]],
            "parent": parents,
            "parent_id": [*ids, *(ids[i] for i in is_parent)],
            "operator": ["e" * 64] * rows + ["f" * 64] * len(is_parent),
            "features": pa.FixedSizeListArray.from_arrays(pa.array(all_points.reshape(-1)), width),
        }
    )


def write_features(root: Path, table: pa.Table, properties: dict[str, str] | None = None) -> None:
    (root / "data").mkdir(parents=True, exist_ok=True)
    write_manifest(
        table, root / "data/features", properties={"datapin.inputs": json.dumps(INPUTS), **(properties or {})}
    )


def context_of(root: Path) -> StageContext:
    store = Store.create(root / ".datapin/store", StoreSettings())
    return StageContext(root=root, store=store, memo=Memo(root / ".datapin/memo"))


def train(root: Path, text: str = "train: {estimator_params: {n_estimators: 10}}\n") -> StageReport:
    (root / "params.yaml").write_text(text)
    return run_train(context_of(root), root / "params.yaml")


def hashes(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("models", "reports")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_features(tmp_path, feature_table())
    return tmp_path


def test_train_writes_the_model_its_reports_and_nothing_else(root: Path) -> None:
    report = train(root)
    assert tuple(sorted(hashes(root))) == OUTPUTS
    assert report.stage == "train"
    assert report.rows == 192
    assert report.digest == hashes(root)["models/model.skops"]
    assert not list((root / ".datapin/tmp").glob(".tmp-*"))


def test_the_record_names_every_input_param_and_output(root: Path) -> None:
    train(root, "prepare: {resize: 8}\nother: {x: 1}\ntrain: {seed: 3, estimator_params: {n_estimators: 10}}\n")
    record = read_record(root / "reports/run.json")
    assert set(record["inputs"]) == {"data/features", "data/augmented", "data/raw"}
    assert record["inputs"]["data/raw"] == INPUTS["data/raw"]
    assert record["params"] == {
        "prepare": {"resize": 8},
        "train": {"seed": 3, "estimator_params": {"n_estimators": 10}},
    }
    assert record["classes"] == ["ant", "bee", "cat"]
    assert record["rows"] == {"fit": 72, "fit_augmented": 72, "val": 24, "test": 24}
    assert record["estimator"]["estimator"]["params"]["n_estimators"] == 10
    seen = hashes(root)
    assert record["model"] == {"path": "models/model.skops", "sha256": seen["models/model.skops"]}
    assert record["outputs"] == {path: seen[path] for path in OUTPUTS if path not in BESIDE}
    assert record["metrics"] == json.loads((root / "reports/metrics.json").read_bytes())
    environment = environment_of(record, (root / "reports/environment.json").read_bytes())
    assert environment is not None
    assert {"numpy", "scikit-learn", "skops"} <= set(environment["libraries"])
    assert environment["blas"]
    assert "environment" not in record


def test_the_metrics_are_those_of_the_model_file_on_originals_only(root: Path) -> None:
    train(root)
    model, table = load_model(root / "models/model.skops"), feature_table()
    metrics = json.loads((root / "reports/metrics.json").read_bytes())
    for split in ("val", "test"):
        rows = table.filter((pc.field("split") == split) & (pc.field("parent") == pc.field("key")))
        points = np.array(rows["features"].to_pylist(), dtype=np.float64)
        accuracy = (model.predict(points) == np.array(rows["label"].to_pylist())).mean()
        assert metrics[split]["accuracy"] == pytest.approx(accuracy, abs=1e-6)
        assert metrics[split]["rows"] == rows.num_rows
        assert accuracy > 0.7


def test_predictions_hold_every_evaluated_row_in_key_order_with_its_loss(root: Path) -> None:
    train(root)
    table = pq.read_table(root / "reports/predictions.parquet")
    assert table.column_names == ["key", "split", "label", "predicted", "probability", "loss"]
    keys = table["key"].to_pylist()
    assert keys == sorted(keys)
    assert table.num_rows == 48
    metrics = json.loads((root / "reports/metrics.json").read_bytes())
    frame = table.to_pandas()
    for split in ("val", "test"):
        part = frame[frame.split == split]
        assert part.loss.mean() == pytest.approx(metrics[split]["log_loss"], abs=1e-6)
        assert (part.label == part.predicted).mean() == pytest.approx(metrics[split]["accuracy"], abs=1e-6)
    right = frame[frame.label == frame.predicted]
    assert np.allclose(-np.log(right.probability), right.loss, atol=1e-6)


def test_plots_are_the_counts_behind_the_metrics(root: Path) -> None:
    train(root)
    lines = (root / "reports/plots/confusion_matrix.csv").read_text().splitlines()
    pairs = [line.split(",") for line in lines[1:]]
    metrics = json.loads((root / "reports/metrics.json").read_bytes())
    assert sum(a == p for a, p in pairs) / len(pairs) == pytest.approx(metrics["test"]["accuracy"], abs=1e-6)
    parts = (root / "reports/plots/class_distribution.csv").read_text().splitlines()
    assert "ant,fit,24" in parts
    assert 'ant,"fit, augmented",24' in parts
    assert "ant,test,8" in parts
    roc = (root / "reports/plots/roc.csv").read_text().splitlines()
    assert (roc[0], roc[1], roc[-1]) == ("fpr,tpr", "0.0,0.0", "1.0,1.0")


_TRAIN_MANY = """
import hashlib, sys
from pathlib import Path
from datapin.base.settings import StoreSettings
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.memo import Memo
from datapin.pipeline.stages.train import run_train
from datapin.store.store import Store
root = Path(sys.argv[1])
store = Store.create(root / ".datapin/store", StoreSettings())
for params in sys.argv[2:]:
    (root / "params.yaml").write_text(params)
    run_train(StageContext(root=root, store=store, memo=Memo(root / ".datapin/memo")), root / "params.yaml")
    for path in sorted([*root.glob("models/*"), *root.glob("reports/**/*")]):
        if path.is_file():
            print(path.relative_to(root), hashlib.sha256(path.read_bytes()).hexdigest())
"""
_ESTIMATORS = (
    "train: {estimator_params: {n_estimators: 10}}\n",
    "train: {estimator: sklearn.linear_model.LogisticRegression, scaler: standard, pca: 3}\n",
    "train: {estimator: sklearn.neural_network.MLPClassifier, estimator_params: {max_iter: 20}, scaler: minmax}\n",
    "train: {estimator: sklearn.ensemble.HistGradientBoostingClassifier, estimator_params: {max_iter: 5}}\n",
)


def test_bytes_depend_on_no_hash_seed_thread_count_time_zone_language_or_folder_name(tmp_path: Path) -> None:
    table, seen = feature_table(), []
    surroundings: tuple[dict[str, str], ...] = (
        {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TZ": "UTC", "LANG": "C"},
        {"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "4", "TZ": "Asia/Tokyo", "LANG": "de_DE.UTF-8", "LC_ALL": "C.UTF-8"},
    )
    for number, environment in enumerate(surroundings):
        root = tmp_path / ("ä folder" if number else "b")
        write_features(root, table)
        done = subprocess.run(
            [sys.executable, "-c", _TRAIN_MANY, str(root), *_ESTIMATORS],
            env={**os.environ, **environment},
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        seen.append(done.stdout.splitlines())
    assert seen[0] == seen[1]
    assert len(seen[0]) == len(_ESTIMATORS) * len(OUTPUTS)


def test_a_second_train_in_the_same_process_gives_the_same_bytes(root: Path) -> None:
    train(root)
    first = hashes(root)
    train(root)
    assert hashes(root) == first


def test_rows_without_lineage_are_all_originals(tmp_path: Path) -> None:
    write_features(tmp_path, feature_table().drop_columns(["parent", "parent_id", "operator"]))
    train(tmp_path)
    assert read_record(tmp_path / "reports/run.json")["rows"] == {"fit": 144, "fit_augmented": 0, "val": 24, "test": 24}


def test_a_train_with_nothing_to_be_measured_on_says_so(root: Path) -> None:
    report = train(root, "train: {evaluate: [holdout]}\n")
    assert [finding.check for finding in report.findings] == ["no-evaluation"]
    assert json.loads((root / "reports/metrics.json").read_bytes()) == {}
    assert tuple(sorted(hashes(root))) == OUTPUTS


def test_another_seed_gives_another_model(root: Path) -> None:
    train(root)
    first = hashes(root)["models/model.skops"]
    train(root, "train: {seed: 1, estimator_params: {n_estimators: 10}}\n")
    assert hashes(root)["models/model.skops"] != first


def test_the_class_index_is_the_pinned_one_even_if_a_class_has_no_rows(tmp_path: Path) -> None:
    write_features(tmp_path, feature_table(), {"datapin.classes": json.dumps(["aardvark", "ant", "bee", "cat"])})
    train(tmp_path)
    assert read_record(tmp_path / "reports/run.json")["classes"] == ["aardvark", "ant", "bee", "cat"]
    metrics = json.loads((tmp_path / "reports/metrics.json").read_bytes())
    assert [one["support"] for one in metrics["test"]["per_class"]] == [0, 8, 8, 8]


def test_a_class_that_only_the_test_rows_have_counts_as_missed(tmp_path: Path) -> None:
    table = feature_table()
    label = pa.array(
        [
            "dog" if s == "test" else v
            for v, s in zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True)
        ]
    )
    write_features(tmp_path, table.set_column(table.column_names.index("label"), "label", label))
    train(tmp_path)
    metrics = json.loads((tmp_path / "reports/metrics.json").read_bytes())
    assert metrics["test"]["accuracy"] == 0.0
    assert metrics["test"]["log_loss"] == pytest.approx(36.04, abs=0.01)


def test_whole_number_labels_are_classes_for_a_classifier(tmp_path: Path) -> None:
    table = feature_table()
    numbers = pa.array([("ant", "bee", "cat").index(v) for v in table["label"].to_pylist()], pa.int64())
    write_features(tmp_path, table.set_column(table.column_names.index("label"), "label", numbers))
    train(tmp_path)
    assert read_record(tmp_path / "reports/run.json")["classes"] == ["0", "1", "2"]


def test_two_classes_give_the_curve_of_the_second(tmp_path: Path) -> None:
    write_features(tmp_path, feature_table(("no", "yes")))
    train(tmp_path)
    lines = (tmp_path / "reports/plots/calibration.csv").read_text().splitlines()[1:]
    assert sum(int(line.split(",")[2]) for line in lines) == 24


def test_an_estimator_without_probabilities_leaves_losses_of_0_and_1_and_empty_curves(root: Path) -> None:
    train(root, "train: {estimator: sklearn.svm.LinearSVC}\n")
    assert tuple(sorted(hashes(root))) == OUTPUTS
    table = pq.read_table(root / "reports/predictions.parquet")
    assert set(table["loss"].to_pylist()) <= {0.0, 1.0}
    assert table["probability"].null_count == table.num_rows
    assert (root / "reports/plots/roc.csv").read_text() == "fpr,tpr\n"
    assert "log_loss" not in json.loads((root / "reports/metrics.json").read_bytes())["test"]


def test_numbers_are_predicted_by_a_regressor(tmp_path: Path) -> None:
    table = feature_table()
    first = np.array(table["features"].to_pylist())[:, 0]
    write_features(tmp_path, table.set_column(table.column_names.index("label"), "label", pa.array(first * 2.0 + 1.0)))
    train(tmp_path, "train: {estimator: sklearn.linear_model.Ridge}\n")
    metrics = json.loads((tmp_path / "reports/metrics.json").read_bytes())
    assert metrics["test"]["r2"] > 0.99
    record = read_record(tmp_path / "reports/run.json")
    assert (record["task"], record["classes"]) == ("regression", [])
    assert (tmp_path / "reports/plots/residuals.csv").read_text().startswith("actual,predicted\n")
    table = pq.read_table(tmp_path / "reports/predictions.parquet")
    errors = np.array(table["label"].to_pylist()) - np.array(table["predicted"].to_pylist())
    assert np.allclose(errors**2, table["loss"].to_pylist(), atol=1e-8)


def test_plots_of_an_earlier_kind_of_training_are_removed(root: Path) -> None:
    (root / "reports/plots").mkdir(parents=True)
    (root / "reports/plots/residuals.csv").write_text("actual,predicted\n")
    (root / "reports/plots/mine.csv").write_text("a file of the user's\n")
    train(root)
    assert set(hashes(root)) == {*OUTPUTS, "reports/plots/mine.csv"}


def _without(column: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns([column])


def _with_label(label: str | None, *, only_in: str = "") -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        old, keys = table["label"].to_pylist(), table["key"].to_pylist()
        new = [label if only_in in key else value for value, key in zip(old, keys, strict=True)]
        return table.set_column(table.column_names.index("label"), "label", pa.array(new, pa.string()))

    return change


def _with_features(change: Callable[[np.ndarray], pa.Array]) -> Callable[[pa.Table], pa.Table]:
    def changed(table: pa.Table) -> pa.Table:
        points = np.array(table["features"].to_pylist(), dtype=np.float32)
        return table.set_column(table.column_names.index("features"), "features", change(points))

    return changed


def _not_a_number(points: np.ndarray) -> pa.Array:
    points[7, 2] = np.nan
    return pa.FixedSizeListArray.from_arrays(pa.array(points.reshape(-1)), points.shape[1])


def _one_missing(points: np.ndarray) -> pa.Array:
    lists = [None if i == 7 else row.tolist() for i, row in enumerate(points)]
    return pa.array(lists, pa.list_(pa.float32(), points.shape[1]))


def _all_in_val(table: pa.Table) -> pa.Table:
    return table.set_column(table.column_names.index("split"), "split", pa.array(["val"] * table.num_rows))


def _real_labels(table: pa.Table) -> pa.Table:
    return table.set_column(table.column_names.index("label"), "label", pa.array(np.linspace(0, 1, table.num_rows)))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_without("label"), "data/features has no column label"),
        (_without("features"), "data/features has no column features"),
        (_without("split"), "data/features has no column split"),
        (_with_label("ant"), "one class only, 'ant'"),
        (_with_label(None, only_in="bee/0001"), "have no label: bee/0001.png"),
        (_all_in_val, "no rows with split = 'train'"),
        (_real_labels, "label is double, but sklearn.ensemble.ExtraTreesClassifier is a classifier"),
        (_with_features(_not_a_number), "1 row(s) have features that are not finite: bee/0007.png"),
        (_with_features(_one_missing), "1 row(s) have no features: bee/0007.png"),
        (_with_features(lambda p: pa.array(p[:, 0])), "features is float, expected fixed_size_list of numbers"),
    ],
)
def test_rows_it_cannot_learn_from_are_refused_in_one_line_with_a_hint(
    change: Callable[[pa.Table], pa.Table], expected: str, tmp_path: Path
) -> None:
    write_features(tmp_path, change(feature_table()))
    with pytest.raises(StageRefused) as caught:
        train(tmp_path)
    assert expected in caught.value.message
    assert len(caught.value.message.splitlines()) == 1
    assert caught.value.hint
    assert caught.value.exit_code == 40
    assert not (tmp_path / "models").exists()
    assert not (tmp_path / "reports").exists()


def test_text_labels_are_refused_by_a_regressor(root: Path) -> None:
    with pytest.raises(StageRefused, match="is a regressor and expects numbers"):
        train(root, "train: {estimator: sklearn.linear_model.Ridge}\n")


def test_a_label_outside_the_pinned_classes_is_refused(tmp_path: Path) -> None:
    write_features(tmp_path, feature_table(), {"datapin.classes": '["ant", "bee"]'})
    with pytest.raises(StageRefused, match="labels cat are not among the classes ant, bee"):
        train(tmp_path)


def test_more_components_than_features_are_bad_settings_with_the_numbers(root: Path) -> None:
    with pytest.raises(BadSettings, match="9 components of 5 features in 144 rows, at most 5") as caught:
        train(root, "train: {pca: 9}\n")
    assert caught.value.exit_code == 10


@pytest.mark.parametrize("place", ["model: data/features/m.skops", "reports: data", "reports: data/features/reports"])
def test_outputs_that_overlap_the_input_are_bad_settings(place: str, root: Path) -> None:
    with pytest.raises(BadSettings, match="overlap"):
        train(root, f"train: {{{place}}}\n")


def test_a_train_without_its_input_is_a_foreseen_error(tmp_path: Path) -> None:
    with pytest.raises(DatapinError, match="data/features"):
        train(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it_and_keeps_the_old_files(root: Path) -> None:
    train(root)
    before = hashes(root)
    (root / "blocked").write_text("a file where a folder should be")
    with pytest.raises(StorageFailed, match="blocked"):
        train(root, "train: {seed: 4, model: blocked/model.skops}\n")
    assert hashes(root) == before


def test_the_commit_goes_into_a_note_that_names_its_record(root: Path) -> None:
    train(root)
    before = hashes(root)
    note = note_commit(root, root / "params.yaml", commit="c" * 40, dirty=True)
    assert note == root / "reports/run.git.json"
    seen = json.loads(note.read_bytes())
    assert seen == {"format": 1, "commit": "c" * 40, "dirty": True, "record_sha256": before["reports/run.json"]}
    assert {k: v for k, v in hashes(root).items() if k != "reports/run.git.json"} == before
