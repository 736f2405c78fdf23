"""From dotted names to estimators: only scikit-learn's, seeded, on one thread, and clear words about anything else."""

from __future__ import annotations

import numpy as np
import pytest

from datapin.base.errors import BadSettings, StageRefused
from datapin.pipeline.params.params import validate_params
from datapin.pipeline.params.train_params import TrainParams
from datapin.pipeline.record.record import json_ready
from datapin.pipeline.training.estimators import (
    build_pipeline,
    described_params,
    fit,
    is_classifier,
    predict,
    probabilities,
)


def _params(**given: object) -> TrainParams:
    return validate_params(given, "params.yaml", "train", TrainParams)


def _points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 4)), np.array(["a", "b", "c"])[np.arange(60) % 3]


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "sklearn",
        "sklearn.ensemble",
        "sklearn.ensemble.NoSuchForest",
        "sklearn.nothing.Here",
        "sklearn.preprocessing.StandardScaler",
        "sklearn.datasets.load_digits",
        "sklearn.utils._testing.MinimalClassifier",
        "sklearn.externals.joblib.Parallel",
        "sklearn.base.BaseEstimator",
        "sklearn.ensemble._forest.ExtraTreesClassifier",
        "sklearn.ensemble.np.Array",
        "sklearn..ensemble.ExtraTreesClassifier",
        "sklearn.ensemble.ExtraTreesClassifier\n",
        "xgboost.XGBClassifier",
        "",
    ],
)
def test_a_name_that_is_no_estimator_of_scikit_learn_is_refused_with_its_place(name: str) -> None:
    with pytest.raises(BadSettings) as caught:
        build_pipeline(_params(estimator=name), "params.yaml")
    assert caught.value.where == "train.estimator"
    assert caught.value.exit_code == 10
    assert len(caught.value.message.splitlines()) == 1


def test_a_misspelt_estimator_is_answered_with_the_right_name() -> None:
    with pytest.raises(BadSettings, match="did you mean ExtraTreesClassifier"):
        build_pipeline(_params(estimator="sklearn.ensemble.ExtraTreeClasifier"), "params.yaml")


def test_a_misspelt_parameter_is_answered_with_the_right_name_and_its_place() -> None:
    with pytest.raises(BadSettings, match="did you mean n_estimators") as caught:
        build_pipeline(_params(estimator_params={"n_estimator": 5}), "p.yaml")
    assert caught.value.where == "train.estimator_params.n_estimator"
    assert caught.value.path == "p.yaml"


def test_an_impossible_value_is_bad_settings_and_not_a_traceback() -> None:
    pipeline = build_pipeline(_params(estimator_params={"n_estimators": -5}), "params.yaml")
    with pytest.raises(BadSettings, match="n_estimators") as caught:
        fit(pipeline, *_points(), "params.yaml")
    assert caught.value.exit_code == 10
    assert len(caught.value.message.splitlines()) == 1


def test_rows_that_an_estimator_cannot_learn_from_are_refused() -> None:
    pipeline = build_pipeline(_params(estimator="sklearn.naive_bayes.MultinomialNB"), "params.yaml")
    with pytest.raises(StageRefused, match="MultinomialNB cannot learn from these rows: Negative values"):
        fit(pipeline, *_points(), "params.yaml")


def test_every_step_gets_the_seed_and_one_job() -> None:
    params = _params(seed=7, scaler="standard", pca=2, estimator_params={"n_jobs": 2})
    pipeline = build_pipeline(params, "params.yaml")
    assert [name for name, _ in pipeline.steps] == ["scaler", "pca", "estimator"]
    assert pipeline["pca"].random_state == 7
    assert pipeline["estimator"].random_state == 7
    assert pipeline["estimator"].n_jobs == 1


def test_a_random_state_of_its_own_is_refused_because_the_seed_sets_it() -> None:
    with pytest.raises(BadSettings, match=r"give train\.seed instead"):
        build_pipeline(_params(estimator_params={"random_state": 3}), "params.yaml")


def test_estimators_nest_and_the_inner_one_is_seeded_too() -> None:
    inner = {"estimator": "sklearn.svm.LinearSVC", "estimator_params": {"C": 0.5}}
    params = _params(
        seed=5,
        estimator="sklearn.calibration.CalibratedClassifierCV",
        estimator_params={"estimator": inner, "cv": 3},
    )
    pipeline = build_pipeline(params, "params.yaml")
    assert pipeline["estimator"].estimator.random_state == 5
    assert pipeline["estimator"].estimator.C == 0.5
    fitted = fit(pipeline, *_points(), "params.yaml")
    given = probabilities(fitted.pipeline, _points()[0])
    assert given is not None
    assert given.shape == (60, 3)


def test_a_wrong_name_inside_a_nested_estimator_says_where_it_is() -> None:
    inner = {"estimator": "sklearn.svm.LinearSVX"}
    params = _params(estimator="sklearn.ensemble.BaggingClassifier", estimator_params={"estimator": inner})
    with pytest.raises(BadSettings) as caught:
        build_pipeline(params, "params.yaml")
    assert caught.value.where == "train.estimator_params.estimator.estimator"


def test_a_meta_estimator_without_its_estimator_is_bad_settings() -> None:
    with pytest.raises(BadSettings, match="estimator"):
        build_pipeline(_params(estimator="sklearn.multiclass.OneVsRestClassifier"), "params.yaml")


def test_regressors_are_told_from_classifiers() -> None:
    assert is_classifier(build_pipeline(_params(), "params.yaml"))
    assert not is_classifier(build_pipeline(_params(estimator="sklearn.linear_model.Ridge"), "params.yaml"))


def test_an_estimator_without_probabilities_gives_none() -> None:
    fitted = fit(build_pipeline(_params(estimator="sklearn.svm.LinearSVC"), "params.yaml"), *_points(), "params.yaml")
    assert probabilities(fitted.pipeline, _points()[0]) is None
    assert set(predict(fitted.pipeline, _points()[0])) <= {"a", "b", "c"}


def test_warnings_of_the_fit_are_kept_once_each() -> None:
    params = _params(estimator="sklearn.neural_network.MLPClassifier", estimator_params={"max_iter": 2})
    fitted = fit(build_pipeline(params, "params.yaml"), *_points(), "params.yaml")
    assert len(fitted.warnings) == 1
    assert "Maximum iterations" in fitted.warnings[0]


def test_the_description_holds_every_parameter_defaults_included_as_plain_values() -> None:
    pipeline = build_pipeline(_params(estimator_params={"n_estimators": 9}), "params.yaml")
    described = described_params(pipeline)["estimator"]
    assert described["class"] == "sklearn.ensemble.ExtraTreesClassifier"
    assert described["params"]["n_estimators"] == 9
    assert described["params"]["max_features"] == "sqrt"
    assert json_ready(described) == described


@pytest.mark.parametrize(
    "given",
    [
        {"pca": 0},
        {"pca": "all"},
        {"pca": True},
        {"scaler": "robust"},
        {"seed": -1},
        {"seed": "1"},
        {"model": "../model.skops"},
        {"model": "models/model.pkl"},
        {"reports": "/tmp/reports"},
        {"input": ".git/x"},
        {"evaluate": ["val", "val"]},
        {"estimater": "sklearn.svm.SVC"},
        {"estimator_params": [1]},
    ],
)
def test_impossible_params_are_one_clear_line_with_exit_code_10(given: dict[str, object]) -> None:
    with pytest.raises(BadSettings) as caught:
        _params(**given)
    assert caught.value.exit_code == 10
    assert caught.value.where.startswith("train.")
    assert len(caught.value.message.splitlines()) == 1
