"""The class index: which number a class has. Alphabetical as in Keras and torchvision, pinned in the manifest."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.documents import read_json
from datapin.base.errors import StageRefused, listed
from datapin.base.findings import Finding
from datapin.manifest.columns.columns import one_array
from datapin.manifest.manifest import Manifest

CLASSES = "datapin.classes"
"""The property of a manifest that holds the classes, in order, as a JSON list."""


def classes_of(manifest: Manifest) -> list[str] | None:
    """The pinned classes, or None if the manifest pins none."""
    try:
        found = read_json(manifest.properties.get(CLASSES, "null"), CLASSES)
    except ValueError:
        return None
    return [str(name) for name in found] if isinstance(found, list) else None


def pinned_classes(table: pa.Table, given: Sequence[str] | None, stage: str) -> list[str] | None:
    """The classes in order of their index: those given, or all labels by their code points. None without text labels.

    Raises StageRefused if a label is not among those given.
    """
    if "label" not in table.column_names or not pa.types.is_string(table["label"].type):
        if given is not None:
            raise StageRefused(stage, "classes are pinned, but the rows have no text labels", "remove `classes`")
        return None
    seen = sorted(pc.unique(table["label"].drop_null()).to_pylist())
    if given is None:
        return seen
    unknown = [label for label in seen if label not in set(given)]
    if unknown:
        close = difflib.get_close_matches(unknown[0], given, n=1)
        advice = f"is {unknown[0]!r} meant to be {close[0]!r}? " if close else ""
        raise StageRefused(
            stage,
            f"label(s) that are not among the pinned classes: {listed([repr(label) for label in unknown], 5)}",
            f"{advice}correct the labels with `datapin update`, or `classes` in params.yaml",
        )
    return list(given)


def check_classes(table: pa.Table, classes: Sequence[str], previous: Manifest | None, output: str) -> list[Finding]:
    """What is odd about the classes: no rows, one class only, missing in train, or other ones than before."""
    findings = []
    label = one_array(table["label"])
    train = set(pc.unique(label.filter(pc.equal(one_array(table["split"]), "train"))).to_pylist())
    absent = [name for name in classes if name not in train]
    if absent:
        message = f"{len(absent)} class(es) have no train rows: {listed(absent, 5)}"
        findings.append(Finding("warning", "class-without-train-rows", output, message))
    if len(classes) == 1:
        message = f"there is only one class, {classes[0]!r}"
        findings.append(Finding("warning", "one-class", output, message, "add rows of another class before training"))
    before = classes_of(previous) if previous is not None else None
    if before is not None and before != list(classes):
        gone = [name for name in before if name not in classes]
        new = [name for name in classes if name not in before]
        moved = sum(name in before and before.index(name) != place for place, name in enumerate(classes))
        message = (
            f"the class index changed: {len(new)} new ({listed(new, 5) or '-'}), {len(gone)} gone"
            f" ({listed(gone, 5) or '-'}), {moved} with another number"
        )
        advice = "models trained before read other numbers; set `classes` in params.yaml to pin their order"
        findings.append(Finding("warning", "class-index-changed", output, message, advice))
    return findings
