"""What a rollback is to reach: which outputs, pinned how, and which texts."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datapin.base.errors import Refused, UnknownVersion
from datapin.dvcfiles.outs import PinnedOut, read_lock, read_pointer
from datapin.dvcfiles.texts import load_yaml
from datapin.git.ask import blob_at, resolve
from datapin.pins.files import LOCK, beside, bytes_here, is_lock
from datapin.pins.read import Pins
from datapin.pins.selectors import PinnedVersion
from datapin.rollback.texts import under_name, with_frozen_stage, with_stage_entry
from datapin.verbs.workspace.selector import name_version
from datapin.verbs.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class DatasetGoal:
    """A dataset as `wanted` pins it; `current` is what the work tree pins now, None if nothing does."""

    dataset: str
    wanted: PinnedOut
    current: PinnedOut | None


@dataclass(frozen=True, slots=True)
class OutGoal:
    """Another output of a pointer or a stage, from DVC's cache."""

    wanted: PinnedOut
    current: PinnedOut | None


@dataclass(slots=True)
class Goals:
    """All of one rollback. `texts` are files that Git keeps, by path; `left` did not exist then,
    `merged` texts keep what they say now but for one entry."""

    datasets: list[DatasetGoal] = field(default_factory=list)
    outs: list[OutGoal] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    merged: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add_dataset(self, goal: DatasetGoal) -> None:
        """One more, once."""
        if goal.dataset not in {one.dataset for one in self.datasets}:
            self.datasets.append(goal)

    def add_out(self, goal: OutGoal) -> None:
        """One more, once."""
        if goal.wanted.path not in {one.wanted.path for one in self.outs}:
            self.outs.append(goal)


def named_goals(workspace: Workspace, names: Sequence[str], version: str, *, pin: bool) -> Goals:
    """What `rollback NAMES --to VERSION` is to reach. Raises UnknownDataset, UnknownVersion, Refused."""
    goals = Goals()
    for name in names:
        pinned = name_version(workspace, f"{name}@{version}").pinned
        assert pinned is not None
        if pinned.pointer.stage is None and not Pins(workspace.root).is_stage_output(pinned.dataset):
            _add_source(workspace, goals, pinned)
        elif not pin:
            raise _derived(workspace.root, pinned)
        else:
            _add_stage(workspace, goals, pinned)
    return goals


def restored_goals(workspace: Workspace, names: Sequence[str]) -> Goals:
    """What `restore NAMES` is to reach: what the pointers of the work tree say. Raises UnknownDataset, Refused."""
    goals = Goals()
    for dataset in [workspace.dataset_name(name) for name in names] or workspace.datasets():
        pointer = Pins(workspace.root).dataset(dataset)
        if pointer is None:
            raise Refused(f"{dataset} is not pinned by any pointer", f"run `dvc add {shlex.quote(dataset)}`")
        goals.add_dataset(DatasetGoal(dataset, pointer, pointer))
    return goals


def goals_of_all(workspace: Workspace, rev: str) -> Goals:
    """What `rollback --all --to REV` is to reach: all that DVC pins there, and parameters. Raises UnknownVersion."""
    root = workspace.root
    try:
        commit = resolve(root, rev)
    except UnknownVersion as error:
        raise UnknownVersion(rev, f"{error.problem}; --all goes to a tag, a branch or a commit") from None
    goals = Goals()
    now_pins, then_pins = workspace.pins(), Pins(root, commit)
    now_pins.check()
    for file in then_pins.pointers:
        problem = then_pins.problem(file)
        if problem is not None:
            raise problem
    now, then = ({out.path: out for out in pins.outs} for pins in (now_pins, then_pins))
    manifests = {out.path for out in then_pins.datasets} | set(now_pins.names)
    for file in then_pins.pointers:
        goals.texts[file] = _text_at(root, commit, file)
    for file in _parameter_files(root, commit, goals.texts):
        goals.texts[file] = _text_at(root, commit, file)
    for path, out in then.items():
        other = now.get(path)
        if out.stage is None and not (root / out.file).is_file() and Pins(root).is_stage_output(path):
            raise _other_kind(path)
        if out.stage is not None and other is not None and other.stage is None:
            goals.left.append(path)
            continue
        if out.is_folder and path in manifests:
            goals.add_dataset(DatasetGoal(path, out, other if other is not None and other.is_folder else None))
        else:
            _add_out(then_pins, goals, OutGoal(out, other))
    goals.left = sorted([*goals.left, *(path for path in now if path not in then)])
    return goals


def _add_source(workspace: Workspace, goals: Goals, pinned: PinnedVersion) -> None:
    root, dataset, wanted = workspace.root, pinned.dataset, pinned.pointer
    text = _text_at(root, pinned.commit, wanted.file)
    current = Pins(root).dataset(dataset)
    file = wanted.file
    if wanted.dataset != dataset:
        text, file = under_name(text, wanted.file, dataset), f"{dataset}.dvc"
        goals.notes.append(f"{dataset} was named {wanted.dataset} then")
        (wanted,) = (out for out in read_pointer(text, file) if out.is_folder)
    goals.add_dataset(DatasetGoal(dataset, wanted, current))
    goals.texts[file] = text
    here = {out.path: out for out in read_pointer((root / file).read_bytes(), file)} if (root / file).is_file() else {}
    for out in read_pointer(text, file):
        if out.path != dataset:
            goals.add_out(OutGoal(out, here.get(out.path)))


def _add_stage(workspace: Workspace, goals: Goals, pinned: PinnedVersion) -> None:
    """The whole stage, frozen: an output alone would say that today's inputs made it."""
    root = workspace.root
    stage, file = pinned.pointer.stage, pinned.pointer.file
    if stage is None or pinned.pointer.dataset != pinned.dataset:
        raise _other_kind(pinned.dataset)
    pipeline_file = beside(file)
    pipeline = (root / pipeline_file).read_bytes()
    old = _text_at(root, pinned.commit, file)
    now = goals.texts.get(file) or bytes_here(root / file)
    goals.texts[pipeline_file] = with_frozen_stage(goals.texts.get(pipeline_file, pipeline), stage, pipeline_file)
    goals.texts[file] = with_stage_entry(now, old, stage, file)
    goals.merged |= {pipeline_file, file}
    name = stage if file == LOCK else f"{pipeline_file}:{stage}"
    goals.frozen = list(dict.fromkeys([*goals.frozen, name]))
    then_pins, folders = Pins(root, pinned.commit), workspace.pins().folders(file)
    current = {out.path: out for out in read_lock(now, file, folders)} if now else {}
    for out in then_pins.outs:
        if (out.file, out.stage) != (file, stage):
            continue
        if out.path in {pinned.dataset, *workspace.datasets()} and out.is_folder:
            goals.add_dataset(DatasetGoal(out.path, out, current.get(out.path)))
        else:
            _add_out(then_pins, goals, OutGoal(out, current.get(out.path)))


def _add_out(pins: Pins, goals: Goals, goal: OutGoal) -> None:
    """An output that is no dataset: Git keeps it, or DVC does, or nobody."""
    out = goal.wanted
    kept_by_git = None if out.is_folder else pins.text(out.path)
    if kept_by_git is not None:
        goals.texts[out.path] = kept_by_git
    elif out.stage is not None and not pins.keeping(out).is_cached:
        goals.notes.append(f"{out.path} is kept by nobody (`cache: false`, not in Git): `dvc repro` makes it again")
    else:
        goals.add_out(goal)


def _other_kind(dataset: str) -> Refused:
    return Refused(
        f"{dataset} is the output of a stage now and was none then, or had another name",
        "check out the commit, or roll back the inputs and run `dvc repro`",
    )


def _derived(root: Path, pinned: PinnedVersion) -> Refused:
    stage = pinned.pointer.stage
    if stage is None:
        return _other_kind(pinned.dataset)
    sources = _sources_of(_text_at(root, pinned.commit, pinned.pointer.file), stage)
    better = shlex.join(sources) or "DATASET"
    return Refused(
        f"{pinned.dataset} is the output of stage {stage}: it follows from its inputs",
        f"run `datapin rollback {better} --to {shlex.quote(pinned.version)}` and `dvc repro`; "
        "or --pin, which freezes the stage at that version",
    )


def _sources_of(lock: bytes, stage: str) -> list[str]:
    """Inputs that no stage puts out, upstream of `stage`, by the entries of a `dvc.lock`; those that look like data."""
    stages = load_yaml(lock, LOCK).get("stages") or {}
    makers = {
        out.get("path"): name for name, one in stages.items() if isinstance(one, dict) for out in one.get("outs") or ()
    }
    found: list[str] = []
    waiting, seen = [stage], set()
    while waiting:
        name = waiting.pop()
        if name in seen or not isinstance(stages.get(name), dict):
            continue
        seen.add(name)
        for dep in stages[name].get("deps") or ():
            path = dep.get("path")
            if path in makers:
                waiting.append(makers[path])
            elif isinstance(path, str) and str(dep.get("md5", "")).endswith(".dir"):
                found.append(path)
    return sorted(set(found))


def _parameter_files(root: Path, commit: str, texts: dict[str, bytes]) -> list[str]:
    """`params.yaml` beside every `dvc.lock` of the commit, and the parameter files that it names; no code."""
    found = {"params.yaml"}
    for file, text in texts.items():
        if not is_lock(file):
            continue
        found.add(posixpath.join(posixpath.dirname(file), "params.yaml"))
        for stage in (load_yaml(text, file).get("stages") or {}).values():
            names = stage.get("params") if isinstance(stage, dict) else None
            for name in names if isinstance(names, dict) else ():
                found.add(posixpath.normpath(posixpath.join(posixpath.dirname(file), str(name))))
    wanted = (name for name in found if not name.endswith(".py") and not name.startswith(("../", "/")))
    return sorted(name for name in wanted if blob_at(root, commit, name) is not None)


def _text_at(root: Path, commit: str, file: str) -> bytes:
    text = blob_at(root, commit, file)
    if text is None:
        raise Refused(f"{file} is not in commit {commit[:9]}", "look at `git log --stat`")
    return text
