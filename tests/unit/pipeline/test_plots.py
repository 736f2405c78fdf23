"""Plot files: their columns, their counts, and what an empty one looks like."""

from __future__ import annotations

import numpy as np

from datapin.pipeline.training.plots import (
    MOST_POINTS,
    calibration_csv,
    class_distribution_csv,
    confusion_csv,
    residuals_csv,
    roc_csv,
)


def _rows(data: bytes) -> list[list[str]]:
    return [line.split(",") for line in data.decode().splitlines()]


def test_the_confusion_plot_has_one_row_per_evaluated_row() -> None:
    rows = _rows(confusion_csv(np.array([0, 1, 1]), np.array([0, 1, 0]), ("ant", "bee")))
    assert rows == [["actual", "predicted"], ["ant", "ant"], ["bee", "bee"], ["bee", "ant"]]


def test_a_class_name_with_a_comma_or_a_quote_stays_one_field() -> None:
    data = confusion_csv(np.array([0]), np.array([0]), ('a,"b"',))
    assert data.decode().splitlines()[1] == '"a,""b""","a,""b"""'


def test_a_perfect_roc_passes_the_upper_left_corner_and_a_long_one_is_thinned_keeping_its_ends() -> None:
    perfect = _rows(roc_csv(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])))
    assert perfect == [["fpr", "tpr"], ["0.0", "0.0"], ["0.0", "1.0"], ["1.0", "1.0"]]
    rng = np.random.default_rng(0)
    second = rng.random(5000)
    long = _rows(roc_csv(rng.integers(0, 2, 5000), np.stack([1 - second, second], axis=1)))
    assert len(long) == MOST_POINTS + 1
    assert (long[1], long[-1]) == (["0.0", "0.0"], ["1.0", "1.0"])


def test_without_probabilities_or_rows_only_the_header_is_there() -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert roc_csv(np.array([0]), None) == b"fpr,tpr\n"
    assert roc_csv(nothing, np.empty((0, 2))) == b"fpr,tpr\n"
    assert calibration_csv(nothing, nothing, None) == b"stated,observed,rows\n"
    assert calibration_csv(nothing, nothing, np.empty((0, 3))) == b"stated,observed,rows\n"


def test_calibration_of_many_classes_looks_at_the_predicted_one() -> None:
    given = np.array([[0.7, 0.2, 0.1], [0.1, 0.72, 0.18]])
    rows = _rows(calibration_csv(np.array([0, 2]), np.array([0, 1]), given))
    assert rows == [["stated", "observed", "rows"], ["0.71", "0.5", "2"]]


def test_the_class_distribution_has_a_row_per_class_and_part() -> None:
    rows = _rows(class_distribution_csv(("a", "b"), {"fit": np.array([3, 1]), "test": np.array([0, 2])}))
    assert rows[1:] == [["a", "fit", "3"], ["a", "test", "0"], ["b", "fit", "1"], ["b", "test", "2"]]


def test_residuals_are_rounded() -> None:
    assert residuals_csv(np.array([1.0]), np.array([1 / 3])) == b"actual,predicted\n1.0,0.333333\n"
