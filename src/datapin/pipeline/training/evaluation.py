"""A fitted model on the originals of the evaluated splits: metrics, plot files and the predictions of every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from datapin.pipeline.params.train_params import TrainParams
from datapin.pipeline.training import estimators, plots
from datapin.pipeline.training.metrics import (
    ROW_DIGITS,
    Codes,
    Floats,
    classification_metrics,
    regression_metrics,
    row_losses,
)
from datapin.pipeline.training.training_rows import TrainingRows, class_codes

RowNumbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is written about a model. `metrics` has one entry per evaluated split that has rows."""

    metrics: dict[str, Any]
    plots: dict[str, bytes]  # file name -> CSV
    predictions: bytes


@dataclass(frozen=True, slots=True)
class AskedRows:
    """The rows that a model was asked about: some of `keys` in each evaluated split."""

    keys: pa.Array
    splits: pa.Array
    labels: pa.Array
    parts: Mapping[str, RowNumbers]

    @property
    def evaluated(self) -> RowNumbers:
        """All rows that were asked about, in order."""
        return all_of(self.parts)

    @property
    def shown(self) -> RowNumbers:
        """The rows that plots show: those of the last split that has any."""
        filled = [some for some in self.parts.values() if len(some)]
        return filled[-1] if filled else np.empty(0, dtype=np.int64)

    def predictions(self, predicted: pa.Array, stated: Floats | None, loss: Floats) -> bytes:
        """`predictions.parquet`, see `encode_predictions`."""
        numbers = pa.array(self.evaluated)
        return encode_predictions(
            self.keys.take(numbers), self.splits.take(numbers), self.labels.take(numbers), predicted, stated, loss
        )


def evaluate_classes(model: Any, rows: TrainingRows, params: TrainParams, classes: tuple[str, ...]) -> Evaluation:
    """Measure a classifier; without `predict_proba` there is no log loss, and ROC and calibration are empty."""
    parts = {split: rows.of_split(split) for split in params.evaluate}
    evaluated = all_of(parts)
    actual = class_codes(rows.labels, classes)
    predicted, given = _ask_classifier(model, rows.features, evaluated, classes)
    counts = {
        "fit": np.flatnonzero(rows.is_fit & ~rows.is_derived),
        "fit, augmented": np.flatnonzero(rows.is_fit & rows.is_derived),
        **parts,
    }
    shares = {part: np.bincount(actual[some], minlength=len(classes)) for part, some in counts.items()}
    asked = AskedRows(rows.keys, rows.splits, rows.labels, parts)
    return told_classes(asked, actual, predicted, given, classes, shares)


def told_classes(
    asked: AskedRows,
    actual: Codes,
    predicted: Codes,
    given: Floats | None,
    classes: Sequence[str],
    shares: Mapping[str, Codes],
) -> Evaluation:
    """What a classifier said: class numbers [n], probabilities [n, classes] or None; `shares` are rows per class."""
    measured = {
        split: classification_metrics(actual[some], predicted[some], None if given is None else given[some], classes)
        for split, some in asked.parts.items()
        if len(some)
    }
    shown, evaluated = asked.shown, asked.evaluated
    given_shown = None if given is None else given[shown]
    files = {
        "roc.csv": plots.roc_csv(actual[shown], given_shown),
        "calibration.csv": plots.calibration_csv(actual[shown], predicted[shown], given_shown),
        "confusion_matrix.csv": plots.confusion_csv(actual[shown], predicted[shown], classes),
        "class_distribution.csv": plots.class_distribution_csv(classes, shares),
    }
    stated: Floats | None = None
    loss = (actual[evaluated] != predicted[evaluated]).astype(np.float64)
    if given is not None:
        stated = given[evaluated, predicted[evaluated]]
        loss = row_losses(actual[evaluated], given[evaluated])
    said = pa.array(list(classes), pa.string()).take(pa.array(predicted[evaluated]))
    return Evaluation(measured, files, asked.predictions(said, stated, loss))


def evaluate_numbers(model: Any, rows: TrainingRows, params: TrainParams) -> Evaluation:
    """Measure a regressor."""
    parts = {split: rows.of_split(split) for split in params.evaluate}
    evaluated = all_of(parts)
    actual = rows.labels.to_numpy()
    predicted = np.zeros(len(actual))
    if len(evaluated):
        said = estimators.predict(model, rows.features[evaluated]).astype(np.float64).reshape(-1)
        predicted[evaluated] = np.round(said, ROW_DIGITS)
    return told_numbers(AskedRows(rows.keys, rows.splits, rows.labels, parts), actual, predicted)


def told_numbers(asked: AskedRows, actual: Floats, predicted: Floats) -> Evaluation:
    """What a regressor said, float64 [n]."""
    measured = {
        split: regression_metrics(actual[some], predicted[some]) for split, some in asked.parts.items() if len(some)
    }
    shown, evaluated = asked.shown, asked.evaluated
    loss = (actual[evaluated] - predicted[evaluated]) ** 2
    return Evaluation(
        metrics=measured,
        plots={"residuals.csv": plots.residuals_csv(actual[shown], predicted[shown])},
        predictions=asked.predictions(pa.array(predicted[evaluated]), None, loss),
    )


def _ask_classifier(
    model: Any, features: Floats, evaluated: RowNumbers, classes: tuple[str, ...]
) -> tuple[Codes, Floats | None]:
    """Predicted class and probabilities [n, classes] for every row; only the evaluated rows are filled in."""
    predicted = np.zeros(len(features), dtype=np.int64)
    if not len(evaluated):
        return predicted, None
    labels = pa.array(estimators.predict(model, features[evaluated]), pa.string())
    predicted[evaluated] = class_codes(labels, classes)
    known = estimators.probabilities(model, features[evaluated])
    if known is None:
        return predicted, None
    given = np.zeros((len(features), len(classes)))
    # Classes without a row to learn from are unknown to the model: their probability stays 0.
    given[np.ix_(evaluated, class_codes(pa.array(model.classes_, pa.string()), classes))] = known
    return predicted, given


def all_of(parts: Mapping[str, RowNumbers]) -> RowNumbers:
    """The rows of all parts, in order."""
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *parts.values()]))


# `predictions.parquet`: what the model said about every evaluated row, so that its worst mistakes can be looked at.


ROW_GROUP_ROWS = 65_536


def encode_predictions(
    keys: pa.Array, splits: pa.Array, labels: pa.Array, predicted: pa.Array, probability: Floats | None, loss: Floats
) -> bytes:
    """Parquet bytes, one row per evaluated row in key order; the same rows give the same bytes.

    `probability` is the one given to the predicted class (null where the estimator gives none); `loss` is -ln of the
    probability given to the label, or 0 and 1 without probabilities, or the squared error in regression.
    """
    stated = pa.nulls(len(keys), pa.float64()) if probability is None else pa.array(np.round(probability, ROW_DIGITS))
    table = pa.table(
        {
            "key": keys,
            "split": splits,
            "label": labels,
            "predicted": predicted,
            "probability": stated,
            "loss": pa.array(np.round(loss, ROW_DIGITS) + 0.0),
        }
    ).combine_chunks()
    out = pa.BufferOutputStream()
    texts = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name != "key"]
    pq.write_table(
        table,
        out,
        row_group_size=ROW_GROUP_ROWS,
        compression="zstd",
        compression_level=3,
        use_dictionary=texts,
        store_schema=False,
    )
    return bytes(out.getvalue().to_pybytes())
