"""Where each dataset of a commit comes from, as `dvc.lock` says: which stage made it, of which datasets, how."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import DatapinError
from datapin.base.id_columns import arrow_numbers
from datapin.checks.hygiene.rows import PIXELS, places_of, rows_of
from datapin.checks.subject import Subject
from datapin.dvcfiles.stages import LockEntry
from datapin.dvcfiles.texts import folder_of
from datapin.manifest.columns.columns import flags
from datapin.pins.files import LOCK, beside
from datapin.pipeline.mapping.output import inputs_of
from datapin.pipeline.params.params import Params, parse_yaml, validate_params
from datapin.pipeline.params.stages import PrepareParams
from datapin.pipeline.splits.crossing import Codes, Mask

_PARAMS = "params.yaml"
_OURS = re.compile(r"\bdatapin\s+run\s+(prepare|augment|featurize|train)\b")
_MOST_STEPS = 32


@dataclass(frozen=True, slots=True)
class Origin:
    """A stage as `dvc.lock` says it ran: `kind` if it is one of ours; paths are relative to the root.

    As the origin of a dataset, its `inputs` are datasets only.
    """

    stage: str
    address: str  # as `dvc repro` takes it
    kind: str | None
    inputs: tuple[str, ...]
    outs: tuple[str, ...]
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ancestors:
    """For each row of a dataset its ancestor's row in `dataset`, `steps` stages back; -1 where there is none.

    `hands_on` if no stage between them gives rows new splits.
    """

    dataset: str
    rows: Codes
    steps: int
    hands_on: bool


def stages_of(subject: Subject) -> list[Origin]:
    """Every stage that ran, by every `dvc.lock` that pins a dataset. Raises BadSettings or Refused."""
    return subject.once(
        "hygiene.stages",
        lambda: [stage for file, entries in subject.entries().items() for stage in _ran(subject, file, entries)],
    )


def made_anew(origin: Origin) -> str:
    """The command that makes a stage's rows again, and all that is made of them."""
    return f"`dvc repro --force --downstream {shlex.quote(origin.address)}`"


def origin_of(subject: Subject, dataset: str) -> Origin | None:
    """The stage that made the dataset, None for a source. Raises what reading pointers or the manifest raises."""
    for stage in stages_of(subject):
        if dataset in stage.outs:
            inputs = tuple(path for path in stage.inputs if path in subject.pins and path != dataset)
            return replace(stage, inputs=inputs or _recorded(subject, dataset))
    return None


def params_of(subject: Subject, origin: Origin, section: str, model: type[Params]) -> Params:
    """The params that the stage ran with, as `dvc.lock` holds them, else those of params.yaml. Raises BadSettings."""
    for file, values in origin.params.items():
        if isinstance(values, dict) and section in values:
            return validate_params(values[section] or {}, file, section, model)
    data = subject.read(_PARAMS)
    given = parse_yaml(data, _PARAMS).get(section) if data is not None else None
    return validate_params({} if given is None else given, _PARAMS, section, model)


def gives_splits(subject: Subject, origin: Origin) -> bool:
    """Whether splits begin with this stage: prepare, unless it keeps those of its input. Raises BadSettings."""
    return origin.kind == "prepare" and not params_of(subject, origin, "prepare", PrepareParams).keep_split


def predecessors(subject: Subject, dataset: str, source: str) -> tuple[Codes, Codes]:
    """For each row its row of the same key in `source`, and that of the key it names as its parent; -1 if none."""

    def find() -> tuple[Codes, Codes]:
        rows, before = rows_of(subject, dataset), rows_of(subject, source)
        same = places_of(rows.keys, before.keys)
        parents = rows.column("parent")
        named = np.full(len(rows), -1) if parents is None else places_of(parents, before.keys)
        return same, np.where(rows.copies, named, -1)

    return subject.once(f"hygiene.predecessors:{dataset}:{source}", find)


def ancestors_of(subject: Subject, dataset: str) -> list[Ancestors]:
    """The ancestors of each row in every dataset before this one, the nearest first.

    An input that cannot be read ends its line: the checks of that dataset say so.
    """
    lines = [Ancestors(dataset, np.arange(len(rows_of(subject, dataset))), 0, True)]
    for line in lines:  # grows on the way
        origin = origin_of(subject, line.dataset)
        if origin is None or line.steps >= _MOST_STEPS:
            continue
        hands_on = line.hands_on and not gives_splits(subject, origin)
        for source in origin.inputs:
            if any(known.dataset == source for known in lines):
                continue
            try:
                same, named = predecessors(subject, line.dataset, source)
            except DatapinError:
                continue
            step = np.append(np.where(same >= 0, same, named), -1)  # -1 leads to the last: to nothing
            lines.append(Ancestors(source, step[line.rows], line.steps + 1, hands_on))
    return lines[1:]


def fresh_rows(subject: Subject, dataset: str) -> Mask:
    """Rows that are not handed on as they are: what is wrong with the others is found in the dataset before."""
    return subject.once(f"hygiene.fresh:{dataset}", lambda: _fresh_rows(subject, dataset))


def _fresh_rows(subject: Subject, dataset: str) -> Mask:
    rows, origin = rows_of(subject, dataset), origin_of(subject, dataset)
    fresh = np.ones(len(rows), dtype=np.bool_)
    for source in origin.inputs if origin is not None else ():
        try:
            before, (same, _) = rows_of(subject, source), predecessors(subject, dataset, source)
        except DatapinError:
            continue
        chosen = np.flatnonzero(same >= 0)
        taken = same[chosen]
        is_same = (rows.ids[chosen] == before.ids[taken]).all(axis=1)
        for name in ("split", "group", "parent", "parent_id", "partner_id", PIXELS):
            is_same &= ~differs(rows.column(name), before.column(name), chosen, taken)
        fresh[chosen[is_same]] = False
    return fresh


def differs(one: pa.Array | None, other: pa.Array | None, rows: Codes, places: Codes) -> Mask:
    """Where `one[rows]` is not `other[places]`, null or not; a column that is not there is null."""
    if one is None and other is None:
        return np.zeros(len(rows), dtype=np.bool_)
    left = pa.nulls(len(rows), pa.string()) if one is None else one.take(arrow_numbers(rows)).cast(pa.string())
    right = pa.nulls(len(rows), pa.string()) if other is None else other.take(arrow_numbers(places)).cast(pa.string())
    is_other = flags(pc.not_equal(left, right))  # a null makes this null, which is False
    is_other |= flags(left.is_valid()) != flags(right.is_valid())
    return is_other


def _ran(subject: Subject, file: str, entries: Mapping[str, LockEntry]) -> Iterator[Origin]:
    folders = subject.pinned_at.folders(file)
    for name, entry in entries.items():
        folder = folder_of(name, file, folders)
        deps, outs = (
            tuple(posixpath.normpath(posixpath.join(folder, path)) for path in paths)
            for paths in (entry.deps, entry.outs)
        )
        command = entry.command if isinstance(entry.command, list) else [entry.command]
        found = _OURS.search("\n".join(map(str, command)))
        address = name if file == LOCK else f"{beside(file)}:{name}"
        yield Origin(name, address, found.group(1) if found else None, deps, outs, entry.params)


def _recorded(subject: Subject, dataset: str) -> tuple[str, ...]:
    """The datasets that the manifest itself says it was made of, for a stage that does not declare them."""
    names = inputs_of(subject.manifest(dataset))
    return tuple(name for name in names if name in subject.pins and name != dataset)
