"""What models of other tasks said, measured: several labels of one row, and objects with boxes in a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.pipeline.params.train_params import TrainParams
from datapin.pipeline.training import estimators, plots
from datapin.pipeline.training.evaluation import AskedRows, Evaluation, all_of
from datapin.pipeline.training.metrics import Floats, rounded
from datapin.pipeline.training.training_rows import TrainingRows, class_flags

Flags = npt.NDArray[np.bool_]
Box = Mapping[str, Any]
"""`label`, and `x`, `y` (top left corner), `width`, `height` in pixels; a predicted one has a `score`, too."""

MATCH = 0.5  # of the union of two boxes, from which on they are of one object
_SMALLEST = float(np.finfo(np.float64).eps)
BOXES = pa.list_(
    pa.struct([("label", pa.string()), *((name, pa.float64()) for name in ("x", "y", "width", "height", "score"))])
)


def evaluate_labels(model: Any, rows: TrainingRows, params: TrainParams, classes: Sequence[str]) -> Evaluation:
    """Measure a classifier that gives a row any number of labels."""
    parts = {split: rows.of_split(split) for split in params.evaluate}
    evaluated = all_of(parts)
    actual = class_flags(rows.labels, classes)
    predicted = np.zeros_like(actual)
    given: Floats | None = None
    if len(evaluated):
        predicted[evaluated] = estimators.predict(model, rows.features[evaluated]) != 0
        known = estimators.probabilities(model, rows.features[evaluated])
        if known is not None:
            given = np.zeros(actual.shape)
            given[evaluated] = known
    return told_labels(AskedRows(rows.keys, rows.splits, rows.labels, parts), actual, predicted, given, classes)


def told_labels(
    asked: AskedRows, actual: Flags, predicted: Flags, given: Floats | None, classes: Sequence[str]
) -> Evaluation:
    """What a model said that gives a row any number of labels: bool [n, classes], probabilities [n, classes] or None.

    A row's loss is the mean binary cross-entropy over the classes, or the share of wrong flags without probabilities.
    """
    metrics = {
        split: _label_metrics(actual[some], predicted[some], classes)
        for split, some in asked.parts.items()
        if len(some)
    }
    evaluated = asked.evaluated
    truth, said = actual[evaluated], predicted[evaluated]
    if given is None:
        loss = (truth != said).mean(axis=1)
    else:
        stated = np.clip(given[evaluated], _SMALLEST, 1 - _SMALLEST)
        loss = -np.where(truth, np.log(stated), np.log(1 - stated)).mean(axis=1)
    names = [[classes[n] for n in np.flatnonzero(row).tolist()] for row in said]
    shares = {split: actual[some].sum(axis=0) for split, some in asked.parts.items()}
    files = {"class_distribution.csv": plots.class_distribution_csv(classes, shares)}
    return Evaluation(metrics, files, asked.predictions(pa.array(names, pa.list_(pa.string())), None, loss))


def _label_metrics(actual: Flags, predicted: Flags, classes: Sequence[str]) -> dict[str, Any]:
    """Share of rows with exactly the right labels, F1 over all flags (micro) and as the mean over classes (macro)."""
    hits = (actual & predicted).sum(axis=0)
    sizes = actual.sum(axis=0) + predicted.sum(axis=0)
    f1 = np.divide(2 * hits, sizes, out=np.zeros(len(classes)), where=sizes > 0)
    seen = sizes > 0
    return {
        "rows": len(actual),
        "exact": rounded((actual == predicted).all(axis=1).mean()),
        "f1_micro": rounded(2 * hits.sum() / sizes.sum() if sizes.sum() else 0.0),
        "f1_macro": rounded(f1[seen].mean() if seen.any() else 0.0),
        "per_class": [
            {"class": name, "f1": rounded(f1[n]), "support": int(actual[:, n].sum())} for n, name in enumerate(classes)
        ],
    }


def told_boxes(
    asked: AskedRows, actual: Sequence[Sequence[Box]], predicted: Sequence[Sequence[Box]], classes: Sequence[str]
) -> Evaluation:
    """What a detector said: for each row its boxes. Measured at an overlap of `MATCH`, see `average_precision`.

    A row's loss is 1 - F1 of its boxes: 0 where all are found and none is wrong.
    """
    metrics = {}
    for split, some in asked.parts.items():
        if len(some):
            rows = some.tolist()
            metrics[split] = _box_metrics([actual[n] for n in rows], [predicted[n] for n in rows], classes)
    loss = np.array([_row_loss(actual[n], predicted[n]) for n in asked.evaluated.tolist()])
    boxes = [
        [{name: box.get(name) for name in BOXES.value_type.names} for box in predicted[n]] for n in asked.evaluated
    ]
    counts = {
        split: np.array([sum(box["label"] == name for n in some for box in actual[n]) for name in classes])
        for split, some in asked.parts.items()
    }
    files = {"class_distribution.csv": plots.class_distribution_csv(classes, counts)}
    return Evaluation(metrics, files, asked.predictions(pa.array(boxes, BOXES), None, loss))


def average_precision(actual: Sequence[Sequence[Box]], predicted: Sequence[Sequence[Box]], label: str) -> float | None:
    """The area under precision over recall for one class, all points (PASCAL VOC 2010); None without such an object."""
    total = sum(box["label"] == label for boxes in actual for box in boxes)
    if not total:
        return None
    said = [(box, row) for row, boxes in enumerate(predicted) for box in boxes if box["label"] == label]
    hits = _hits(actual, said, label)
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    best_after = np.maximum.accumulate(precision[::-1])[::-1] if len(hits) else precision
    steps = np.diff(np.concatenate([[0.0], found / total]))
    return float((steps * best_after).sum())


def _hits(actual: Sequence[Sequence[Box]], said: list[tuple[Box, int]], label: str) -> npt.NDArray[np.float64]:
    """For each box, by falling score, 1 if it is the first to match an object of its row."""
    taken: set[tuple[int, int]] = set()
    hits = []
    for box, row in sorted(said, key=lambda one: (-float(one[0].get("score", 1.0)), one[1])):
        found = _best(box, actual[row], label)
        is_hit = found is not None and (row, found) not in taken
        if is_hit and found is not None:
            taken.add((row, found))
        hits.append(float(is_hit))
    return np.array(hits)


def _best(box: Box, others: Sequence[Box], label: str) -> int | None:
    """The object of this class that overlaps most, at least by `MATCH`."""
    shares = [(overlap(box, other), -n) for n, other in enumerate(others) if other["label"] == label]
    best = max(shares, default=(0.0, 0))
    return -best[1] if shares and best[0] >= MATCH else None


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    across = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
    down = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
    shared = max(across, 0.0) * max(down, 0.0)
    whole = one["width"] * one["height"] + other["width"] * other["height"] - shared
    return shared / whole if whole > 0 else 0.0


def _row_loss(actual: Sequence[Box], predicted: Sequence[Box]) -> float:
    labels = sorted({box["label"] for box in predicted})
    hits = sum(_hits([actual], [(box, 0) for box in predicted if box["label"] == one], one).sum() for one in labels)
    boxes = len(actual) + len(predicted)
    return 1.0 - 2.0 * float(hits) / boxes if boxes else 0.0


def _box_metrics(
    actual: Sequence[Sequence[Box]], predicted: Sequence[Sequence[Box]], classes: Sequence[str]
) -> dict[str, Any]:
    found = [(name, average_precision(actual, predicted, name)) for name in classes]
    known = [value for _, value in found if value is not None]
    return {
        "rows": len(actual),
        "objects": sum(map(len, actual)),
        "map_50": rounded(sum(known) / len(known)) if known else None,
        "per_class": [{"class": name, "ap_50": None if value is None else rounded(value)} for name, value in found],
    }
