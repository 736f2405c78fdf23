"""What a rerun gave, judged output by output: identical, equal, hardly different for a known reason, or wrong."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from datapin.base.errors import Damage, DatapinError, OutputMissing, StorageFailed, listed
from datapin.base.findings import Finding, Severity
from datapin.checks.repro.clone import CleanClone
from datapin.checks.repro.difference import Difference
from datapin.checks.repro.files import compare_files, compare_folders, widest_gap
from datapin.checks.repro.outputs import PinnedOutputs, address, is_manifest
from datapin.checks.repro.rerun import Rerun
from datapin.checks.repro.tables import compare_manifest_rows
from datapin.dvcfiles.locks import overlap
from datapin.dvcfiles.stages import LockedFile, LockedStage
from datapin.git.ask import blob_at
from datapin.manifest.manifest import Manifest
from datapin.pipeline.record.environment import EnvironmentDifference, environment_differences
from datapin.pipeline.record.environment_file import environment_of, environment_path, read_environments
from datapin.pipeline.record.record import RECORD, parse_record

NAME = "repro.outputs"
_MOST_CAUSES = 4
_HINT_RUN = "run `dvc repro`, then commit dvc.lock"
_HINT_HERE = "install what the run record names, or run `dvc repro` here and commit what it gives"
_HINT_FIX = "seed it, sort what it lists, take no time from the clock; then `dvc repro` and commit dvc.lock"


@dataclass(slots=True)
class Verdict:
    """All findings, and how many outputs came out with the same bytes."""

    findings: list[Finding] = field(default_factory=list)
    stages: int = 0
    outputs: int = 0
    identical: int = 0


@dataclass(frozen=True, slots=True)
class Loose:
    """What is asked of a stage that does not give the same twice: its metrics, to within a tolerance."""

    metrics: str
    tolerance: float


@dataclass(frozen=True, slots=True)
class _Causes:
    texts: list[str]
    hint: str


@dataclass(slots=True)
class _Judge:
    pinned: PinnedOutputs
    clone: CleanClone
    result: Rerun
    lock: Mapping[tuple[str, str], LockedStage]  # as the rerun wrote it
    environment: list[EnvironmentDifference] | None  # None: nobody tells
    recorded: Mapping[str, str]  # dataset: digest, as the run record tells
    loose: Mapping[tuple[str, str], Loose]  # stages that say that they do not give the same twice
    spoiled: dict[str, Difference] = field(default_factory=dict)  # outputs that differ, by path
    verdict: Verdict = field(default_factory=Verdict)

    def judge(self, stage: LockedStage) -> None:
        """Add the findings on one stage; the stages before it have been judged."""
        name = address(stage)
        if name in self.result.failed:
            message = f"the stage failed: {self.result.failed[name]}"
            self._find(
                "error", f"stage {name}", message, f"run `dvc repro --force {shlex.quote(name)}` in a clean clone"
            )
            return
        self.verdict.stages += 1
        self.verdict.outputs += len(stage.outs)
        again = self.lock.get((stage.file, stage.name))
        absent = [out.path for out in stage.outs if not (self.clone.root / out.path).exists()]
        if again is None or absent:
            why = "dvc.yaml has no such stage any more, or one before it failed" if absent else "DVC did not note it"
            message = f"was not run again: {why}{f'; there is no {listed(absent, 3)}' if absent else ''}"
            self._find("error", f"stage {name}", message, _HINT_RUN)
            return
        written = {out.path: out.md5 for out in again.outs}
        differences: dict[str, Difference] = {}
        for out in stage.outs:
            if out.path in written and written[out.path] == out.md5 and out.md5 is not None:
                self.verdict.identical += 1
                continue
            try:
                differences[out.path] = self._compare(out)
            except DatapinError as error:
                self._find("error", out.path, f"could not be compared: {error.message_of(out.path)}", error.hint)
                self.spoiled[out.path] = Difference("different", error.message)
        loose = self.loose.get((stage.file, stage.name))
        if loose is not None and differences and not self._follows(stage):
            self._settle_loosely(stage, loose, differences)
            return
        for path, difference in differences.items():
            if difference.grade != "equal":
                self.spoiled[path] = difference
        causes = self._causes(stage, again)
        for path, difference in differences.items():
            self._settle(path, difference, stage, differences, causes)

    def _compare(self, out: LockedFile) -> Difference:
        place = self.clone.root / out.path
        if place.is_dir() != (out.md5 or "").endswith(".dir"):
            return Difference("different", f"is {'a folder' if place.is_dir() else 'a file'} now")
        try:
            if not place.is_dir():
                return compare_files(self.pinned.files(out)[""], place, out.path)
            new = {one.relative_to(place).as_posix(): one for one in sorted(place.rglob("*")) if one.is_file()}
            if is_manifest(list(new)):
                return self._compare_rows(out, Manifest.open(place, out.path))
            return compare_folders(self.pinned.files(out), new)
        except OutputMissing as error:
            # A stage's outputs need not be pushed: its inputs are, and here it was run again.
            return Difference("opaque", f"the bytes differ, and those pinned are {error.problem}")
        except OSError as error:
            raise StorageFailed("read", out.path, error.strerror or str(error)) from None

    def _compare_rows(self, out: LockedFile, after: Manifest) -> Difference:
        try:
            before = self.pinned.manifest(out, self.clone.scratch / "pinned")
        except OutputMissing as error:
            recorded = self.recorded.get(out.path)
            if recorded is None:
                raise
            if recorded == after.digest:
                return Difference("equal", "the rows have the digest in the run record, the bytes differ")
            message = f"the digest is {after.digest[:19]}, in the run record {recorded[:19]}; the pinned rows are "
            return Difference("different", message + error.problem)
        return compare_manifest_rows(before, after)

    def _settle(
        self,
        path: str,
        difference: Difference,
        stage: LockedStage,
        siblings: Mapping[str, Difference],
        causes: _Causes,
    ) -> None:
        grade, message = difference.grade, difference.message
        if grade == "opaque":
            # Nobody can look into a model; what it says of the same rows tells whether it is the same.
            readable = [
                one for one in stage.outs if one.path != path and one.path.endswith((".json", ".parquet", ".csv"))
            ]
            known = [siblings[one.path].grade if one.path in siblings else "equal" for one in readable]
            told = [one for one in known if one != "opaque"]
            is_judged = bool(told) and all(one in ("equal", "close") for one in told)
            message += "; the metrics and predictions beside it are the same" if is_judged else ""
            grade = "close" if is_judged else "different"
        reasons = f": {'; '.join(causes.texts)}"
        if grade == "equal":
            self._find("note", path, message, "")
        elif grade == "close" and self._is_elsewhere:
            kind = "has other bytes" if difference.grade == "opaque" else "is not the same in its last digits"
            self._find("warning", path, f"{kind}: {message}{reasons}", causes.hint)
        else:
            self._find("error", path, f"is another one: {message}{reasons}", causes.hint)

    def _follows(self, stage: LockedStage) -> bool:
        """Whether the stage read something that is another already."""
        return any(overlap(path, dep.path) for path in self.spoiled for dep in stage.deps)

    def _settle_loosely(self, stage: LockedStage, loose: Loose, differences: Mapping[str, Difference]) -> None:
        """Only the metrics of the stage are held against the pinned ones, within the tolerance that it states."""
        others = sorted(set(differences) - {loose.metrics})
        if others:
            message = f"{listed(others, 3)} differ(s), which the run record allows: it is not deterministic"
            self._find("note", f"stage {address(stage)}", message, "")
        if loose.metrics not in differences:
            return
        pinned = next(out for out in stage.outs if out.path == loose.metrics)
        try:
            gap = widest_gap(self.pinned.files(pinned)[""], self.clone.root / loose.metrics, loose.metrics)
        except (OSError, ValueError, OutputMissing) as error:
            self._find("error", loose.metrics, f"could not be compared: {error}", _HINT_RUN)
            return
        if gap is not None and gap[0] <= loose.tolerance:
            said = f"differs by {gap[0]:g} at most ({gap[1]}), within the tolerance of {loose.tolerance:g}"
            self._find("note", loose.metrics, said, "")
            return
        said = differences[loose.metrics].message if gap is None else f"{gap[1]} differs by {gap[0]:g}"
        self.spoiled[loose.metrics] = differences[loose.metrics]
        hint = "state a larger tolerance in datapin.training, or find out what else has changed"
        self._find("error", loose.metrics, f"is another one: {said}, the tolerance is {loose.tolerance:g}", hint)

    @property
    def _is_elsewhere(self) -> bool:
        """Whether the outputs were made in an environment in which numbers may differ."""
        return any(one.reach in ("numbers", "results") for one in self.environment or ())

    def _causes(self, stage: LockedStage, again: LockedStage) -> _Causes:
        before = [path for path in self.spoiled if any(overlap(path, dep.path) for dep in stage.deps)]
        if before:
            return _Causes([f"it follows from {listed(before, 3)}"], "")
        recipe = _recipe(stage, again, {out.path for one in self.pinned.stages for out in one.outs})
        if recipe:
            return _Causes(recipe, _HINT_RUN)
        reaching = [one.cause for one in self.environment or () if one.reach != "nothing"]
        if reaching:
            return _Causes([f"likely for {', '.join(reaching[:_MOST_CAUSES])}"], _HINT_HERE)
        ran = f"it ran with {self.result.surroundings}"
        if self.environment is None:
            return _Causes([f"nobody tells where it was made; here {ran}"], _HINT_FIX)
        same = "the environment is the recorded one, so the stage does not give the same twice"
        return _Causes([f"{same}; {ran}"], _HINT_FIX)

    def _find(self, severity: Severity, where: str, message: str, hint: str) -> None:
        self.verdict.findings.append(Finding(severity, NAME, where, message, hint))


def judge(pinned: PinnedOutputs, clone: CleanClone, result: Rerun) -> Verdict:
    """Compare every pinned output with what the rerun has put in its place in the clone."""
    lock: dict[tuple[str, str], LockedStage] = {}
    for file in pinned.lock_files:
        path = clone.root / file
        for stage in pinned.stages_of(file, path.read_bytes() if path.is_file() else b""):
            lock[stage.file, stage.name] = stage
    before, after, made = _records(pinned, clone)
    environment = environment_differences(before, after) if before is not None and after is not None else None
    recorded = made.get("inputs")
    told = recorded if isinstance(recorded, dict) else {}
    judging = _Judge(pinned, clone, result, lock, environment, told, _loose_stages(pinned))
    if result.problem:
        judging.verdict.findings.append(Finding("error", NAME, "dvc repro", result.problem, _HINT_RUN))
        return judging.verdict
    for stage in _in_order([stage for stage in pinned.stages if not pinned.is_frozen(stage)]):
        judging.judge(stage)
    known = {(stage.file, stage.name) for stage in pinned.stages}
    for name in sorted(set(result.failed) - {address(stage) for stage in pinned.stages if not pinned.is_frozen(stage)}):
        judging.verdict.findings.append(
            Finding("error", NAME, f"stage {name}", f"the stage failed: {result.failed[name]}", _HINT_RUN)
        )
    for file, name in sorted(set(lock) - known):
        message = f"{file} does not pin it, so there is nothing to compare its outputs with"
        judging.verdict.findings.append(Finding("error", NAME, f"stage {name}", message, _HINT_RUN))
    return judging.verdict


def _records(
    pinned: PinnedOutputs, clone: CleanClone
) -> tuple[dict[str, Any] | None, dict[str, Any] | None, dict[str, Any]]:
    """The environment of the pinned run and of the new one, where somebody tells, and the pinned run record."""
    for stage in pinned.stages:
        for out in stage.outs:
            if out.path.rpartition("/")[2] != RECORD:
                continue
            path = environment_path(out.path)
            try:
                record = parse_record(pinned.files(out)[""].read_bytes(), out.path)
                again = parse_record((clone.root / out.path).read_bytes(), out.path)
            except (OSError, Damage, OutputMissing):
                continue
            before = environment_of(record, blob_at(pinned.subject.root, pinned.commit, path))
            return before, environment_of(again, read_environments(clone.root / path)), record
    return None, None, {}


def _loose_stages(pinned: PinnedOutputs) -> dict[tuple[str, str], Loose]:
    """The stages whose pinned run record says that they are not deterministic."""
    found = {}
    for stage in pinned.stages:
        for out in stage.outs:
            folder, _, name = out.path.rpartition("/")
            if name != RECORD:
                continue
            try:
                record = parse_record(pinned.files(out)[""].read_bytes(), out.path)
            except (OSError, DatapinError):
                continue
            tolerance = record.get("tolerance")
            if record.get("deterministic") is False and isinstance(tolerance, int | float):
                found[stage.file, stage.name] = Loose(f"{folder}/metrics.json" if folder else "metrics.json", tolerance)
    return found


def _in_order(stages: list[LockedStage]) -> Iterator[LockedStage]:
    """Each stage after those whose outputs it reads."""
    waiting = list(stages)
    while waiting:
        ready = [one for one in waiting if not any(_reads(one, other) for other in waiting if other is not one)]
        yield from ready or waiting  # a circle, which DVC refuses to run
        waiting = [one for one in waiting if one not in ready] if ready else []


def _reads(stage: LockedStage, other: LockedStage) -> bool:
    return any(overlap(dep.path, out.path) for dep in stage.deps for out in other.outs)


def _recipe(stage: LockedStage, again: LockedStage, outputs: set[str]) -> list[str]:
    """What the commit says otherwise than its own `dvc.lock` did: parameters, command, files."""
    found = [
        f"dvc.lock was written with {name} {was!r}, {file} says {now!r}"
        for file in dict.fromkeys([*stage.params, *again.params])
        for name, was, now in _params(stage.params.get(file), again.params.get(file), "")
    ]
    if stage.command != again.command:
        found.append(f"dvc.lock was written with the command {stage.command!r}, dvc.yaml says {again.command!r}")
    now = {dep.path: dep.md5 for dep in again.deps}
    for dep in stage.deps:
        if dep.path not in outputs and now.get(dep.path) != dep.md5:
            found.append(f"dvc.lock was written with another {dep.path}")
    return found[:_MOST_CAUSES]


def _params(before: Any, after: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _params(before.get(key), after.get(key), f"{name}.{key}" if name else str(key))
    elif before != after:
        yield name, before, after
