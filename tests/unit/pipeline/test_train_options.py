"""Stage train: weights, several labels of a row, early stopping on another split; what does not go together is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils.class_weight import compute_sample_weight

from datapin.base.errors import BadSettings, DatapinError, StageRefused
from datapin.pipeline.record.record import read_record
from datapin.pipeline.training.model_file import load_model
from unit.pipeline.test_train import feature_table, hashes, train, write_features

HISTOGRAM = "sklearn.ensemble.HistGradientBoostingClassifier"
MLP = "sklearn.neural_network.MLPClassifier"


INNER = "estimator_params: {estimator: {estimator: sklearn.linear_model.LogisticRegression}}"


def fitted(root: Path, text: str) -> tuple[Any, str]:
    """The model and its hash."""
    report = train(root, f"train: {{{text}}}\n")
    return load_model(root / "models/model.skops"), report.digest


def table_with(**columns: Any) -> pa.Table:
    table = feature_table()
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.append_column(name, values) if place < 0 else table.set_column(place, name, values)
    return table


def fit_rows(table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and places of the rows to learn from, in key order."""
    order = pc.sort_indices(table["key"]).to_numpy()
    used = order[(np.asarray(table["split"].to_pylist()) == "train")[order]]
    features = np.asarray(table["features"].to_pylist(), dtype=np.float64)[used]
    return features, np.asarray(table["label"].to_pylist())[used], used


# --- weights


def test_weights_of_rows_are_those_of_the_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    table = table_with(trust=pa.array(rng.random(len(feature_table())).round(3)))
    write_features(tmp_path, table)
    text = "estimator: sklearn.linear_model.LogisticRegression"
    model, weighted = fitted(tmp_path, f"{text}, sample_weight: trust")
    features, labels, used = fit_rows(table)
    expected = type(model[-1])(random_state=0).fit(features, labels, np.asarray(table["trust"].to_pylist())[used])
    np.testing.assert_allclose(model[-1].coef_, expected.coef_, rtol=1e-6)
    assert fitted(tmp_path, text)[1] != weighted


@pytest.mark.parametrize("given", ["balanced", "{ant: 3, cat: 0.5}"])
def test_weights_of_classes_multiply_those_of_rows(tmp_path: Path, given: str) -> None:
    table = table_with(trust=pa.array(np.arange(len(feature_table())) % 7 + 1))
    uneven = table.filter(pa.array(np.arange(len(table)) % 4 != 0)).combine_chunks()
    write_features(tmp_path, uneven)
    model, _ = fitted(
        tmp_path, f"estimator: sklearn.naive_bayes.GaussianNB, sample_weight: trust, class_weight: {given}"
    )
    features, labels, used = fit_rows(uneven)
    balance = "balanced" if given == "balanced" else {"ant": 3, "cat": 0.5, "bee": 1}
    weights = compute_sample_weight(balance, labels) * np.asarray(uneven["trust"].to_pylist())[used]
    expected = type(model[-1])().fit(features, labels, weights)
    np.testing.assert_allclose(model[-1].class_prior_, expected.class_prior_)


def bad_weights(root: Path, values: list[Any]) -> None:
    table = feature_table()
    write_features(root, table_with(trust=pa.array([*values, *[1] * (len(table) - len(values))])))


@pytest.mark.parametrize(
    ("values", "text", "said"),
    [
        ([1], "sample_weight: nope", "no column 'nope'"),
        ([None], "sample_weight: trust", "1 row.* no weight from 0 on in trust: ant/0000"),
        ([-1.0], "sample_weight: trust", "no weight from 0 on"),
        ([float("nan")], "sample_weight: trust", "no weight from 0 on"),
        ([1], "sample_weight: label", "label is string, expected numbers"),
        ([0] * 192, "sample_weight: trust", "all weights in trust are 0"),
        ([1], "class_weight: {dog: 2}", "'dog': no row to learn from"),
        ([1], "class_weight: {ant: 0}", "greater than 0, seen 0"),
        ([1], "class_weight: heavy", "balanced"),
        ([1], "sample_weight: trust, estimator: sklearn.neighbors.KNeighborsClassifier", "takes no weights"),
        ([1], "estimator_params: {warm_start: true}", "goes on from an earlier fit"),
    ],
)
def test_what_is_no_weight_is_refused_and_nothing_is_written(
    tmp_path: Path, values: list[Any], text: str, said: str
) -> None:
    bad_weights(tmp_path, values)
    with pytest.raises((BadSettings, StageRefused), match=said) as caught:
        fitted(tmp_path, text)
    assert len(caught.value.message.splitlines()) == 1
    assert not (tmp_path / "models").exists()


# --- several labels


SEVERAL = "label_column: labels"


def several(root: Path, change: Callable[[int, str], Any] = lambda _, label: [label]) -> pa.Table:
    """Rows of the first class are of the third, too."""
    labels = feature_table()["label"].to_pylist()
    lists = [change(n, label) + (["cat"] if label == "ant" else []) for n, label in enumerate(labels)]
    table = table_with(labels=pa.array(lists, pa.list_(pa.string())))
    write_features(root, table)
    return table


@pytest.mark.parametrize(
    "text",
    [
        "estimator_params: {n_estimators: 20}",
        f"estimator: sklearn.multioutput.MultiOutputClassifier, scaler: standard, {INNER}",
        f"estimator: sklearn.multioutput.ClassifierChain, {INNER}",
        "estimator: sklearn.neural_network.MLPClassifier, estimator_params: {max_iter: 400}",
        "estimator: sklearn.neighbors.KNeighborsClassifier",
    ],
)
def test_rows_with_several_labels(tmp_path: Path, text: str) -> None:
    several(tmp_path)
    _, digest = fitted(tmp_path, f"{SEVERAL}, {text}")
    record = read_record(tmp_path / "reports/run.json")
    assert (record["task"], record["classes"]) == ("multilabel", ["ant", "bee", "cat"])
    assert record["metrics"]["test"]["exact"] > 0.6
    predictions = pq.read_table(tmp_path / "reports/predictions.parquet")
    assert len(predictions) == 48
    assert ["ant", "cat"] in predictions["predicted"].to_pylist()
    assert max(predictions["loss"].to_pylist()) > min(predictions["loss"].to_pylist()) >= 0
    before = hashes(tmp_path)
    assert fitted(tmp_path, f"{SEVERAL}, {text}")[1] == digest
    assert hashes(tmp_path) == before


def test_a_class_that_every_row_has_and_rows_without_any(tmp_path: Path) -> None:
    several(tmp_path, lambda n, label: [] if n % 10 == 9 else [label, "insect"])
    fitted(tmp_path, f"{SEVERAL}, estimator_params: {{n_estimators: 5}}")
    shutil.rmtree(tmp_path / "data")
    table = table_with(labels=pa.array([["insect", *([label] if n % 2 else [])] for n, label in enumerate("ab" * 96)]))
    write_features(tmp_path, table)
    fitted(tmp_path, f"{SEVERAL}, estimator_params: {{n_estimators: 5}}")
    assert read_record(tmp_path / "reports/run.json")["classes"] == ["b", "insect"]


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("estimator: sklearn.linear_model.LogisticRegression", "one label, rows here have several", "MultiOutput"),
        ("estimator: sklearn.linear_model.Ridge", "is a regressor and expects numbers", "classifier"),
        ("class_weight: balanced", "no class weights for rows with several labels", "sample_weight"),
        ("label_column: nope", "no column nope", "columns: "),
        (f"estimator: {MLP}, early_stopping: {{}}", "learns in no rounds", "HistGradientBoosting"),
    ],
)
def test_what_several_labels_do_not_go_with(tmp_path: Path, text: str, said: str, hint: str) -> None:
    several(tmp_path)
    with pytest.raises(DatapinError, match=said) as caught:
        fitted(tmp_path, text if "label_column" in text else f"{SEVERAL}, {text}")
    assert hint in caught.value.hint


def test_empty_labels_and_one_class_alone_are_refused(tmp_path: Path) -> None:
    several(tmp_path, lambda n, label: [None] if n == 4 else [label])
    with pytest.raises(StageRefused, match=r"a label in a list is empty: bee/0004"):
        fitted(tmp_path, f"{SEVERAL}, estimator_params: {{n_estimators: 5}}")
    shutil.rmtree(tmp_path / "data")
    write_features(tmp_path, table_with(labels=pa.array([["a"]] * len(feature_table()))))
    with pytest.raises(StageRefused, match="one class only, 'a'"):
        fitted(tmp_path, f"{SEVERAL}, estimator_params: {{n_estimators: 5}}")


# --- early stopping


def noisy(root: Path) -> None:
    """A quarter of the labels to learn from are of another class: more rounds learn them by heart."""
    table = feature_table()
    rng = np.random.default_rng(1)
    labels = np.asarray(table["label"].to_pylist())
    wrong = (np.asarray(table["split"].to_pylist()) == "train") & (rng.random(len(labels)) < 0.25)
    labels[wrong] = rng.permutation(labels[wrong])
    write_features(root, table_with(label=pa.array(labels)))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f"estimator: {HISTOGRAM}", "max_iter"),
        ("estimator: sklearn.ensemble.GradientBoostingClassifier, scaler: standard", "n_estimators"),
        ("estimator: sklearn.ensemble.AdaBoostClassifier", "n_estimators"),
        (f"estimator: {MLP}, scaler: standard, estimator_params: {{learning_rate_init: 0.05}}", None),
        ("estimator: sklearn.linear_model.SGDClassifier, scaler: standard", None),
        ("estimator: sklearn.linear_model.SGDClassifier, estimator_params: {loss: log_loss}", None),
    ],
)
def test_the_best_round_on_another_split_is_kept(tmp_path: Path, text: str, count: str | None) -> None:
    noisy(tmp_path)
    model, digest = fitted(tmp_path, f"{text}, early_stopping: {{rounds: 40, patience: 5}}")
    stopped = read_record(tmp_path / "reports/run.json")["early_stopping"]
    assert stopped["split"] == "val"
    assert 1 <= stopped["rounds"] <= stopped["tried"] <= 40
    assert stopped["rounds"] == stopped["tried"] or stopped["tried"] - stopped["rounds"] <= 5
    if count is not None:
        assert model[-1].get_params()[count] == stopped["rounds"]
    metrics = json.loads((tmp_path / "reports/metrics.json").read_bytes())["val"]
    told = metrics["log_loss"] if "log_loss" in metrics else 1 - metrics["accuracy"]
    assert told == pytest.approx(stopped["loss"], abs=1e-5), "what is measured is the round that was kept"
    before = hashes(tmp_path)
    assert fitted(tmp_path, f"{text}, early_stopping: {{rounds: 40, patience: 5}}")[1] == digest
    assert hashes(tmp_path) == before


def test_a_regressor_stops_by_its_squared_error(tmp_path: Path) -> None:
    table = feature_table()
    labels = np.asarray(table["features"].to_pylist())[:, 0] + np.random.default_rng(0).normal(size=len(table))
    write_features(tmp_path, table_with(label=pa.array(labels)))
    for name in ("ensemble.HistGradientBoostingRegressor", "linear_model.SGDRegressor", "ensemble.AdaBoostRegressor"):
        fitted(tmp_path, f"estimator: sklearn.{name}, early_stopping: {{rounds: 30, patience: 3}}")
        record = read_record(tmp_path / "reports/run.json")
        rmse = record["metrics"]["val"]["rmse"]
        assert rmse**2 == pytest.approx(record["early_stopping"]["loss"], rel=1e-4)


def test_weights_count_in_rounds_too(tmp_path: Path) -> None:
    bad_weights(tmp_path, [9.0, 0.0] * 40)
    text = f"estimator: {HISTOGRAM}, early_stopping: {{rounds: 5}}"
    assert fitted(tmp_path, text)[1] != fitted(tmp_path, f"{text}, sample_weight: trust")[1]


def test_a_class_that_only_the_watched_rows_have_costs_and_does_not_fail(tmp_path: Path) -> None:
    table = feature_table()
    splits = table["split"].to_pylist()
    labels = ["dog" if split == "val" and n % 2 else label for n, (split, label) in enumerate(
        zip(splits, table["label"].to_pylist(), strict=True)
    )]  # fmt: skip
    write_features(tmp_path, table_with(label=pa.array(labels)))
    fitted(tmp_path, f"estimator: {HISTOGRAM}, early_stopping: {{rounds: 5}}")
    assert read_record(tmp_path / "reports/run.json")["early_stopping"]["loss"] > 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("early_stopping: {}", "ExtraTreesClassifier learns in no rounds"),
        (f"estimator: {HISTOGRAM}, early_stopping: {{split: train}}", "learnt from"),
        (f"estimator: {HISTOGRAM}, early_stopping: {{split: dev}}", "no rows with split = 'dev'"),
        (f"estimator: {HISTOGRAM}, early_stopping: {{patience: 0}}", "greater than or equal to 1"),
        (f"estimator: {HISTOGRAM}, early_stopping: {{round: 3}}", "unknown name"),
    ],
)
def test_what_cannot_stop_early_is_refused(tmp_path: Path, text: str, said: str) -> None:
    bad_weights(tmp_path, [1])
    with pytest.raises((BadSettings, StageRefused), match=said):
        fitted(tmp_path, text)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("text", "warns"),
    [
        (f"estimator: {MLP}, estimator_params: {{early_stopping: true, max_iter: 5}}", True),
        (f"estimator: {HISTOGRAM}, estimator_params: {{early_stopping: true, max_iter: 5}}", True),
        (f"estimator: {HISTOGRAM}, estimator_params: {{max_iter: 5}}", False),
        ("estimator: sklearn.ensemble.GradientBoostingClassifier, estimator_params: {n_iter_no_change: 2}", True),
        ("estimator: sklearn.ensemble.GradientBoostingClassifier, estimator_params: {n_estimators: 2}", False),
    ],
)
def test_an_estimator_that_sets_rows_aside_by_itself_is_warned_of(tmp_path: Path, text: str, warns: bool) -> None:
    write_features(tmp_path, feature_table())
    report = train(tmp_path, f"train: {{{text}}}\n")
    assert [one.check for one in report.findings if one.check == "own-validation"] == ["own-validation"] * warns


def test_the_automatic_choice_of_the_histogram_is_overruled(tmp_path: Path) -> None:
    write_features(tmp_path, feature_table())
    model, _ = fitted(tmp_path, f"estimator: {HISTOGRAM}, early_stopping: {{rounds: 3}}")
    assert isinstance(model[-1], HistGradientBoostingClassifier)
    assert model[-1].early_stopping is False
