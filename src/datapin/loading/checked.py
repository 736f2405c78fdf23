"""What a training script hands over, checked: shapes, ranges, boxes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import StageRefused, Usage, listed
from datapin.manifest.columns.columns import flags
from datapin.pipeline.training.metrics import Floats
from datapin.pipeline.training.tasks import Box

_BOX = ("label", "x", "y", "width", "height")


def check_labels(labels: pa.Array, keys: pa.Array, used: npt.NDArray[np.bool_], task: str, column: str) -> None:
    """Raises StageRefused, before anything is learnt, if the labels of the `used` rows are none of this task."""
    kind = labels.type.value_type if pa.types.is_dictionary(labels.type) else labels.type
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else pa.null()
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    fits, expected = {
        "classification": (not pa.types.is_nested(kind), "a text or an integer"),
        "regression": (is_number, "a number"),
        "multilabel": (pa.types.is_string(inner) or pa.types.is_large_string(inner), "a list of texts"),
        "detection": (pa.types.is_struct(inner), "a list of boxes"),
    }[task]
    if not fits:
        problem = f"{column} is {kind}, expected {expected} for {task}"
        raise StageRefused("training", problem, "name another column with label_column=, or another task=")
    if task in ("multilabel", "detection"):
        return  # no list: none of the classes
    unfit = labels.is_null()
    if pa.types.is_floating(kind):
        unfit = pc.or_(unfit, pc.fill_null(pc.invert(pc.is_finite(labels)), True))
    places = np.flatnonzero(flags(unfit) & used)
    if len(places):
        problem = f"{len(places)} row(s) have no {column}: {listed(keys.take(pa.array(places[:1000])).to_pylist(), 5)}"
        raise StageRefused("training", problem, "set it with `datapin update`, then run `dvc repro`")


def number(value: Any, what: str, advice: str) -> float:
    """The value as a finite number. Raises Usage."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise Usage(f"{what} is {value!r}, expected a finite number", advice)
    return found


def model_bytes(model: Any) -> bytes:
    """A model given as its bytes, or as the path of a file. Raises Usage."""
    try:
        data = bytes(model) if isinstance(model, bytes | bytearray) else Path(model).read_bytes()
    except (OSError, TypeError, ValueError) as error:
        problem = f"the model {str(model)[:200]!r} cannot be read: {getattr(error, 'strerror', None) or 'no file name'}"
        raise Usage(problem, "give its bytes, or the path of a file that was written") from None
    if not data:
        raise Usage("the model has no bytes", "save it after it was written, or give its bytes")
    return data


def count_of(values: Any, what: str) -> int:
    """How many rows a script hands over. Raises Usage if that is no sequence."""
    if isinstance(values, str | bytes) or not isinstance(values, Sized) or getattr(values, "ndim", 1) == 0:
        raise Usage(f"{what} is {type(values).__name__}, expected a list or an array", "give one entry for each row")
    return len(values)


def checked_boxes(boxes: Any, split: str) -> list[Box]:
    """The boxes of one row. Raises Usage."""
    if not isinstance(boxes, Sequence) or not all(isinstance(box, Mapping) for box in boxes):
        raise Usage(f"a row predicted for {split} is {str(boxes)[:60]!r}, expected a list of boxes", "[] for none")
    return [checked_box(box, split) for box in boxes]


def checked_box(box: Box, split: str) -> Box:
    """The box with its numbers as such, score 1 unless it says one. Raises Usage."""
    lacking = [name for name in _BOX if name not in box]
    if lacking:
        raise Usage(f"a box predicted for {split} lacks {listed(lacking)}", "give label, x, y, width, height, score")
    if unknown := sorted(str(name) for name in set(box) - {*_BOX, "score"}):
        raise Usage(f"a box predicted for {split} has {listed(unknown)}", "give label, x, y, width, height, score")
    what, advice = f"a box predicted for {split}", "give finite numbers, sizes from 0 on"
    numbers = [number(box.get(name, 1.0), f"{name} of {what}", advice) for name in (*_BOX[1:], "score")]
    if min(numbers[2:4]) < 0:
        raise Usage(f"a box predicted for {split} is {dict(box)}", "give finite numbers, sizes from 0 on")
    return {"label": str(box["label"]), **dict(zip(("x", "y", "width", "height", "score"), numbers, strict=True))}


def finite(values: Any, shape: tuple[int, ...], what: str) -> Floats:
    """The values as float64 of this shape. Raises Usage."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise Usage(f"{what} is not all numbers of the shape {list(shape)}", "give an array of floats") from None
    if found.shape != shape:
        raise Usage(f"{what} has the shape {list(found.shape)}, expected {list(shape)}", "give one value for each row")
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found.reshape(len(found), -1)).all(axis=1))[0])
        raise Usage(f"{what} is not finite in row {row}", "find out why before it is recorded")
    return found


def probabilities(values: Any, classes: int, split: str, *, sums_to_one: bool) -> Floats:
    """Probabilities [n, classes]. Raises Usage."""
    found = finite(values, (len(values), classes), f"probabilities of {split}")
    if (found < 0).any() or (found > 1 + 1e-6).any():
        raise Usage(f"probabilities of {split} go from {found.min():g} to {found.max():g}", "give them from 0 to 1")
    if sums_to_one and len(found) and abs(found.sum(axis=1) - 1).max() > 1e-3:
        raise Usage(f"probabilities of {split} do not add up to 1 in a row", "apply softmax before you give them")
    return found


def label_flags(values: Sequence[Any] | npt.NDArray[Any], classes: Sequence[str], what: str) -> npt.NDArray[np.bool_]:
    """Which classes each row has, bool [n, classes], of such flags or of lists of names. Raises Usage."""
    if isinstance(values, np.ndarray) and values.ndim == 2:
        if values.shape[1] != len(classes):
            raise Usage(f"{what} has {values.shape[1]} columns, expected {len(classes)}", "see run.classes")
        if not np.isin(values, (0, 1)).all():
            raise Usage(f"{what} has values other than 0 and 1", "give probabilities= as such, flags as bool")
        return values.astype(bool)
    number = {name: n for n, name in enumerate(classes)}
    found = np.zeros((len(values), len(classes)), dtype=bool)
    for row, names in enumerate(values):
        if isinstance(names, str) or not isinstance(names, Collection | None):
            raise Usage(f"{what} has {names!r}, expected a list of names", "[] for none")
        for name in names or ():
            if name not in number:
                raise Usage(f"{what} has {name!r}, which is no class", f"classes: {listed(list(classes))}")
            found[row, number[name]] = True
    return found


def table(lines: Sequence[Mapping[str, float]]) -> bytes:
    """CSV of these lines; a name that a line lacks is an empty cell."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode()
