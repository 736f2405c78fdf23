"""What a training script hands over, checked: shapes, ranges, boxes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datapin.base.errors import Usage, listed
from datapin.pipeline.training.metrics import Floats
from datapin.pipeline.training.tasks import Box


def checked_box(box: Box, split: str) -> Box:
    """The box with its numbers as such, score 1 unless it says one. Raises Usage."""
    lacking = [name for name in ("label", "x", "y", "width", "height") if name not in box]
    if lacking:
        raise Usage(f"a box predicted for {split} lacks {listed(lacking)}", "give label, x, y, width, height, score")
    numbers = [float(box[name]) for name in ("x", "y", "width", "height")] + [float(box.get("score", 1.0))]
    if not all(map(math.isfinite, numbers)) or min(numbers[2:4]) < 0:
        raise Usage(f"a box predicted for {split} is {dict(box)}", "give finite numbers, sizes from 0 on")
    return {"label": str(box["label"]), **dict(zip(("x", "y", "width", "height", "score"), numbers, strict=True))}


def finite(values: Any, shape: tuple[int, ...], what: str) -> Floats:
    """The values as float64 of this shape. Raises Usage."""
    found = np.asarray(values, dtype=np.float64)
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


def table(lines: Sequence[Mapping[str, float]]) -> bytes:
    """CSV of these lines; a name that a line lacks is an empty cell."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode()
