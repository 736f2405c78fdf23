"""hygiene: keys, labels and features that are missing or wrong."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.findings import Finding
from datapin.base.id_columns import numbers
from datapin.base.near_names import near_standard_name
from datapin.checks.check import MOST_LISTED, Check
from datapin.checks.hygiene.origins import origin_of, stages_of
from datapin.checks.hygiene.rows import counted, each_dataset, rows_of
from datapin.checks.subject import Subject
from datapin.manifest.columns.columns import flags, one_array
from datapin.manifest.columns.keys import case_collisions
from datapin.pipeline.splits.crossing import Codes
from datapin.pipeline.stages.featurize import EXTRACTORS, FEATURES

KEYS = "hygiene.duplicate-keys"
LABELS = "hygiene.labels-missing"
VECTORS = "hygiene.features-missing"
NAMES = "hygiene.column-names"

_LOOKED_AT = ("label", "group", "split")


def _keys(subject: Subject, dataset: str) -> Iterator[Finding]:
    # A key that is there twice makes a manifest unreadable: reading it names the key.
    pairs = case_collisions(rows_of(subject, dataset).keys)
    origin = origin_of(subject, dataset) if pairs else None
    for source in origin.inputs if origin is not None else ():
        known = set(case_collisions(rows_of(subject, source).keys))  # told there
        pairs = [pair for pair in pairs if pair not in known]
    hint = "rename one of the files and add them again, or remove its row: `datapin help remove`"
    findings = [
        Finding(
            "warning", KEYS, f"{dataset}:{one}", f"the same key as {other}, case aside: macOS cannot hold both", hint
        )
        for one, other in pairs[:MOST_LISTED]
    ]
    yield from counted(findings, len(pairs), "pairs of keys")


def _is_trained_on(subject: Subject, dataset: str) -> bool:
    """Whether train reads it."""
    return any(stage.kind == "train" and dataset in stage.inputs for stage in stages_of(subject))


def _labels(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows = rows_of(subject, dataset)
    if not _is_trained_on(subject, dataset):
        return
    labels = rows.column("label")
    hint = "label them (`datapin help update`), or set prepare.on_unlabelled: drop in params.yaml"
    if labels is None:
        yield Finding("error", LABELS, dataset, "has no column label, and a model is trained on it", hint)
        return
    missing = flags(labels.is_null(nan_is_null=True))
    if pa.types.is_string(labels.type):
        missing |= flags(pc.equal(labels, ""))
    found = np.flatnonzero(missing)
    findings = [Finding("error", LABELS, rows.where(row), "has no label", hint) for row in found[:MOST_LISTED].tolist()]
    yield from counted(findings, len(found), "rows")


def _names(subject: Subject, dataset: str) -> Iterator[Finding]:
    names = rows_of(subject, dataset).manifest.schema.names
    nearly = [(name, near) for name in names if (near := near_standard_name(name, names)) in _LOOKED_AT]
    if not nearly or origin_of(subject, dataset) is not None:  # a stage hands the columns of its input on
        return
    for name, near in nearly:
        renaming = f"datapin.open(d).to_arrow().rename_columns({{{name!r}: {near!r}}})"
        command = f"import datapin; d = {dataset!r}; datapin.write(d, {renaming})"
        message = f"column {name!r} is nearly called {near!r}, which no stage and no check takes it for"
        yield Finding("warning", NAMES, dataset, message, f"if it is the {near}: python -c {shlex.quote(command)}")


def _vectors(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows, origin = rows_of(subject, dataset), origin_of(subject, dataset)
    stage = origin.stage if origin is not None else "featurize"
    hint = f"make them anew with `dvc repro --force --downstream {shlex.quote(stage)}`"
    if FEATURES not in rows.manifest.schema.names:
        is_wanted = _is_trained_on(subject, dataset) or (origin is not None and origin.kind == "featurize")
        if is_wanted or EXTRACTORS in rows.manifest.properties:
            yield Finding("error", VECTORS, dataset, f"has no column {FEATURES}", hint)
        return
    findings: list[Finding] = []
    total = start = 0
    width: int | None = None
    for table in rows.manifest.iter_tables([FEATURES]):
        column = one_array(table[FEATURES])
        if not _is_list_of_numbers(column.type):
            message = f"{FEATURES} is {column.type}, expected fixed_size_list of numbers"
            yield Finding("error", VECTORS, dataset, message, hint)
            return
        widths, off = _looked_at(column)
        if width is None and len(widths):
            width = int(np.bincount(widths[widths >= 0]).argmax()) if (widths >= 0).any() else None
        off = np.union1d(off, np.flatnonzero((widths >= 0) & (widths != width)))
        for row in off[: MOST_LISTED - len(findings)].tolist():
            findings.append(Finding("error", VECTORS, rows.where(start + row), _what(int(widths[row]), width), hint))
        total += len(off)
        start += len(column)
    yield from counted(findings, total, "rows")


def _looked_at(column: pa.Array) -> tuple[Codes, Codes]:
    """How many features each row has, -1 for none at all, and the rows that have none or some that are no numbers."""
    is_there = flags(column.is_valid())
    widths = np.where(is_there, numbers(pc.list_value_length(column).fill_null(0)).astype(np.int64), -1)
    flat = column.flatten()  # without the lists that are null
    bad = _not_finite(flat)
    row_of_value = np.repeat(np.flatnonzero(is_there), widths[is_there]) if bad.any() else np.zeros(0, dtype=np.int64)
    return widths, np.union1d(np.flatnonzero(~is_there | (widths == 0)), row_of_value[np.flatnonzero(bad)])


def _not_finite(flat: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    missing = ~flags(flat.is_valid())
    if pa.types.is_floating(flat.type):
        missing |= ~flags(pc.fill_null(pc.is_finite(flat), True))
    return missing


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    is_list: bool = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind)
    return is_list and bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _what(seen: int, width: int | None) -> str:
    if seen < 0:
        return "has no features"
    if seen != width or not seen:
        return f"has {seen} features, expected {width or 'some'}"
    return "has features that are missing or not finite (null, NaN or infinity)"


CHECKS: tuple[Check, ...] = (
    Check(KEYS, "Is each key there once, case aside?", partial(each_dataset, check=KEYS, look=_keys)),
    Check(
        LABELS, "Has every row that a model is trained on a label?", partial(each_dataset, check=LABELS, look=_labels)
    ),
    Check(
        NAMES,
        "Is no column only nearly called label, group or split?",
        partial(each_dataset, check=NAMES, look=_names),
    ),
    Check(
        VECTORS,
        "Has every row all its features, finite and as many as the others?",
        partial(each_dataset, check=VECTORS, look=_vectors),
    ),
)
