"""Plot data that `dvc plots show` renders, as CSV bytes; the matching entries are in the dvc.yaml of the template.

`confusion_matrix.csv` one row per evaluated row; `roc.csv` the curve of the second class, or with more than two the
one-against-rest curve over all classes together; `calibration.csv` how often a stated probability comes true;
`class_distribution.csv` rows per class and part; `residuals.csv` for regression. DVC fails if a declared file is not
there, so an estimator without probabilities still leaves the two files that need them, with nothing but a header.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from datapin.pipeline.training.metrics import Codes, Curve, Floats, calibration_curve, roc_curve, rounded

MOST_POINTS = 1000
PLOT_FILES = ("calibration.csv", "class_distribution.csv", "confusion_matrix.csv", "residuals.csv", "roc.csv")


def confusion_csv(actual: Codes, predicted: Codes, classes: Sequence[str]) -> bytes:
    """The classes of every row, as the template `confusion` counts them."""
    rows = zip((classes[i] for i in actual), (classes[i] for i in predicted), strict=True)
    return _csv(("actual", "predicted"), rows)


def roc_csv(actual: Codes, probabilities: Floats | None) -> bytes:
    """Receiver operating characteristic, thinned to `MOST_POINTS` points; only the header without probabilities."""
    if probabilities is None or not len(actual):
        return _csv(("fpr", "tpr"), ())
    if probabilities.shape[1] == 2:
        is_positive, scores = actual == 1, probabilities[:, 1]
    else:
        is_positive = (actual[:, None] == np.arange(probabilities.shape[1])[None, :]).reshape(-1)
        scores = probabilities.reshape(-1)
    curve = roc_curve(is_positive, np.round(scores, 9))
    keep = np.unique(np.linspace(0, len(curve.x) - 1, min(MOST_POINTS, len(curve.x))).round().astype(np.int64))
    return _csv(("fpr", "tpr"), ((rounded(curve.x[i]), rounded(curve.y[i])) for i in keep))


def calibration_csv(actual: Codes, predicted: Codes, probabilities: Floats | None) -> bytes:
    """Reliability: of the second class if there are two, else of the class that was predicted; header only without."""
    if probabilities is None:
        return _csv(("stated", "observed", "rows"), ())
    if probabilities.shape[1] == 2:
        curve: Curve = calibration_curve(actual == 1, np.round(probabilities[:, 1], 9))
    else:
        stated = probabilities[np.arange(len(predicted)), predicted]
        curve = calibration_curve(actual == predicted, np.round(stated, 9))
    rows = zip(curve.x, curve.y, curve.rows, strict=True)
    return _csv(("stated", "observed", "rows"), ((rounded(x), rounded(y), int(n)) for x, y, n in rows))


def class_distribution_csv(classes: Sequence[str], counts: Mapping[str, Codes]) -> bytes:
    """Rows per class in each part: fit, augmented, and the evaluated splits."""
    return _csv(
        ("class", "part", "rows"),
        ((name, part, int(rows[i])) for i, name in enumerate(classes) for part, rows in counts.items()),
    )


def residuals_csv(actual: Floats, predicted: Floats) -> bytes:
    """Label against prediction."""
    rows = zip(actual, predicted, strict=True)
    return _csv(("actual", "predicted"), ((rounded(a), rounded(p)) for a, p in rows))


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
