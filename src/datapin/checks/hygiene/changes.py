"""hygiene: what changed since the dataset's previous version: classes, and how rows spread over labels and splits."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import DatapinError, listed
from datapin.base.findings import Finding
from datapin.base.id_columns import numbers
from datapin.checks.check import Check
from datapin.checks.hygiene.origins import Origin, origin_of
from datapin.checks.hygiene.rows import DatasetRows, each_dataset, rows_of
from datapin.checks.subject import Subject
from datapin.git.log import shallow_commits
from datapin.manifest.columns.columns import arrow_flags, decoded, one_array
from datapin.manifest.manifest import Manifest
from datapin.pipeline.splits.classes import classes_of
from datapin.pipeline.splits.leaks import is_augmented

CLASS_SET = "hygiene.class-set-changed"
CLASS_INDEX = "hygiene.class-index-changed"
LABEL_DRIFT = "hygiene.label-drift"
SPLIT_DRIFT = "hygiene.split-drift"

_BINS = 10
_SHALLOW = "this clone is shallow: datasets whose previous version lies before its first commit were not compared"
_COLUMNS = ("key", "label", "split", "parent")


@dataclass(frozen=True, slots=True)
class Spread:
    """How many rows, copies left out, each label and each split has; `labels` of numbers are None."""

    labels: dict[str, int] | None
    numbers: npt.NDArray[np.float64] | None
    splits: dict[str, int] | None
    classes: tuple[str, ...] | None  # in the order of their index, where the manifest pins it


_Change = Callable[[Subject, Spread, Spread], str | None]


def _spread(manifest: Manifest) -> Spread:
    table = manifest.to_table([name for name in _COLUMNS if name in manifest.schema.names])
    # How many copies augment makes is a parameter, no drift.
    table = table.filter(arrow_flags(~is_augmented(table)))
    label = one_array(table["label"]) if "label" in table.column_names else None
    is_text = label is not None and pa.types.is_string(decoded(label).type)
    values = None
    if label is not None and not is_text:
        given = one_array(label.cast(pa.float64(), safe=False).drop_null())
        values = np.frombuffer(given.buffers()[1] or b"", dtype=np.float64)[given.offset : given.offset + len(given)]
        values = values[np.isfinite(values)]
    classes = classes_of(manifest)
    return Spread(
        labels=_counts(label) if label is not None and is_text else None,
        numbers=values,
        splits=_counts(one_array(table["split"])) if "split" in table.column_names else None,
        classes=None if classes is None else tuple(classes),
    )


def _counts(column: pa.Array) -> dict[str, int]:
    found = pc.value_counts(column.drop_null())
    names, counts = found.field("values").to_pylist(), numbers(found.field("counts")).tolist()
    return {name: count for name, count in zip(names, counts, strict=True) if name}  # an empty label is none


def _both(subject: Subject, dataset: str) -> tuple[Spread, Spread] | None:
    """Before and now; None if there was nothing before, or the same rows."""

    def find() -> tuple[Spread, Spread] | None:
        now = rows_of(subject, dataset).manifest
        before = subject.before(dataset)
        if before is None and shallow_commits(subject.root) and _SHALLOW not in subject.notes:
            subject.notes.append(_SHALLOW)
        is_same = before is None or (before.digest == now.digest and classes_of(before) == classes_of(now))
        return None if before is None or is_same else (_spread(before), _spread(now))

    return subject.once(f"hygiene.spreads:{dataset}", find)


def _look(subject: Subject, dataset: str, *, check: str, change: _Change, hint: str) -> Iterator[Finding]:
    """A finding if the dataset changed so, unless a dataset that it is made of did, too: it is told there."""
    rows, origin = rows_of(subject, dataset), origin_of(subject, dataset)
    if origin is not None and origin.kind in ("augment", "featurize"):
        # These hand on what is compared here, which the checks of lineage hold them to; all but the class index.
        if check == CLASS_INDEX:
            yield from _other_index(subject, rows, origin)
        return
    try:
        both = _both(subject, dataset)
    except DatapinError as error:
        message = f"could not be compared with its previous version: {error.message_of(dataset)}"
        yield Finding("warning", check, dataset, message, error.hint)
        return
    seen = change(subject, *both) if both is not None else None
    if seen is None:
        return
    for source in origin.inputs if origin is not None else ():
        try:
            of_source = _both(subject, source)
        except DatapinError:
            continue
        if of_source is not None and change(subject, *of_source) is not None:
            return
    yield Finding("warning", check, dataset, seen, hint)


def _other_index(subject: Subject, rows: DatasetRows, origin: Origin) -> Iterator[Finding]:
    classes = classes_of(rows.manifest)
    for source in origin.inputs:
        before = classes_of(rows_of(subject, source).manifest)
        if classes != before:
            message = (
                f"pins the class index {_named(classes or ())}; {source}, which it is made of, {_named(before or ())}"
            )
            yield Finding(
                "error",
                CLASS_INDEX,
                rows.dataset,
                message,
                f"make it anew with `dvc repro -f {shlex.quote(origin.stage)}`",
            )


def _class_set(subject: Subject, before: Spread, now: Spread) -> str | None:
    if not before.labels or now.labels is None:
        return None
    gone, new = sorted(before.labels.keys() - now.labels.keys()), sorted(now.labels.keys() - before.labels.keys())
    if not gone and not new:
        return None
    return f"classes changed since the previous version: {_named(new)} new, {_named(gone)} gone"


def _class_index(subject: Subject, before: Spread, now: Spread) -> str | None:
    if before.classes is None or before.classes == now.classes:
        return None
    if now.classes is None:
        return f"pins no class index any more; the previous version had {_named(before.classes)}"
    places = {name: place for place, name in enumerate(before.classes)}
    moved = [
        f"{name}: {places[name]} → {place}"
        for place, name in enumerate(now.classes)
        if places.get(name, place) != place
    ]
    if not moved:  # only new classes behind the old ones, or the last ones gone
        return None
    return f"{len(moved)} class(es) have another number than in the previous version: {listed(moved, 5)}"


def _labels_drift(subject: Subject, before: Spread, now: Spread) -> str | None:
    if before.numbers is not None and now.numbers is not None and len(before.numbers) and len(now.numbers):
        edges = np.unique(np.quantile(before.numbers, np.linspace(0, 1, _BINS + 1)[1:-1]))
        counts = [
            np.bincount(np.searchsorted(edges, one), minlength=len(edges) + 1) for one in (before.numbers, now.numbers)
        ]
        names = [f"bin {number + 1} of {len(edges) + 1}" for number in range(len(edges) + 1)]
        shares = [dict(zip(names, one.tolist(), strict=True)) for one in counts]
        return _drift(shares[0], shares[1], subject.params.label_drift, "label")
    return _drift(before.labels, now.labels, subject.params.label_drift, "label")


def _splits_drift(subject: Subject, before: Spread, now: Spread) -> str | None:
    return _drift(before.splits, now.splits, subject.params.split_drift, "split")


def _drift(before: dict[str, int] | None, now: dict[str, int] | None, bound: float, what: str) -> str | None:
    """What to say if the total variation distance of the two distributions is beyond the bound."""
    if not before or not now:
        return None
    names = sorted({*before, *now})
    was, seen = (np.array([one.get(name, 0) for name in names], dtype=np.float64) for one in (before, now))
    was, seen = was / was.sum(), seen / seen.sum()
    distance = float(np.abs(was - seen).sum() / 2)
    if distance <= bound + 1e-12:
        return None
    most = np.argsort(-np.abs(was - seen), kind="stable")[:3]
    changes = [f"{names[one]} {was[one]:.1%} → {seen[one]:.1%}" for one in most]
    return (
        f"the distribution of {what}s is {distance:.3f} away from the previous version's, the bound is {bound:g}"
        f" (verify.{what}_drift): {', '.join(changes)}"
    )


def _named(names: Sequence[str]) -> str:
    return f"{len(names)} ({listed(list(names), 5)})" if names else "0"


def _check(name: str, asks: str, change: _Change, hint: str) -> Check:
    return Check(
        name, asks, partial(each_dataset, check=name, look=partial(_look, check=name, change=change, hint=hint))
    )


CHECKS: tuple[Check, ...] = (
    _check(
        CLASS_SET,
        "Are the classes those of the previous version?",
        _class_set,
        "a model that was trained before does not know them: see `datapin diff`, train anew, or correct the labels",
    ),
    _check(
        CLASS_INDEX,
        "Has every class the number that it had in the previous version?",
        _class_index,
        "models trained before read other numbers; set `classes` of prepare in params.yaml to pin their order",
    ),
    _check(
        LABEL_DRIFT,
        "Are labels spread as in the previous version?",
        _labels_drift,
        "see `datapin diff`; if it is meant, raise verify.label_drift in params.yaml or write a waiver",
    ),
    _check(
        SPLIT_DRIFT,
        "Are splits spread as in the previous version?",
        _splits_drift,
        "see `datapin diff`; if it is meant, raise verify.split_drift in params.yaml or write a waiver",
    ),
)
