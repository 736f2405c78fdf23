"""Metrics of predictions, in NumPy: counts are exact, and every figure is rounded before it is written.

Rounding (`DIGITS` decimals, `ROW_DIGITS` for single rows) keeps last-bit differences of logarithms between CPUs out of
the bytes. The definitions are scikit-learn's, against which the tests compare them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

DIGITS = 6
ROW_DIGITS = 9
_SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Curve:
    """A line in a plot."""

    x: Floats
    y: Floats
    rows: Codes  # how many rows stand behind each point


def rounded(value: float, digits: int = DIGITS) -> float:
    """`value` as it is written; -0.0 becomes 0.0."""
    return round(float(value), digits) + 0.0


def confusion_matrix(actual: Codes, predicted: Codes, classes: int) -> Codes:
    """Rows of each actual class (first axis) that were predicted as each class (second axis)."""
    flat = np.bincount(actual * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def row_losses(actual: Codes, probabilities: Floats) -> Floats:
    """-ln of the probability given to the actual class, one per row; a probability of 0 counts as 2.2e-16."""
    given = probabilities[np.arange(len(actual)), actual]
    losses: Floats = -np.log(np.clip(given, _SMALLEST_PROBABILITY, 1.0))
    return losses


def classification_metrics(
    actual: Codes, predicted: Codes, probabilities: Floats | None, classes: Sequence[str]
) -> dict[str, Any]:
    """Accuracy, macro F1, log loss (with probabilities) and per class precision, recall, F1, support, all rounded.

    `actual` and `predicted` index `classes`; `probabilities` is [n, classes]. Macro F1 is the mean over the classes
    that are actual or predicted in these rows; a ratio over nothing is 0.
    """
    counts = confusion_matrix(actual, predicted, len(classes))
    hits, support, guessed = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    precision = _ratios(hits, guessed)
    recall = _ratios(hits, support)
    f1 = _ratios(2 * hits, support + guessed)
    seen = (support + guessed) > 0
    result: dict[str, Any] = {
        "rows": len(actual),
        "accuracy": rounded(hits.sum() / len(actual)),
        "f1_macro": rounded(f1[seen].mean()),
        # A list: `dvc metrics show` leaves lists out, and a column per class and figure would drown the others.
        "per_class": [
            {
                "class": name,
                "precision": rounded(precision[i]),
                "recall": rounded(recall[i]),
                "f1": rounded(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(classes)
        ],
    }
    if probabilities is not None:
        result["log_loss"] = rounded(row_losses(actual, probabilities).mean())
    return result


def regression_metrics(actual: Floats, predicted: Floats) -> dict[str, Any]:
    """R2, mean absolute error and root mean squared error, rounded; R2 is null where the label does not vary."""
    errors = actual - predicted
    spread = float(((actual - actual.mean()) ** 2).sum())
    return {
        "rows": len(actual),
        "r2": rounded(1.0 - float((errors**2).sum()) / spread) if spread > 0 and len(actual) > 1 else None,
        "mae": rounded(np.abs(errors).mean()),
        "rmse": rounded(np.sqrt((errors**2).mean())),
    }


def roc_curve(is_positive: npt.NDArray[np.bool_], scores: Floats) -> Curve:
    """False positive rate against true positive rate, one point per distinct score, corners included."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], is_positive[order]
    last_of_score = np.r_[np.flatnonzero(np.diff(ranked)), len(ranked) - 1]
    true = np.cumsum(hits)[last_of_score]
    above = last_of_score + 1
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    return Curve(
        x=np.r_[0.0, (above - true) / max(negatives, 1)],
        y=np.r_[0.0, true / max(positives, 1)],
        rows=np.r_[0, above].astype(np.int64),
    )


def calibration_curve(is_hit: npt.NDArray[np.bool_], scores: Floats, bins: int = 10) -> Curve:
    """Mean score against share of hits in `bins` equal bins of the score, empty bins left out."""
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    rows = np.bincount(place, minlength=bins)
    used = rows > 0
    return Curve(
        x=np.bincount(place, weights=scores, minlength=bins)[used] / rows[used],
        y=np.bincount(place, weights=is_hit, minlength=bins)[used] / rows[used],
        rows=rows[used].astype(np.int64),
    )


def _ratios(part: Codes, whole: Codes) -> Floats:
    return np.divide(part, whole, out=np.zeros(len(whole), dtype=np.float64), where=whole > 0)
