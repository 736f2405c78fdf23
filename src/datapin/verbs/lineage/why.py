"""`why`: what made a row be computed, or reused: what differs from the version before, down to the source.

Answered from what commits pin, not from what some run said: the same asset, operator and partner have the same result,
wherever and whenever it is computed.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.documents import read_json
from datapin.base.errors import DatapinError, UnknownDataset, UnknownKey, Usage
from datapin.manifest.columns.values import python_rows
from datapin.manifest.manifest import Manifest
from datapin.manifest.select import rows_of
from datapin.pins.commits import is_same_version
from datapin.pins.read import Pins
from datapin.pins.versions import VersionHistory
from datapin.pipeline.params.params import read_params_file
from datapin.pipeline.record.environment import environment_differences
from datapin.pipeline.record.environment_file import environment_of, environment_path
from datapin.verbs.lineage.trace import code_commit, parts_of
from datapin.verbs.workspace.bring import open_pinned
from datapin.verbs.workspace.reports import Row
from datapin.verbs.workspace.workspace import Workspace

if TYPE_CHECKING:
    from datapin.dvcfiles.stages import LockedStage
    from datapin.git.log import Commit

FEATURES = "features"
_MADE = ("asset_id", "size", "media_type", "pixels", "parent", "parent_id", "partner_id", "operator", FEATURES)
_WORK = ("parent_id", "operator", "partner_id")
_LARGEST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is not as it was; `before` and `after` are None where there was, or is, nothing to name.

    kind is row (there was none), asset (of the row it was made from), partner, params, code (a file of yours), operator
    (datapin's own, or a library that it names), environment (what the run record tells of the machine), result (other
    although all of these are the same), or column (what no stage computes, such as a label).
    """

    kind: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class WhyStep:
    """One row on the way down. `outcome` is computed, reused or kept (as its input has it) by `stage`.

    Of a source, which no stage wrote: added, replaced or unchanged.
    """

    dataset: str
    key: str
    stage: str | None
    outcome: str
    causes: list[Cause]


@dataclass(frozen=True, slots=True)
class WhyReport:
    """From the row that was asked for down to its source, in that order.

    `before` is the version that it is compared with, by its commit; None if this is the first one. `pending` is what
    differs by now from what the stages of the work tree ran with.
    """

    dataset: str
    key: str
    rev: str | None
    before: dict[str, str] | None
    steps: list[WhyStep]
    pending: list[Cause] = field(default_factory=list)


def why(workspace: Workspace, selector: str) -> WhyReport:
    """Why the row `DATASET:KEY[@REV]` was computed or reused. Manifests that are not here are brought.

    Raises Usage, UnknownVersion, UnknownDataset, UnknownKey, ManifestMissing.
    """
    dataset, key, rev = parts_of(workspace, selector)
    if key is None:
        raise Usage(f"{selector!r} names no row", "name one: datapin why DATASET:KEY")
    now = _Side(workspace, Pins.at(workspace.root, rev))
    if dataset not in now.pins.possible:
        raise UnknownDataset(dataset, tuple(sorted(now.pins.possible)))
    commit = _version_before(workspace, now, dataset)
    before = None if commit is None else _Side(workspace, Pins.at(workspace.root, commit.name))
    steps = list(_steps(now, before, dataset, key))
    told = None
    if commit is not None:
        told = {"commit": commit.name, "author": commit.author, "date": commit.date, "subject": commit.subject}
    pending = list(_pending(workspace.root, now, steps)) if rev is None else []
    return WhyReport(dataset, key, rev, told, steps, pending)


def _version_before(workspace: Workspace, now: _Side, dataset: str) -> Commit | None:
    """The commit that made the version of the dataset before the one that is asked about."""
    start = code_commit(workspace, now.pins)
    if start is None:
        return None
    for commit, pin in VersionHistory(workspace.root, dataset, start).versions():
        if not is_same_version(pin, now.pins.possible[dataset]):
            return commit
    return None


class _Side:
    """One of the two states that are compared: what it pins, and rows of it."""

    def __init__(self, workspace: Workspace, pins: Pins) -> None:
        self._workspace = workspace
        self.pins = pins
        self._manifests: dict[str, Manifest] = {}

    def manifest(self, dataset: str) -> Manifest | None:
        """The manifest of a dataset that is pinned here; None for anything else."""
        pin = self.pins.possible.get(dataset)
        if pin is None:
            return None
        if dataset not in self._manifests:
            self._manifests[dataset] = open_pinned(self._workspace, pin)
        return self._manifests[dataset]

    def row(self, dataset: str, key: str | None) -> Row | None:
        """The row as Python values, without nulls."""
        manifest = self.manifest(dataset)
        if manifest is None or key is None:
            return None
        rows = python_rows(rows_of(manifest, pa.array([key], pa.string()), manifest.schema))
        return {name: value for name, value in rows[0].items() if value is not None} if rows else None

    def row_like(self, dataset: str, wanted: Mapping[str, Any]) -> Row | None:
        """The first row that has all of these values."""
        manifest = self.manifest(dataset)
        if manifest is None or not wanted.keys() <= set(manifest.schema.names):
            return None
        for table in manifest.iter_tables(["key", *wanted]):
            mask = pa.array([True] * table.num_rows)
            for name, value in wanted.items():
                mask = pc.and_(mask, pc.fill_null(pc.equal(table[name], value), False))
            found = table["key"].filter(mask)
            if len(found):
                return self.row(dataset, found[0].as_py())
        return None

    def stage(self, dataset: str) -> LockedStage | None:
        """The stage that wrote the dataset."""
        return next((one for one in self.pins.stages if any(out.path == dataset for out in one.outs)), None)

    def environment(self) -> Mapping[str, Any]:
        """What a run record that Git keeps here tells of the machine; empty if there is none."""
        for out in (out for stage in self.pins.stages for out in stage.outs if out.path.endswith(".json")):
            try:
                record = read_json(self.pins.text(out.path) or b"null", out.path)["runs"][0]
                found = environment_of(record, self.pins.text(environment_path(out.path)))
            except (ValueError, TypeError, KeyError, IndexError):
                continue
            if found is not None:
                return found
        return {}


@dataclass(frozen=True, slots=True)
class _Made:
    """A row and what its stage made it from: `wanted` finds the same work, `result` is what came of it."""

    row: Row
    source: str | None  # dataset; None if no stage wrote the row
    source_key: str | None
    wanted: dict[str, Any]
    result: Any
    is_kept: bool = False


def _steps(now: _Side, before: _Side | None, dataset: str, key: str) -> Iterator[WhyStep]:
    seen: set[str] = set()
    name: str | None = dataset
    place: str | None = key
    while name is not None and place is not None and name not in seen:
        seen.add(name)
        row = now.row(name, place)
        if row is None:
            raise UnknownKey(name, place, ())
        made = _made(now, name, row)
        yield _step(now, before, name, place, made)
        name, place = made.source, made.source_key


def _made(side: _Side, dataset: str, row: Row) -> _Made:
    stage = side.stage(dataset)
    for dep in stage.deps if stage is not None else ():
        same, parent = side.row(dep.path, row["key"]), side.row(dep.path, row.get("parent"))
        if same is not None and same["asset_id"] == row["asset_id"]:
            if FEATURES in row and FEATURES not in same:
                return _Made(row, dep.path, row["key"], {"asset_id": row["asset_id"]}, row[FEATURES])
            return _Made(row, dep.path, row["key"], {}, None, is_kept=True)
        if parent is not None and parent["asset_id"] == row.get("parent_id"):
            wanted = {name: value for name, value in row.items() if name in _WORK}
            return _Made(row, dep.path, row["parent"], wanted, row["asset_id"])
    return _Made(row, None, None, {}, row["asset_id"])


def _step(now: _Side, before: _Side | None, dataset: str, key: str, made: _Made) -> WhyStep:
    stage = now.stage(dataset)
    name = None if stage is None else stage.name
    old = None if before is None else before.row(dataset, key)
    columns = [] if old is None else list(_columns(old, made.row))
    if made.is_kept:
        return WhyStep(dataset, key, name, "kept", columns or _new(dataset, key, old))
    if made.source is None:
        if old is None:
            return WhyStep(dataset, key, name, "added", _new(dataset, key, old))
        if old["asset_id"] == made.row["asset_id"]:
            return WhyStep(dataset, key, name, "unchanged", columns)
        cause = Cause("asset", f"{dataset}:{key}", old["asset_id"], made.row["asset_id"])
        return WhyStep(dataset, key, name, "replaced", [cause, *columns])
    if before is not None and _is_known(now, before, dataset, old, made):
        return WhyStep(dataset, key, name, "reused", columns or _new(dataset, key, old))
    causes = _causes(now, before, dataset, old, made)
    return WhyStep(dataset, key, name, "computed", [*causes, *columns])


def _new(dataset: str, key: str, old: Row | None) -> list[Cause]:
    return [] if old is not None else [Cause("row", f"{dataset}:{key}", None, None)]


def _is_known(now: _Side, before: _Side, dataset: str, old: Row | None, made: _Made) -> bool:
    """Whether the version before had the same work with the same result, for this row or another."""
    if FEATURES in made.row and list(_operator_causes(now, before, dataset)):
        return False  # features name no operator: it is told by its params and code
    if old is not None and all(old.get(name) == value for name, value in made.wanted.items()):
        return repr(_result(old)) == repr(made.result)
    like = before.row_like(dataset, made.wanted)
    return like is not None and repr(_result(like)) == repr(made.result)


def _result(row: Row) -> Any:
    return row[FEATURES] if FEATURES in row else row["asset_id"]


def _causes(now: _Side, before: _Side | None, dataset: str, old: Row | None, made: _Made) -> list[Cause]:
    if before is None or old is None:
        return _new(dataset, made.row["key"], None)
    source = f"{made.source}:{made.source_key}"
    named = {"parent_id": ("asset", source), "asset_id": ("asset", source), "partner_id": ("partner", source)}
    found = [
        Cause(*named[name], old.get(name), value)
        for name, value in made.wanted.items()
        if name in named and old.get(name) != value
    ]
    if "operator" not in made.wanted or old.get("operator") != made.wanted["operator"]:
        changed = list(_operator_causes(now, before, dataset))
        if not changed and "operator" in made.wanted:
            changed = [Cause("operator", dataset, old.get("operator"), made.wanted["operator"])]
        found += changed
    if not found:
        differences = environment_differences(before.environment(), now.environment())
        found = [
            Cause("environment", one.name, one.recorded, one.here) for one in differences if one.reach != "nothing"
        ]
    return found or [Cause("result", f"{dataset}:{made.row['key']}", None, None)]


def _operator_causes(now: _Side, before: _Side, dataset: str) -> Iterator[Cause]:
    """What differs in the parameters of the dataset's stage, and in the files of code that it depends on."""
    new, old = now.stage(dataset), before.stage(dataset)
    if new is None or old is None:
        return
    yield from _differences(_flat(old.params), _flat(new.params))
    files = [
        {dep.path: dep.md5 or "" for dep in stage.deps if dep.path not in side.pins.possible}
        for stage, side in ((old, before), (new, now))
    ]
    for one in _differences(*files):
        yield Cause("code", one.name, one.before, one.after)


def _columns(old: Row, new: Row) -> Iterator[Cause]:
    names = [name for name in dict.fromkeys([*new, *old]) if name not in _MADE]
    for name in names:
        if repr(old.get(name)) != repr(new.get(name)):
            texts = (None if value is None else str(value) for value in (old.get(name), new.get(name)))
            yield Cause("column", name, *texts)


def _flat(params: Mapping[str, Any]) -> dict[str, Any]:
    """`{params.yaml: {prepare: {resize: 8}}}` as `{prepare.resize: 8}`."""
    found: dict[str, Any] = {}

    def walk(name: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for inner, one in value.items():
                walk(f"{name}.{inner}" if name else str(inner), one)
        else:
            found[name] = value

    for sections in params.values():
        walk("", sections)
    return found


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Cause]:
    for name in dict.fromkeys([*new, *old]):
        if old.get(name) != new.get(name):
            texts = (str(side[name]) if name in side else None for side in (old, new))
            yield Cause("params", name, *texts)


def _pending(root: Path, now: _Side, steps: list[WhyStep]) -> Iterator[Cause]:
    """Parameters and code that the next `dvc repro` will see, and the stages of these steps did not."""
    stages = [stage for step in steps if (stage := now.stage(step.dataset)) is not None]
    for stage in stages:
        for file, sections in stage.params.items():
            try:
                given = read_params_file(root / posixpath.dirname(stage.file) / file)
            except DatapinError:
                continue
            here = {name: _at(given, name) for name in sections}
            yield from _differences(_flat({file: sections}), _flat({file: here}))
        for dep in stage.deps:
            path = root / dep.path
            if dep.path in now.pins.possible or not path.is_file() or path.stat().st_size > _LARGEST_BYTES:
                continue
            found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            if dep.md5 is not None and found != dep.md5:
                yield Cause("code", dep.path, dep.md5, found)


def _at(given: Any, name: str) -> Any:
    """The value at a dotted name, as DVC looks it up; None if there is none."""
    for part in name.split("."):
        given = given.get(part) if isinstance(given, Mapping) else None
    return given
