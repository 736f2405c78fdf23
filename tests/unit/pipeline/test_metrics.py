"""Metrics against scikit-learn's, and their bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics as reference

from datapin.pipeline.record.fingerprint import report_json
from datapin.pipeline.training.metrics import (
    calibration_curve,
    classification_metrics,
    confusion_matrix,
    regression_metrics,
    roc_curve,
    rounded,
    row_losses,
)

CLASSES = ("ant", "bee", "cat")


def _random_predictions(rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    actual = rng.integers(0, 3, rows)
    probabilities = rng.dirichlet((1.0, 2.0, 0.5), rows)
    return actual, probabilities.argmax(axis=1), probabilities


def test_classification_figures_are_those_of_scikit_learn() -> None:
    actual, predicted, probabilities = _random_predictions()
    seen = classification_metrics(actual, predicted, probabilities, CLASSES)
    precision, recall, f1, support = reference.precision_recall_fscore_support(actual, predicted)
    assert seen["accuracy"] == pytest.approx(reference.accuracy_score(actual, predicted), abs=1e-6)
    assert seen["f1_macro"] == pytest.approx(reference.f1_score(actual, predicted, average="macro"), abs=1e-6)
    assert seen["log_loss"] == pytest.approx(reference.log_loss(actual, probabilities), abs=1e-6)
    for i, name in enumerate(CLASSES):
        one = seen["per_class"][i]
        assert one["class"] == name
        assert (one["precision"], one["recall"], one["f1"]) == pytest.approx((precision[i], recall[i], f1[i]), abs=1e-6)
        assert one["support"] == support[i]
    assert (confusion_matrix(actual, predicted, 3) == reference.confusion_matrix(actual, predicted)).all()


def test_macro_f1_leaves_out_classes_that_do_not_occur_and_no_figure_divides_by_zero() -> None:
    actual, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    seen = classification_metrics(actual, predicted, None, CLASSES)
    assert seen["f1_macro"] == pytest.approx(reference.f1_score(actual, predicted, average="macro"), abs=1e-6)
    assert seen["per_class"][2] == {"class": "cat", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert "log_loss" not in seen


def test_a_certain_and_wrong_model_has_a_large_but_finite_loss() -> None:
    losses = row_losses(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert losses[0] == pytest.approx(36.04, abs=0.01)
    assert losses[1] == 0.0


def test_regression_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    actual = rng.normal(size=200)
    predicted = actual + rng.normal(scale=0.3, size=200)
    seen = regression_metrics(actual, predicted)
    assert seen["r2"] == pytest.approx(reference.r2_score(actual, predicted), abs=1e-6)
    assert seen["mae"] == pytest.approx(reference.mean_absolute_error(actual, predicted), abs=1e-6)
    assert seen["rmse"] == pytest.approx(reference.root_mean_squared_error(actual, predicted), abs=1e-6)


def test_r2_of_a_constant_label_is_null_and_not_infinite() -> None:
    assert regression_metrics(np.ones(4), np.zeros(4))["r2"] is None


def test_the_roc_curve_has_the_area_scikit_learn_computes_with_tied_scores_too() -> None:
    rng = np.random.default_rng(2)
    is_positive = rng.random(500) < 0.3
    scores: npt.NDArray[np.float64] = np.round(rng.random(500) * 0.5 + is_positive.astype(np.float64) * 0.3, 1)
    curve = roc_curve(is_positive, scores)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(reference.roc_auc_score(is_positive, scores))
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0.0, 0.0, 1.0, 1.0)


def test_calibration_counts_every_row_once_and_averages_inside_its_bin() -> None:
    curve = calibration_curve(np.array([False, True, True, True]), np.array([0.05, 0.05, 0.95, 1.0]))
    assert curve.rows.tolist() == [2, 2]
    assert curve.x.tolist() == pytest.approx([0.05, 0.975])
    assert curve.y.tolist() == pytest.approx([0.5, 1.0])


def test_noise_in_the_last_bits_does_not_reach_the_bytes() -> None:
    actual, predicted, probabilities = _random_predictions()
    noisy = np.nextafter(probabilities, 1.0)
    first = classification_metrics(actual, predicted, probabilities, CLASSES)
    second = classification_metrics(actual, predicted, noisy, CLASSES)
    assert report_json(first) == report_json(second)


def test_reports_are_sorted_end_with_a_newline_and_refuse_not_a_number() -> None:
    assert (
        report_json({"b": 1, "a": {"d": 0.5, "c": "ä"}})
        == '{\n  "a": {\n    "c": "ä",\n    "d": 0.5\n  },\n  "b": 1\n}\n'.encode()
    )
    with pytest.raises(ValueError, match="JSON compliant"):
        report_json({"a": float("nan")})


def test_rounding_never_writes_a_negative_zero() -> None:
    assert str(rounded(-1e-12)) == "0.0"
