"""Versions: diff, rollback, switch, merge, the log of a long history, verify."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import gen
from items import Bench, copy_source, make_rounds, settle
from readings import RunRecord, durable, peak
from stopwatch import Command, RunFailed, time_commands
from tools import DATASET, SOURCE, TOOLS, Place, Tool
from versions_history import write_history

FILES = "files"
HISTORY = "history"


@dataclass(frozen=True, slots=True)
class Commands:
    """What a tool types for each step; `{version}` stands for the version gone to. Steps that it lacks are empty."""

    diff: Sequence[Command]
    rollback: Sequence[Command]  # the dataset, the code left alone
    write_files: Sequence[Command]  # before a rollback with files; not timed
    rollback_files: Sequence[Command]
    switch: Sequence[Command]  # the whole commit


COMMANDS: Mapping[str, Commands] = {
    "datapin": Commands(
        diff=[("datapin", "diff", DATASET, "v1", "v2", "--limit", "1000000")],
        rollback=[("datapin", "rollback", DATASET, "--to", "{version}")],
        write_files=[("datapin", "checkout", DATASET, "--into", FILES)],
        rollback_files=[("datapin", "rollback", DATASET, "--to", "{version}")],
        switch=[("git", "checkout", "-q", "{version}")],
    ),
    "dvc": Commands(
        diff=[("dvc", "diff", "v1", "v2")],
        rollback=[],
        write_files=[],
        rollback_files=[("git", "checkout", "-q", "{version}", "--", f"{SOURCE}.dvc"), ("dvc", "checkout", "-q")],
        switch=[("git", "checkout", "-q", "{version}"), ("dvc", "checkout", "-q")],
    ),
    "git-lfs": Commands(
        diff=[("git", "diff", "--name-status", "v1", "v2")],
        rollback=[],
        write_files=[],
        rollback_files=[("git", "checkout", "-q", "{version}", "--", SOURCE)],
        switch=[("git", "checkout", "-q", "{version}")],
    ),
}


def measure_versions(bench: Bench) -> list[RunRecord]:
    """Two versions, 3 % apart: diff, rollback of the dataset, rollback with its files, switch of the commit."""
    return make_rounds(bench, [TOOLS[name] for name in COMMANDS], _versions_journey)


def measure_history(bench: Bench) -> list[RunRecord]:
    """A log of 100 versions of a large dataset over 1,000 commits, the first time and again; uses; trace; verify."""
    kept = bench.work / f"source-{HISTORY}-{bench.size.name}"
    if not kept.exists():
        shutil.rmtree(kept.with_name(f"{kept.name}.growing"), ignore_errors=True)
        full = bench.size.name == "full"
        sizes = (1_000, 100, 100_000) if full else (40, 10, 2_000)
        write_history(kept.with_name(f"{kept.name}.growing"), *sizes)
        kept.with_name(f"{kept.name}.growing").rename(kept)
    return make_rounds(bench, [TOOLS["datapin"]], _history_journey)


def measure_million_versions(bench: Bench) -> list[RunRecord]:
    """A million rows, 1,000 changed: diff, rollback, merge, and their memory. datapin only."""
    once = replace(bench, size=replace(bench.size, rounds=1))
    return make_rounds(once, [TOOLS["datapin"]], _million_journey, inodes=1_700_000)


VERSION_ITEMS: dict[str, Callable[[Bench], list[RunRecord]]] = {
    "versions": measure_versions,
    "history": measure_history,
    "million-versions": measure_million_versions,
}


def _versions_journey(bench: Bench, tool: Tool, place: Place, run: RunRecord) -> None:
    commands = COMMANDS[tool.name]
    _install_hooks(tool, place)
    copy_source(bench, "small", place)
    _commit_version(tool, place, "v1")
    gen.change_some(place.source)
    settle(place)
    _commit_version(tool, place, "v2")
    for _ in range(bench.size.repeats):
        _timed(commands.diff, place, run, "diff")
    _there_and_back(commands.rollback, place, run, "rollback", bench.size.repeats)
    for command in commands.write_files:
        place.call(*command)
    _there_and_back(commands.rollback_files, place, run, "rollback with files", bench.size.repeats)
    if commands.write_files:
        _expect_files_of_v1(place)
    _there_and_back(commands.switch, place, run, "switch", bench.size.repeats)
    if tool.name == "datapin":
        head = place.call("git", "rev-parse", "HEAD").strip()
        hook = os.path.join(place.call("git", "rev-parse", "--git-path", "hooks").strip(), "post-checkout")
        for _ in range(5):
            _timed([(hook, head, head, "1")], place, run, "hook, nothing to do")
        for _ in range(bench.size.repeats):
            _timed([("datapin", "verify")], place, run, "verify")


def _history_journey(bench: Bench, tool: Tool, place: Place, run: RunRecord) -> None:
    root = place.root / HISTORY
    place.call("cp", "-r", str(bench.work / f"source-{HISTORY}-{bench.size.name}"), str(root))
    shutil.rmtree(root / ".git" / "datapin" / "cache", ignore_errors=True)  # the first log knows nothing
    there = Place(root, place.environment)
    _timed([("datapin", "log", DATASET)], there, run, "log, first time")
    for _ in range(3):
        _timed([("datapin", "log", DATASET)], there, run, "log again")
        _timed([("datapin", "uses", f"{DATASET}:00/0000000.png")], there, run, "uses of one row")
        _timed([("datapin", "trace", DATASET)], there, run, "trace")


def _million_journey(bench: Bench, tool: Tool, place: Place, run: RunRecord) -> None:
    _install_hooks(tool, place)
    gen.write_tiny_files(place.source, bench.size.tiny_files)
    settle(place)
    _commit_version(tool, place, "v1")
    shutil.rmtree(place.source)
    _relabel(place, "v2", "right", remainder=7)
    place.call("git", "checkout", "-q", "-b", "left", "v1")
    _relabel(place, "left-end", "left", remainder=8)
    place.call("git", "checkout", "-q", "-")
    for watch in (False, False, False, True):
        for step, command in (
            ("diff", ("datapin", "diff", DATASET, "v1", "v2")),
            ("rollback", ("datapin", "rollback", DATASET, "--to", "v1")),
            ("rollback", ("datapin", "rollback", DATASET, "--to", "v2")),
        ):
            _watched(command, place, run, step, watch=watch)
        place.call("git", "checkout", "-q", "-B", "merged", "v2")
        _watched(("git", "merge", "-q", "-m", "merge", "left-end"), place, run, "merge", watch=watch)
        rows = place.call("datapin", "ls", DATASET, "--where", "label in ('left', 'right')", "--columns", "key")
        if len(rows.splitlines()) < 2 * bench.size.tiny_files // 1_000:
            raise RunFailed("the merge has not both sides' labels")
        place.call("git", "checkout", "-q", "v2")


def _expect_files_of_v1(place: Place) -> None:
    """A rollback without its files would be no rollback with files."""
    place.call("datapin", "rollback", DATASET, "--to", "v1")
    left = json.loads(place.call("datapin", "checkout", DATASET, "--into", FILES, "--json"))
    if left["written"] or left["removed"]:
        raise RunFailed(f"after a rollback {left['written']} files were not those of v1")
    place.call("datapin", "rollback", DATASET, "--to", "v2")


def _relabel(place: Place, tag: str, label: str, *, remainder: int) -> None:
    """One row of each thousand gets this label; committed under `tag`."""
    where = f"hash(key) % 1000 = {remainder}"
    place.call("datapin", "update", DATASET, "--set", f"label='{label}'", "--where", where)
    place.call("git", "commit", "-qam", tag)
    place.call("git", "tag", tag)


def _install_hooks(tool: Tool, place: Place) -> None:
    """So that Git's switches are followed; other tools have theirs from their set-up, or none."""
    if tool.name == "datapin":
        place.call("datapin", "init", "--hooks")
        place.call("git", "add", "-A")
        place.call("git", "commit", "-qm", "hooks", "--allow-empty")


def _commit_version(tool: Tool, place: Place, tag: str) -> None:
    for command in (*tool.add(place), *tool.commit(place), ("git", "tag", tag)):
        place.call(*command)


def _there_and_back(commands: Sequence[Command], place: Place, run: RunRecord, step: str, repeats: int) -> None:
    for _ in range(repeats if commands else 0):
        for version in ("v1", "v2"):
            _timed([[word.format(version=version) for word in command] for command in commands], place, run, step)


def _timed(commands: Sequence[Command], place: Place, run: RunRecord, step: str) -> None:
    if commands:
        run.note(step, durable(time_commands(commands, place.root, place.environment)))


def _watched(command: Command, place: Place, run: RunRecord, step: str, *, watch: bool) -> None:
    timing = time_commands([command], place.root, place.environment, watch_memory=watch)
    run.note(f"{step}, memory" if watch else step, peak(timing) if watch else durable(timing))
