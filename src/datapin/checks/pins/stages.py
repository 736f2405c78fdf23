"""Whether `dvc.lock` is what the pipelines, the params, the code and the data of the commit say."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from datapin.base.errors import DatapinError, listed
from datapin.base.findings import Finding, Severity
from datapin.checks.check import Check, capped, unread
from datapin.checks.pins.ran_stages import RanStage, ran_stages, repro_of
from datapin.checks.subject import Subject
from datapin.dvcfiles.hashes import list_hash
from datapin.dvcfiles.pipelines import DeclaredDep, DeclaredParams, DeclaredStage
from datapin.dvcfiles.single_files import listed_files
from datapin.git.ask import is_ignored
from datapin.pins.files import LOCK, PIPELINE

_PIPELINE, _PARAMS, _CODE, _DATA = "pins.stale-pipeline", "pins.stale-params", "pins.stale-code", "pins.stale-data"
_SHOWN = 60


def _check_pipeline(subject: Subject) -> Iterator[Finding]:
    yield from _unread(subject, _PIPELINE)
    entries, problems = subject.entries(), subject.stages().problems
    for stage in subject.stages().stages:
        lock = stage.file.removesuffix(PIPELINE) + LOCK
        is_known = lock in entries or not any(finding.where == lock for finding in subject.unreadable)
        if is_known and stage.name not in entries.get(lock, {}):
            message = f"the stage never ran: {lock} has no entry of it"
            yield Finding("error", _PIPELINE, f"{stage.file}:{stage.name}", message, repro_of(lock, stage.name))
    for ran in ran_stages(subject):
        if ran.declared is not None:
            yield from _compare(ran, ran.declared)
        elif not any(one in problems for one in (ran.where, ran.where.rpartition(":")[0])):
            message = f"{ran.lock} has an entry of a stage that no pipeline has"
            hint = f"put the stage back, or take its entry out of {ran.lock}"
            yield Finding("error", _PIPELINE, ran.where, message, hint)


def _compare(ran: RanStage, stage: DeclaredStage) -> Iterator[Finding]:
    if stage.is_frozen:
        message = (
            "the stage is frozen: its outputs stay as they are, whatever its command, params, code and data are now"
        )
        hint = f"`dvc unfreeze {shlex.quote(stage.address)}` lets it run again"
        yield Finding("note", _PIPELINE, ran.where, message, hint)
        return
    entry = ran.entry
    if stage.command != entry.command:
        now, then = _contrast(stage.command, entry.command)
        message = f"its command is {now}, the one that ran {then}"
        yield Finding("error", _PIPELINE, ran.where, message, ran.repro)
    for out in stage.outs:
        if out.path is not None and entry.outs.get(out.name, "") is None:
            message = f"{ran.lock} has no hash of its output {out.name}"
            yield Finding("error", _PIPELINE, ran.where, message, ran.repro)
    wanted = {one.name: one.names for one in stage.params}
    values = {(file, name) for file, names in entry.params.items() for name in names}
    new = [f"{name} of {file}" for file, names in wanted.items() for name in names if (file, name) not in values]
    new += [file for file, names in wanted.items() if not names and file not in entry.params]
    old = [f"{name} of {file}" for file, name in sorted(values) if not _is_wanted(wanted, file, name)]
    yield from _lists(ran, "dependency", {one.name for one in stage.deps}, set(entry.deps))
    yield from _lists(ran, "output", {one.name for one in stage.outs}, set(entry.outs))
    yield from _lists(ran, "parameter", set(new), set(old))


def _is_wanted(wanted: Mapping[str, tuple[str, ...]], file: str, name: str) -> bool:
    return file in wanted and (not wanted[file] or name in wanted[file])


def _lists(ran: RanStage, what: str, declared: set[str], locked: set[str]) -> Iterator[Finding]:
    if new := sorted(declared - locked):
        message = f"has a new {what} since it ran: {listed(new, 5)}"
        yield Finding("error", _PIPELINE, ran.where, message, ran.repro)
    if old := sorted(locked - declared):
        # DVC does not run a stage again that only lost an input: its lock stays as it is until somebody commits it.
        message = f"{ran.lock} has the {what} {listed(old, 5)}, which the stage does not have"
        severity: Severity = "error" if what == "output" else "warning"
        name = shlex.quote(ran.declared.address if ran.declared else ran.name)
        hint = f"run `dvc commit --force {name}`, or {ran.repro[4:]}"
        yield Finding(severity, _PIPELINE, ran.where, message, hint)


def _check_params(subject: Subject) -> Iterator[Finding]:
    yield from _unread(subject, _PARAMS)
    for ran, stage in _comparable(subject):
        for params in stage.params:
            yield from capped(_changed_params(ran, params), "parameters")


def _changed_params(ran: RanStage, params: DeclaredParams) -> list[Finding]:
    locked = ran.entry.params.get(params.name, {})
    if params.values is None:
        return [Finding("error", _PARAMS, ran.where, f"there is no {params.name}, which its params are in", ran.repro)]
    found = []
    for name in params.names or tuple(dict.fromkeys([*params.values, *locked])):
        if name not in params.values:
            message = f"{name} is not in {params.name}"
        elif name not in locked:
            continue  # a new parameter of the stage, which pins.stale-pipeline tells
        elif _plain(params.values[name]) != _plain(locked[name]):
            now, then = _contrast(_plain(params.values[name]), _plain(locked[name]))
            message = f"{name} of {params.name} is {now}, it ran with {then}"
        else:
            continue
        found.append(Finding("error", _PARAMS, ran.where, message, ran.repro))
    return found


def _check_code(subject: Subject) -> Iterator[Finding]:
    yield from _unread(subject, _CODE)
    ignored: dict[str, bool] = {}
    for ran, stage in _comparable(subject):
        found: list[Finding] = []
        for dep in stage.deps:
            if dep.path is None:
                subject.notes.append(f"{ran.where}: {dep.name} lies outside of this repository and was not looked at")
            elif not dep.is_pinned and dep.name in ran.entry.deps:
                found += _unpinned(subject, ran, dep, dep.path, ignored)
        yield from capped(found, "dependencies")


def _unpinned(
    subject: Subject, ran: RanStage, dep: DeclaredDep, path: str, ignored: dict[str, bool]
) -> Iterator[Finding]:
    """What is wrong with an input that only Git can keep; `ignored` keeps what Git said of others."""
    if subject.rev is not None:
        yield from _differing(subject, _CODE, ran, dep, dep.md5, "is not in Git", is_commit=True)
        return
    if path not in ignored:
        ignored[path] = is_ignored(subject.root, subject.root / path)
    if ignored[path]:
        message = f"its dependency {dep.name} is pinned by nothing, and Git ignores it: no commit will have it"
        name = shlex.quote(path)
        hint = f"bring its pointer back with `git checkout -- {name}.dvc`, or pin it with `dvc add {name}`"
        yield Finding("error", _CODE, ran.where, message, hint)
    else:
        yield from _differing(subject, _CODE, ran, dep, dep.md5, "is not there")


def _check_data(subject: Subject) -> Iterator[Finding]:
    yield from _unread(subject, _DATA)
    pinned = {out.path: out.md5 for out in subject.outs}
    for ran, stage in _comparable(subject):
        found: list[Finding] = []
        for dep in stage.deps:
            if dep.is_pinned and dep.name in ran.entry.deps:
                try:
                    now = _pinned_hash(subject, dep, pinned)
                except DatapinError as error:
                    found.append(unread(subject, _DATA, ran.where, error))
                    continue
                if now is None and subject.unreadable:
                    message = f"could not be checked: no pointer that can be read pins {dep.name}"
                    found.append(Finding("note", _DATA, ran.where, message))
                else:
                    found += _differing(subject, _DATA, ran, dep, now, "is pinned by nothing")
        yield from capped(found, "dependencies")


def _into_git(subject: Subject, path: str) -> str:
    """What brings an input that a commit lacks into the next one."""
    place, name = subject.root / path, shlex.quote(path)
    if not place.exists():
        return f"write {path} anew, or take it out of the stage's deps"
    if is_ignored(subject.root, place):
        return f"run `dvc add {name}` and commit its pointer"
    return f"run `git add {name}` and commit it"


def _differing(
    subject: Subject,
    check: str,
    ran: RanStage,
    dep: DeclaredDep,
    now: str | None,
    absent: str,
    *,
    is_commit: bool = False,
) -> Iterable[Finding]:
    locked = ran.entry.deps[dep.name]
    if now is None:
        path = shlex.quote(dep.path or dep.name)
        ways = {
            "is not in Git": _into_git(subject, dep.path or dep.name),
            "is not there": f"bring it back with `git checkout -- {path}`",
            "is pinned by nothing": f"run `dvc add {path}`, or `git checkout -- {path}.dvc` if it had a pointer",
        }
        yield Finding("error", check, ran.where, f"its dependency {dep.name} {absent}", ways.get(absent, ran.repro))
    elif now != locked:
        read = f"it read {locked}" if locked else f"{ran.lock} has no hash of it"
        hint = ran.repro
        if check == _CODE and is_commit and now.endswith(".dir"):
            hint = f"{hint}; files in it that Git ignores (`__pycache__`) must be in .dvcignore too"
        yield Finding("error", check, ran.where, f"its dependency {dep.name} is {now}, {read}", hint)


def _pinned_hash(subject: Subject, dep: DeclaredDep, pinned: Mapping[str, str]) -> str | None:
    """The hash that DVC would give the dependency if every pinned output lay in its place."""
    path = dep.path or ""
    if path in pinned:
        return pinned[path]
    files = dict(dep.files)
    for out in subject.outs:
        if path.startswith(f"{out.path}/"):
            inner = {f"{out.path}/{name}": md5 for name, md5 in listed_files(subject.root, out.path, out.md5).items()}
            if path in inner:
                return inner[path]
            files |= {name.removeprefix(f"{path}/"): md5 for name, md5 in inner.items() if name.startswith(f"{path}/")}
        elif out.path.startswith(f"{path}/") or path == ".":
            below = out.path if path == "." else out.path.removeprefix(f"{path}/")
            inner = listed_files(subject.root, out.path, out.md5)
            files |= {f"{below}/{name}".rstrip("/"): md5 for name, md5 in inner.items()}
    return list_hash(files) if files else None


def _comparable(subject: Subject) -> Iterator[tuple[RanStage, DeclaredStage]]:
    """Stages that ran, are declared and not frozen."""
    for ran in ran_stages(subject):
        if ran.declared is not None and not ran.declared.is_frozen:
            yield ran, ran.declared


def _unread(subject: Subject, check: str) -> Iterator[Finding]:
    for where, error in subject.stages().problems.items():
        yield unread(subject, check, where, error)


def _plain(value: Any) -> Any:
    """As YAML keeps it: a tuple, which only a params file in Python has, is a list."""
    return list(value) if isinstance(value, tuple) else value


def _contrast(one: object, other: object) -> tuple[str, str]:
    """Both values, cut to the place where they differ."""
    texts = repr(one), repr(other)
    same = len(posixpath.commonprefix(texts))
    begin = max(0, same - _SHOWN // 3) if max(map(len, texts)) > _SHOWN else 0
    return _cut(texts[0], begin), _cut(texts[1], begin)


def _cut(text: str, begin: int) -> str:
    end = begin + _SHOWN
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}"


CHECKS = (
    Check(
        _PIPELINE,
        "Does each `dvc.lock` list the stages, commands, inputs and outputs of its `dvc.yaml`?",
        _check_pipeline,
    ),
    Check(_PARAMS, "Did every stage run with the params that are there now?", _check_params),
    Check(_CODE, "Did every stage run with the code, and other files, that are there now?", _check_code),
    Check(_DATA, "Did every stage run on the data that is pinned now?", _check_data),
)
