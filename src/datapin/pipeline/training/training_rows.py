"""The rows of a features manifest that `train` learns from and is measured on, checked before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.documents import read_json
from datapin.base.errors import StageRefused, listed
from datapin.manifest.columns.columns import one_array
from datapin.manifest.manifest import Manifest
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.output import open_input
from datapin.pipeline.operators.recipe import TRAIN
from datapin.pipeline.params.train_params import TrainParams
from datapin.pipeline.record.record import input_digests
from datapin.pipeline.splits.classes import CLASSES
from datapin.pipeline.splits.leaks import is_augmented, leak_columns, refuse_leaks
from datapin.pipeline.training.metrics import Codes, Floats

FEATURES = "features"
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows in key order: those of the fit split (originals and derived) and the originals of the evaluated splits."""

    keys: pa.Array
    splits: pa.Array
    labels: pa.Array  # string, or float64 for regression
    features: Floats  # [n, d]
    is_fit: npt.NDArray[np.bool_]
    is_derived: npt.NDArray[np.bool_]  # augmented copies
    inputs: dict[str, str]  # dataset -> digest
    pinned_classes: tuple[str, ...] | None  # as the manifest pins them

    def of_split(self, split: str) -> npt.NDArray[np.int64]:
        """Row numbers of the originals in `split`."""
        in_split = pc.equal(self.splits, split).to_numpy(zero_copy_only=False)
        return np.flatnonzero(in_split & ~self.is_derived)


def read_training_rows(context: StageContext, params: TrainParams, *, wants_numbers: bool) -> TrainingRows:
    """The rows of `params.input` that training needs; labels are numbers for regression, else text.

    Raises StageRefused, naming the first rows, if a column, a label or a value is missing or of the wrong kind.
    """
    manifest = open_input(context, "train", params.input)
    names = set(manifest.schema.names)
    for column in (FEATURES, "label", "split"):
        if column not in names:
            raise _refused(f"{params.input} has no column {column}", _ADVICE[column])
    optional = [column for column in ("parent",) if column in names]
    table = manifest.to_table(columns=["key", "label", "split", *optional, FEATURES])
    table = table.filter(pc.is_in(table["split"], value_set=pa.array([params.fit_split, *params.evaluate])))
    splits = _text(table["split"])
    is_fit = pc.equal(splits, params.fit_split).to_numpy(zero_copy_only=False)
    is_derived = is_augmented(table)
    wanted = is_fit | ~is_derived
    if not wanted.all():
        table, splits = table.filter(pa.array(wanted)), splits.filter(pa.array(wanted))
        is_fit, is_derived = is_fit[wanted], is_derived[wanted]
    if not is_fit.any():
        problem = f"{params.input} has no rows with split = {params.fit_split!r}, expected rows to learn from"
        raise _refused(problem, "set prepare's split shares in params.yaml, or train.fit_split to the split you use")
    related = manifest.to_table(leak_columns(names))
    refuse_leaks("train", params.input, related, may_be_augmented=(TRAIN, params.fit_split))
    keys = _text(table["key"])
    return TrainingRows(
        keys=keys,
        splits=splits,
        labels=_labels(table["label"], keys, params, wants_numbers),
        features=_matrix(table[FEATURES], keys, params.input),
        is_fit=is_fit,
        is_derived=is_derived,
        inputs=input_digests(params.input, manifest.digest, manifest.properties),
        pinned_classes=_pinned_classes(manifest),
    )


def class_index(rows: TrainingRows) -> tuple[str, ...]:
    """The classes in index order: as the manifest pins them, else sorted as text.

    Raises StageRefused if a label is not pinned, or the fit rows hold fewer than two classes.
    """
    seen = set(pc.unique(rows.labels).to_pylist())
    classes = rows.pinned_classes or tuple(sorted(seen))
    if unknown := sorted(seen - set(classes)):
        problem = f"labels {listed(unknown, _MOST_NAMED)} are not among the classes {listed(list(classes))}"
        raise _refused(problem, "run `dvc repro prepare`, which pins the classes anew")
    learned = pc.unique(rows.labels.filter(pa.array(rows.is_fit))).to_pylist()
    if len(learned) < 2:
        problem = f"the rows to learn from hold one class only, {learned[0]!r}; expected two or more"
        raise _refused(problem, "add rows of other classes with `datapin add`, or set labels with `datapin update`")
    return classes


def class_codes(labels: pa.Array, classes: Sequence[str]) -> Codes:
    """The index of each label in `classes`."""
    codes: Codes = pc.index_in(labels, value_set=pa.array(classes, pa.string())).to_numpy().astype(np.int64)
    return codes


_ADVICE = {
    FEATURES: "run `dvc repro featurize`, or point train.input in params.yaml at its output",
    "label": "add labels with `datapin add … --label parent` or `--metadata FILE`, then run `dvc repro`",
    "split": "run `dvc repro prepare`, which assigns splits",
}


def _labels(column: pa.ChunkedArray, keys: pa.Array, params: TrainParams, wants_numbers: bool) -> pa.Array:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if column.null_count:
        raise _refused(
            f"{column.null_count} row(s) have no label: {_named(keys, pc.is_null(column))}", _ADVICE["label"]
        )
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if wants_numbers:
        if not is_number:
            problem = f"label is {kind}, but {params.estimator} is a regressor and expects numbers"
            raise _refused(problem, "set train.estimator in params.yaml to a classifier, or make label a number")
        numbers = one_array(column).cast(pa.float64(), safe=False)
        bad = pc.invert(pc.is_finite(numbers))
        if pc.any(bad).as_py():
            raise _refused(f"labels are not finite: {_named(keys, bad)}", "correct them with `datapin update`")
        return numbers
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        problem = f"label is {kind}, but {params.estimator} is a classifier and expects classes"
        raise _refused(problem, "set train.estimator in params.yaml to a regressor, or make label a text")
    return _text(column)


def _matrix(column: pa.ChunkedArray, keys: pa.Array, dataset: str) -> Floats:
    kind = column.type
    if not pa.types.is_fixed_size_list(kind) or not (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    ):
        raise _refused(f"{dataset}: features is {kind}, expected fixed_size_list of numbers", _ADVICE[FEATURES])
    if column.null_count:
        problem = f"{dataset}: {column.null_count} row(s) have no features: {_named(keys, pc.is_null(column))}"
        raise _refused(problem, _ADVICE[FEATURES])
    # flatten() respects the slice of the list array, .values would not.
    flat = one_array(column).flatten().to_numpy(zero_copy_only=False)
    matrix: Floats = flat.astype(np.float64).reshape(len(keys), kind.list_size)
    bad = ~np.isfinite(matrix).all(axis=1)
    if bad.any():
        problem = f"{dataset}: {int(bad.sum())} row(s) have features that are not finite: {_named(keys, pa.array(bad))}"
        raise _refused(problem, "correct the extractor in featurize's params, then run `dvc repro`")
    if matrix.shape[1] == 0:
        raise _refused(f"{dataset}: features are empty", _ADVICE[FEATURES])
    return matrix


def _pinned_classes(manifest: Manifest) -> tuple[str, ...] | None:
    text = manifest.properties.get(CLASSES)
    if text is None:
        return None
    try:
        names: Any = read_json(text, CLASSES)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise _refused(f"property {CLASSES} is {text[:80]!r}, expected a list of names", "run `dvc repro`")
    return tuple(names)


def _text(column: pa.ChunkedArray) -> pa.Array:
    return one_array(column).cast(pa.string())


def _named(keys: pa.Array, mask: pa.Array | pa.ChunkedArray) -> str:
    return listed(keys.filter(mask).to_pylist()[:1000], _MOST_NAMED)


def _refused(problem: str, advice: str) -> StageRefused:
    return StageRefused(stage="train", problem=problem, advice=advice)
