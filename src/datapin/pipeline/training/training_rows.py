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
from datapin.base.errors import BadSettings, StageRefused, listed
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
    labels: pa.Array  # string, list of string where a row has several, or float64 for regression
    features: Floats  # [n, d]
    is_fit: npt.NDArray[np.bool_]
    is_derived: npt.NDArray[np.bool_]  # augmented copies
    inputs: dict[str, str]  # dataset -> digest
    pinned_classes: tuple[str, ...] | None  # as the manifest pins them
    weights: Floats | None = None  # [n], of the column that params name

    @property
    def has_several(self) -> bool:
        """Whether a row has any number of labels."""
        return bool(pa.types.is_list(self.labels.type))

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
    label = params.label_column
    for column in (FEATURES, label, "split"):
        if column not in names:
            advice = _ADVICE.get(column, f"columns: {listed(sorted(names), 20)}")
            raise _refused(f"{params.input} has no column {column}", advice)
    optional = [column for column in ("parent",) if column in names]
    if params.sample_weight is not None:
        if params.sample_weight not in names:
            problem = f"{params.input} has no column {params.sample_weight!r}, which train.sample_weight names"
            raise _refused(problem, f"columns: {listed(sorted(names), 20)}")
        optional.append(params.sample_weight)
    table = manifest.to_table(columns=list(dict.fromkeys(["key", label, "split", *optional, FEATURES])))
    watched = [] if params.early_stopping is None else [params.early_stopping.split]
    used = pa.array([params.fit_split, *params.evaluate, *watched])
    table = table.filter(pc.is_in(table["split"], value_set=used))
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
        labels=_labels(table[label], keys, params, wants_numbers),
        features=_matrix(table[FEATURES], keys, params.input),
        is_fit=is_fit,
        is_derived=is_derived,
        inputs=input_digests(params.input, manifest.digest, manifest.properties),
        pinned_classes=_pinned_classes(manifest) if label == "label" else None,
        weights=None if params.sample_weight is None else _weights(table, params.sample_weight, keys, is_fit),
    )


def class_index(rows: TrainingRows) -> tuple[str, ...]:
    """The classes in index order: as the manifest pins them, else sorted as text.

    Raises StageRefused if a label is not pinned, or the fit rows hold fewer than two classes.
    """
    seen = set(pc.unique(_each(rows.labels)).to_pylist())
    classes = rows.pinned_classes or tuple(sorted(seen))
    if unknown := sorted(seen - set(classes)):
        problem = f"labels {listed(unknown, _MOST_NAMED)} are not among the classes {listed(list(classes))}"
        raise _refused(problem, "run `dvc repro prepare`, which pins the classes anew")
    learned = pc.unique(_each(rows.labels.filter(pa.array(rows.is_fit)))).to_pylist()
    if len(learned) < 2:
        seen_class = f"one class only, {learned[0]!r}" if learned else "no class"
        problem = f"the rows to learn from hold {seen_class}; expected two or more"
        raise _refused(problem, "add rows of other classes with `datapin add`, or set labels with `datapin update`")
    return classes


def class_codes(labels: pa.Array, classes: Sequence[str]) -> Codes:
    """The index of each label in `classes`."""
    codes: Codes = pc.index_in(labels, value_set=pa.array(classes, pa.string())).to_numpy().astype(np.int64)
    return codes


def class_flags(labels: pa.Array, classes: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which of `classes` each row has, [n, classes], of lists of labels."""
    found = np.zeros((len(labels), len(classes)), dtype=bool)
    rows = pc.list_parent_indices(labels).to_numpy()
    found[rows, class_codes(labels.flatten(), classes)] = True
    return found


def fit_weights(rows: TrainingRows, params: TrainParams, params_name: str) -> Floats | None:
    """How much each row to learn from counts: its own weight times that of its class; None if all count alike.

    balanced: rows / (classes * rows of the class), over originals and copies (King and Zeng 2001, as in scikit-learn).
    """
    weights = None if rows.weights is None else rows.weights[rows.is_fit]
    given = params.class_weight
    if given is None:
        return weights
    if rows.has_several or pa.types.is_floating(rows.labels.type):
        what = "rows with several labels" if rows.has_several else "regression"
        problem = f"there are no class weights for {what}"
        raise BadSettings(params_name, "train.class_weight", problem, "use train.sample_weight")
    labels = rows.labels.filter(pa.array(rows.is_fit))
    classes = pc.unique(labels).to_pylist()
    codes = class_codes(labels, classes)
    if given == "balanced":
        of_class = len(codes) / (len(classes) * np.bincount(codes, minlength=len(classes)))
    else:
        if unknown := sorted(set(given) - set(classes)):
            problem = f"{listed([repr(name) for name in unknown], _MOST_NAMED)}: no row to learn from has this label"
            raise BadSettings(params_name, "train.class_weight", problem, f"labels: {listed(sorted(classes), 20)}")
        of_class = np.array([given.get(name, 1.0) for name in classes])
    return of_class[codes] if weights is None else of_class[codes] * weights


def _each(labels: pa.Array) -> pa.Array:
    """The single labels, of rows that have several."""
    return labels.flatten() if pa.types.is_list(labels.type) else labels


def _weights(table: pa.Table, column: str, keys: pa.Array, is_fit: npt.NDArray[np.bool_]) -> Floats:
    """The weights of all rows. Raises StageRefused unless each to learn from has a finite one, from 0 on."""
    kind = table[column].type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise _refused(f"column {column} is {kind}, expected numbers as weights", "name another in train.sample_weight")
    found: Floats = one_array(table[column]).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    bad = is_fit & ~(np.isfinite(found) & (found >= 0))
    if bad.any():
        problem = f"{int(bad.sum())} row(s) have no weight from 0 on in {column}: {_named(keys, pa.array(bad))}"
        raise _refused(problem, "correct them with `datapin update`")
    if not found[is_fit].any():
        raise _refused(f"all weights in {column} are 0", "name another column in train.sample_weight")
    return found


_ADVICE = {
    FEATURES: "run `dvc repro featurize`, or point train.input in params.yaml at its output",
    "label": "add labels with `datapin add … --label parent` or `--metadata FILE`, then run `dvc repro`",
    "split": "run `dvc repro prepare`, which assigns splits",
}


def _labels(column: pa.ChunkedArray, keys: pa.Array, params: TrainParams, wants_numbers: bool) -> pa.Array:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _lists(column, keys, params, wants_numbers)
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


def _lists(column: pa.ChunkedArray, keys: pa.Array, params: TrainParams, wants_numbers: bool) -> pa.Array:
    """Lists of texts; no list is none of the classes."""
    inner = column.type.value_type
    if wants_numbers or not (pa.types.is_string(inner) or pa.types.is_large_string(inner)):
        expected = "a regressor and expects numbers" if wants_numbers else "a classifier: expected lists of texts"
        advice = "set train.estimator in params.yaml to a classifier, or correct label with `datapin update`"
        raise _refused(f"label is {column.type}, but {params.estimator} is {expected}", advice)
    lists = pc.fill_null(one_array(column).cast(pa.list_(pa.string())), pa.scalar([], pa.list_(pa.string())))
    if lists.flatten().null_count:
        empty = np.unique(pc.list_parent_indices(lists).to_numpy()[lists.flatten().is_null().to_numpy(False)])
        raise _refused(f"a label in a list is empty: {_named(keys.take(pa.array(empty)), None)}", _ADVICE["label"])
    return lists


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


def _named(keys: pa.Array, mask: pa.Array | pa.ChunkedArray | None) -> str:
    some = keys if mask is None else keys.filter(mask)
    return listed(some.to_pylist()[:1000], _MOST_NAMED)


def _refused(problem: str, advice: str) -> StageRefused:
    return StageRefused(stage="train", problem=problem, advice=advice)
