"""Whether a run record tells of the data, the params and the files that are pinned beside it."""

from __future__ import annotations

import hashlib
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from datapin.base.documents import read_json
from datapin.base.errors import BadDocument, DamagedModel, DatapinError, OutputMissing
from datapin.base.findings import Finding
from datapin.checks.check import Check, capped, unread
from datapin.checks.pins.lineage import Told, compare_told
from datapin.checks.pins.ran_stages import RanStage, overlaps, ran_stages
from datapin.checks.subject import Subject
from datapin.dvcfiles.single_files import listed_files
from datapin.pipeline.record.record import FORMAT, RECORD, STAGES, json_ready

_INPUTS, _PARAMS, _OUTPUTS = "pins.record-inputs", "pins.record-params", "pins.record-outputs"
_TRAIN = re.compile(r"\bdatapin\s+run\s+train\b")
_NOT_THERE = "not there, and DVC does not keep it"
_METRICS = "metrics.json"
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Run:
    """A run record, the file that it is in, and the stage that wrote it."""

    path: str
    stage: RanStage
    record: Mapping[str, Any]


def _check_inputs(subject: Subject) -> Iterator[Finding]:
    runs, spoiled = _runs(subject, _INPUTS)
    yield from spoiled
    for run in runs:
        told = Told(_INPUTS, run.path, dict(run.record["inputs"]), must_name_one=True)
        yield from compare_told(subject, run.stage, told)
    seen = {run.path for run in runs} | {finding.where for finding in spoiled}
    for stage in ran_stages(subject):
        if _TRAIN.search(str(stage.entry.command)) and not seen & stage.outs.keys():
            message = f"no output of the stage is a run record ({RECORD}): nothing tells what its model was made from"
            hint = f"list {RECORD} among its metrics in dvc.yaml, as the template image of datapin init does"
            yield Finding("warning", _INPUTS, stage.where, message, hint)


def _check_params(subject: Subject) -> Iterator[Finding]:
    runs, spoiled = _runs(subject, _PARAMS)
    yield from spoiled
    for run in runs:
        found = []
        for file, values in run.stage.entry.params.items():
            for name, value in values.items():
                if name.partition(".")[0] not in STAGES:
                    continue  # a parameter of the user's own, which no stage of ours knows
                said = _looked_up(run.record["params"], name)
                if said == [json_ready(value)]:
                    continue
                seen = f"{said[0]!r}" if said else "nothing"
                message = f"says {seen} of the parameter {name}, {run.stage.lock} has {json_ready(value)!r} ({file})"
                found.append(Finding("error", _PARAMS, run.path, message, run.stage.repro_anyway))
        yield from capped(found, "parameters")


def _looked_up(params: object, name: str) -> list[Any]:
    """[the value] of a dotted name, [] if there is none."""
    for part in name.split("."):
        if not isinstance(params, Mapping) or part not in params:
            return []
        params = params[part]
    return [params]


def _check_outputs(subject: Subject) -> Iterator[Finding]:
    runs, spoiled = _runs(subject, _OUTPUTS)
    yield from spoiled
    for run in runs:
        found = []
        for path, sha256 in _recorded_files(run.record).items():
            try:
                problem = _problem(subject, path, sha256)
            except DatapinError as error:
                found.append(unread(subject, _OUTPUTS, path, error))
                continue
            if problem:
                found.append(Finding("error", _OUTPUTS, path, f"{problem} ({run.path})", run.stage.repro_anyway))
            elif posixpath.basename(path) == _METRICS and not _tells_metrics(subject, path, run):
                message = f"says other metrics than {path}"
                found.append(Finding("error", _OUTPUTS, run.path, message, run.stage.repro_anyway))
        yield from capped(found, "files")


def _tells_metrics(subject: Subject, path: str, run: _Run) -> bool:
    """Whether the figures in the record are those of the metrics file, where Git keeps that; else nobody shows them."""
    data = subject.read(path)
    try:
        return data is None or read_json(data, path) == run.record.get("metrics")
    except ValueError:
        return False


def _recorded_files(record: Mapping[str, Any]) -> dict[str, str]:
    model = record["model"]
    return {**record["outputs"], model["path"]: model["sha256"]}


def _problem(subject: Subject, path: str, sha256: str) -> str:
    """What is wrong with a file that the record names; empty if it is the recorded one."""
    if path != posixpath.normpath(path) or path.startswith(("/", "../")) or path in (".", ".."):
        return "is no path in this repository, and the run record names it"
    seen = _sha256_of_pinned(subject, path)
    if seen is None:
        return "is named by the run record, and nothing pins it"
    return "" if seen == sha256 else f"is pinned with SHA-256 {seen[:12]}, the run record says {sha256[:12]}"


def _sha256_of_pinned(subject: Subject, path: str) -> str | None:
    kept = _kept_by_git(subject)
    for out in subject.outs:
        if out.path in kept or not (path == out.path or path.startswith(f"{out.path}/")):
            continue
        inner = posixpath.relpath(path, out.path) if path != out.path else ""
        md5 = listed_files(subject.root, out.path, out.md5).get(inner)
        if md5 is None:
            return None
        with open(subject.out_bytes(path, md5), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    data = subject.read(path)
    if data is None and any(overlaps(path, out) for out in kept):
        raise OutputMissing(path, _NOT_THERE, _ways_back(path))
    return None if data is None else hashlib.sha256(data).hexdigest()


def _kept_by_git(subject: Subject) -> set[str]:
    """The outputs that DVC does not cache."""
    return {out.path for stage in subject.stages().stages for out in stage.outs if not out.is_cached and out.path}


def _runs(subject: Subject, check: str) -> tuple[list[_Run], list[Finding]]:
    """The run records among the outputs of stages, and what is wrong with those that cannot be read."""
    kept = _kept_by_git(subject)
    found, spoiled = [], []
    for stage in ran_stages(subject):
        for path, md5 in stage.outs.items():
            if not path.endswith(".json"):
                continue
            try:
                data = _bytes_of(subject, path, None if path in kept else md5)
                record = None if data is None else _record_in(data, path)
            except DatapinError as error:
                spoiled.append(unread(subject, check, path, error))
                continue
            if record is not None:
                found.append(_Run(path, stage, record))
    return found, spoiled


def _bytes_of(subject: Subject, path: str, md5: str | None) -> bytes | None:
    if md5 is None:
        data = subject.read(path)
        if data is None and posixpath.basename(path) == RECORD:
            raise OutputMissing(path, _NOT_THERE, _ways_back(path))
        return data
    file = subject.out_bytes(path, md5)
    return file.read_bytes() if file.stat().st_size <= _MOST_BYTES else None


def _ways_back(path: str) -> str:
    name = shlex.quote(path)
    return f"bring it back with `git checkout -- {name}`, or make it again with `dvc repro --force && git add {name}`"


def _record_in(data: bytes, path: str) -> Mapping[str, Any] | None:
    """The run record in a file, None if it holds something else. Raises DamagedModel if it is half of one."""
    is_named = posixpath.basename(path) == RECORD
    try:
        document = read_json(data, path)
    except BadDocument as error:
        if is_named:
            raise DamagedModel(path, error.problem, _ways_back(path)) from None
        return None
    runs = document.get("runs") if isinstance(document, dict) else None
    record = runs[0] if isinstance(runs, list) and len(runs) == 1 else None
    if not isinstance(record, dict) or not ("inputs" in record and "model" in record):
        if is_named:
            raise DamagedModel(path, "expected the record of one run in it", _ways_back(path))
        return None
    if record.get("format") != FORMAT:
        raise DamagedModel(path, f"run record of format {record.get('format')!r}, expected {FORMAT}", _ways_back(path))
    model = record["model"]
    parts = [record["inputs"], record.get("outputs"), model if isinstance(model, dict) else None]
    is_whole = all(isinstance(part, dict) and all(isinstance(one, str) for one in part.values()) for part in parts)
    if not is_whole or not isinstance(record.get("params"), dict) or not {"path", "sha256"} <= set(model):
        raise DamagedModel(path, "a run record lacks inputs, params, model or outputs", _ways_back(path))
    return record


CHECKS = (
    Check(_INPUTS, "Does every run record name the digests of the manifests that are pinned?", _check_inputs),
    Check(_PARAMS, "Does every run record name the params that its stage ran with?", _check_params),
    Check(
        _OUTPUTS, "Is every file that a run record names, the model above all, the one that is pinned?", _check_outputs
    ),
)
