"""`doctor`: is the set-up right? Each finding comes with its fix. Changes nothing."""

from __future__ import annotations

import posixpath
import shlex
import shutil
import sys
from collections.abc import Collection
from dataclasses import replace
from importlib.metadata import version

from datapin.base.errors import DatapinError, RemoteUnreachable
from datapin.base.findings import Finding
from datapin.base.settings import FOLDER
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.settings import remote_names
from datapin.dvcfiles.stages import read_stage_files
from datapin.git.ask import files_named, git_version, is_ignored
from datapin.githooks.drivers import drivers_state
from datapin.githooks.install import hooks_state
from datapin.pins.read import Pins
from datapin.pipeline.record.environment import environment_differences, environment_here
from datapin.pipeline.record.environment_file import environment_of, environment_path, read_environments
from datapin.pipeline.record.record import RECORD, read_record
from datapin.store.check import HEAL
from datapin.verbs.recover import set_aside_findings
from datapin.verbs.remote.healing import heal_store
from datapin.verbs.workspace.place import remote_name, remote_place
from datapin.verbs.workspace.problems import dataset_problem
from datapin.verbs.workspace.reports import FindingsReport
from datapin.verbs.workspace.selector import work_tree_manifest
from datapin.verbs.workspace.workspace import Workspace

LOCK = "dvc.lock"
_OLDEST_DVC = (3, 60)
_OLDEST_GIT = (2, 30)
_LOW_SPACE_BYTES = 1 << 30


def doctor(workspace: Workspace) -> FindingsReport:
    """All findings about tools, settings, store and datasets; an error means that some command will fail."""
    findings = [*_tools(), *_folders(workspace), *_store(workspace), *_remote(workspace)]
    findings += set_aside_findings(workspace)
    findings += [*hooks_state(workspace.root), *drivers_state(workspace.root)]
    pinned = workspace.pins()
    for dataset in pinned.names:
        findings += _dataset(workspace, dataset)
    for file, error in pinned.unreadable_locks.items():
        findings.append(Finding("error", "dataset", file, error.message, error.hint))
    return FindingsReport([*findings, *_environment(workspace, pinned.unreadable_locks)])


def _tools() -> list[Finding]:
    findings = []
    for tool, seen, oldest in (
        ("Git", git_version(), _OLDEST_GIT),
        ("DVC", tuple(int(part) for part in version("dvc").split(".")[:2] if part.isdigit()), _OLDEST_DVC),
    ):
        if seen < oldest:
            need, have = ".".join(map(str, oldest)), ".".join(map(str, seen))
            findings.append(Finding("error", "tools", tool, f"version {have} is older than {need}", f"upgrade {tool}"))
    if shutil.which("dvc") is None:
        hint = f"add {sys.prefix}/bin to PATH, so that `dvc repro` and `git datapin` find the commands"
        findings.append(Finding("warning", "tools", "dvc", "the command is not on PATH", hint))
    return findings


def _folders(workspace: Workspace) -> list[Finding]:
    findings = []
    moved = workspace.settings.store.dir is not None  # else it lies in Git's own folder
    inside = moved and workspace.store_directory.resolve().is_relative_to(workspace.root)
    # Of something in it: Git takes a folder that is not there yet, as in a fresh clone, for a file.
    if inside and not is_ignored(workspace.root, workspace.store_directory / "format"):
        findings.append(
            Finding("error", "git", f"{FOLDER}/.gitignore", "the local store is not git-ignored", "run `datapin init`")
        )
    free = shutil.disk_usage(workspace.store.root).free
    if free < _LOW_SPACE_BYTES:
        hint = "free space, or move the store with store.dir in .datapin/config.toml"
        findings.append(Finding("warning", "disk", str(workspace.store.root), f"{free >> 20} MiB free", hint))
    return findings


def _store(workspace: Workspace) -> list[Finding]:
    found = workspace.store.check()
    return [replace(one, hint=heal_store(workspace)) if one.hint == HEAL else one for one in found]


def _remote(workspace: Workspace) -> list[Finding]:
    known, wanted = remote_names(workspace.root), workspace.settings.remote
    if wanted is not None and wanted not in known:
        hint = f"run `dvc remote add {shlex.quote(wanted)} URL`"
        return [Finding("error", "remote", ".datapin/config.toml", f"no DVC remote named {wanted!r}", hint)]
    if not known:
        hint = "run `dvc remote add -d NAME URL` to share data"
        return [Finding("note", "remote", ".dvc/config", "no remote: the data is on this machine only", hint)]
    return [] if remote_name(workspace) is None else _remote_answers(workspace)


def _remote_answers(workspace: Workspace) -> list[Finding]:
    """Whether the remote answers, and what it promises to many who push at once."""
    try:
        place = remote_place(workspace)
        has_store = place.store.check_format()
    except DatapinError as error:
        return [Finding("error", "remote", remote_name(workspace) or "", error.message, error.hint)]
    if not has_store:
        hint = "run `datapin push`"
        return [Finding("note", "remote", place.name, f"{place.store.url} holds no data of datapin yet", hint)]
    try:
        abilities = place.store.abilities()
    except RemoteUnreachable as error:
        return [Finding("note", "remote", place.name, f"can be read, not written: {error.message}", error.hint)]
    if not (abilities.exclusive_put and abilities.replace):
        hint = "pushes are safe; whoever will collect garbage there has to be alone"
        message = f"no conditional writes: {abilities.reason}"
        return [Finding("note", "remote", place.name, message, hint)]
    return []


def _environment(workspace: Workspace, unreadable: Collection[str]) -> list[Finding]:
    """What is not as the last training found it, and whether equal bytes can still be expected."""
    findings = []
    for file in files_named(workspace.root, LOCK):
        if file in unreadable:
            continue
        try:
            stages = read_stage_files((workspace.root / file).read_bytes(), file, {})
            records = [out.path for stage in stages for out in stage.outs if posixpath.basename(out.path) == RECORD]
            for path in records:
                if (workspace.root / path).is_file():
                    beside = environment_path(path)
                    record = read_record(workspace.root / path)
                    recorded = environment_of(record, read_environments(workspace.root / beside)) or {}
                    differences = environment_differences(recorded, environment_here()) if recorded else []
                    findings += [Finding("note", "environment", beside, one.sentence) for one in differences]
        except DatapinError as error:
            findings.append(Finding("error", "environment", file, error.message, error.hint))
    return findings


def _dataset(workspace: Workspace, dataset: str) -> list[Finding]:
    pointer: PinnedOut | None = None
    try:
        pointer = Pins(workspace.root).dataset(dataset)
        manifest = work_tree_manifest(workspace, dataset)
        manifest.verify()
    except DatapinError as error:
        problem = dataset_problem(workspace, dataset, pointer, error)
        return [Finding("error", "dataset", dataset, error.message_of(dataset), problem.hint)]
    if pointer is None:
        return []
    if pointer.stage is None and pointer.digest is None:
        hint = f"run `datapin add` again, or ignore this: only the summary in {pointer.file} is stale"
        return [Finding("note", "dataset", pointer.file, "the summary is older than the pointer", hint)]
    if pointer.digest is not None and pointer.digest != manifest.digest:
        name = shlex.quote(dataset)
        back = f"`datapin restore {name}` brings the pinned rows back and keeps a copy of these"
        hint = f"{back}, or `dvc add {name}` pins these"
        return [Finding("error", "dataset", dataset, "the manifest is not the one that the pointer pins", hint)]
    return []
