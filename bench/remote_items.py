"""Journeys to a remote and back: push, push again, fetch into a fresh clone, fetch one folder, push a change."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import gen
from items import INSIDE, Bench, copy_source, settle, shorten
from readings import COUNT, SECONDS, Reading, RunRecord, durable, peak
from remote_tools import REMOTE_TOOLS, Remote, RemoteTool, count_objects, s5cmd
from stopwatch import Command, RunFailed, Timing, run_quietly, time_commands
from tools import Place, make_place

TESTS = Path(__file__).resolve().parents[1] / "tests"
FOLDER = "cls_007"
CHUNK_BYTES = 16 << 20
REPORT = "report.json"

OpenRemote = Callable[[Path], AbstractContextManager[Remote]]


def measure_s3(bench: Bench) -> list[RunRecord]:
    """Ceph's gateway on this machine, new for every run; its work shares the two cores with every tool alike."""
    runs = _rounds(bench, ("datapin", "dvc", "restic"), _s3_remote)
    for number in range(bench.size.rounds):
        runs.append(_floor(bench, number))
    return runs


def measure_directory(bench: Bench) -> list[RunRecord]:
    """A directory on the same disk."""
    return _rounds(bench, ("datapin", "dvc", "restic"), _directory_remote)


def measure_remote_memory(bench: Bench) -> list[RunRecord]:
    """Peak memory of push, fetch and checkout, summed over the processes of each tool; one round, untimed."""
    runs = []
    for name in ("datapin", "restic"):
        tool = REMOTE_TOOLS[name]
        run = RunRecord(name, 0)
        runs.append(run)
        with _guarded(bench, run), bench.arena.fresh() as fresh, _s3_remote(fresh) as remote:
            place = _prepared(bench, tool, fresh, remote)
            run.note("push", peak(_watched(_counted(tool.push(place)), place)))
            clone = tool.clone(place, fresh / "clone", remote)
            if tool.fetch(clone):
                run.note("fetch", peak(_watched(_counted(tool.fetch(clone)), clone)))
                for step, where in (("push", place), ("fetch", clone)):
                    report = json.loads((where.root / REPORT).read_text(encoding="utf-8"))
                    run.note(f"{step}, requests", Reading(report["requests"], COUNT))
            run.note("files", peak(_watched(tool.files(clone), clone)))
    return runs


def measure_lazy(bench: Bench) -> list[RunRecord]:
    """Random assets of 10 KiB from the bucket: through Dataset, and by threads of boto3 from the same packs."""
    runs = []
    tool = REMOTE_TOOLS["datapin"]
    for number in range(bench.size.rounds):
        mine, theirs = RunRecord("datapin", number), RunRecord("boto3", number)
        runs += [mine, theirs]
        with _guarded(bench, mine), bench.arena.fresh() as fresh, _s3_remote(fresh) as remote:
            place = tool.connect(_local(bench, tool, make_place(fresh), "even"), remote)
            for command in tool.push(place):
                place.call(*command)
            clone = tool.clone(place, fresh / "clone", remote)
            answer = run_quietly((sys.executable, str(INSIDE), "lazy"), clone.root, clone.environment)
            for step, (value, unit) in json.loads(answer).items():
                which, _, what = step.partition(": ")
                (mine if which == "datapin" else theirs).note(what, Reading(value, unit))
        _say(bench, mine)
        _say(bench, theirs)
    return runs


REMOTE_ITEMS: dict[str, Callable[[Bench], list[RunRecord]]] = {
    "s3": measure_s3,
    "directory": measure_directory,
    "remote-memory": measure_remote_memory,
    "lazy": measure_lazy,
}


def _rounds(bench: Bench, names: tuple[str, ...], open_remote: OpenRemote) -> list[RunRecord]:
    runs = []
    for number in range(bench.size.rounds):
        for name in names:
            tool = REMOTE_TOOLS[name]
            if number >= tool.rounds_at_most:
                continue
            run = RunRecord(name, number)
            runs.append(run)
            with _guarded(bench, run), bench.arena.fresh() as fresh, open_remote(fresh) as remote:
                _journey(bench, tool, fresh, remote, run)
            _say(bench, run)
    return runs


def _journey(bench: Bench, tool: RemoteTool, fresh: Path, remote: Remote, run: RunRecord) -> None:
    place = _prepared(bench, tool, fresh, remote)
    _timed(run, "push", tool.push(place), place)
    run.note("objects", Reading(count_objects(place, remote), COUNT))
    for _ in range(bench.size.repeats):
        _timed(run, "push again", tool.push(place), place)
    everything = tool.clone(place, fresh / "clone", remote)
    took_s = _timed(run, "fetch", tool.fetch(everything), everything) if tool.fetch(everything) else 0.0
    took_s += _timed(run, "files", tool.files(everything), everything)
    run.note("fetch + files", Reading(round(took_s, 4), SECONDS))
    _expect_files(tool, everything, bench.size.small_files)
    shutil.rmtree(everything.root)
    one = tool.clone(place, fresh / "clone-one", remote)
    _timed(run, "one folder of 100", tool.folder(one, FOLDER), one)
    _expect_files(tool, one, bench.size.small_files // 100)
    shutil.rmtree(one.root)
    gen.change_some(place.source)
    settle(place)
    if tool.name != "restic":  # its add is its push
        for command in (*tool.local.add(place), *tool.local.commit(place)):
            place.call(*command)
    _timed(run, "push 3 % changed", tool.push(place), place)


def _prepared(bench: Bench, tool: RemoteTool, fresh: Path, remote: Remote) -> Place:
    """A repository with the small files added and committed, and the remote connected."""
    place = make_place(fresh)
    if tool.name == "restic":
        copy_source(bench, "small", place)
        return tool.connect(place, remote)
    return tool.connect(_local(bench, tool, place, "small"), remote)


def _local(bench: Bench, tool: RemoteTool, place: Place, kind: str) -> Place:
    tool.local.set_up(place)
    copy_source(bench, kind, place)
    for command in (*tool.local.add(place), *tool.local.commit(place)):
        place.call(*command)
    return place


def _counted(commands: Sequence[Command]) -> Sequence[Command]:
    """The same commands of datapin, their reports kept in a file; other tools' commands as they are."""
    return [("sh", "-c", f"{' '.join(one)} --json > {REPORT}") if one[0] == "datapin" else one for one in commands]


def _floor(bench: Bench, number: int) -> RunRecord:
    """s5cmd with the same bytes as files of 16 MiB: what a copy without any bookkeeping takes."""
    run = RunRecord("s5cmd", number)
    with _guarded(bench, run), bench.arena.fresh() as fresh, _s3_remote(fresh) as remote:
        place = make_place(fresh)
        copy_source(bench, "small", place)
        _join_files(place)
        connected = replace(place, environment={**place.environment, **remote.environment})
        command = (s5cmd(), "cp", f"{place.root}/chunks/*", f"s3://{remote.place}/")
        _timed(run, "push", (command,), connected)
    _say(bench, run)
    return run


def _join_files(place: Place) -> None:
    """The source tree's bytes in files of 16 MiB."""
    target = place.root / "chunks"
    target.mkdir()
    waiting, count = bytearray(), 0
    for path in sorted(path for path in place.source.rglob("*") if path.is_file()):
        waiting += path.read_bytes()
        if len(waiting) >= CHUNK_BYTES:
            (target / f"{count:05d}").write_bytes(waiting)
            waiting, count = bytearray(), count + 1
    (target / f"{count:05d}").write_bytes(waiting)
    settle(place)


@contextmanager
def _s3_remote(fresh: Path) -> Iterator[Remote]:
    sys.path.insert(0, str(TESTS))
    from servers.ceph import missing_programs, radosgw

    lacking = missing_programs()
    if lacking:
        raise RunFailed(f"{lacking[0]} is not installed: run bench/install_tools.sh")
    with radosgw() as server:
        remote = Remote(server.new_bucket(), server.endpoint, server.access_key, server.secret_key)
        yield remote


@contextmanager
def _directory_remote(fresh: Path) -> Iterator[Remote]:
    place = fresh / "remote"
    place.mkdir()
    yield Remote(str(place))


@contextmanager
def _guarded(bench: Bench, run: RunRecord) -> Iterator[None]:
    try:
        yield
    except RunFailed as failure:
        run.failed = shorten(bench, str(failure))


def _timed(run: RunRecord, step: str, commands: Sequence[Command], place: Place) -> float:
    timing = time_commands(commands, place.root, place.environment)
    run.note(step, durable(timing))
    return timing.durable_s


def _watched(commands: Sequence[Command], place: Place) -> Timing:
    return time_commands(commands, place.root, place.environment, watch_memory=True)


def _expect_files(tool: RemoteTool, place: Place, expected: int) -> None:
    held = sum(len(names) for _, _, names in os.walk(tool.brought(place)))
    if held != expected:
        raise RunFailed(f"{tool.name} brought {held} files, expected {expected}")


def _say(bench: Bench, run: RunRecord) -> None:
    shown = ", ".join(f"{step} {readings[-1].value:g}" for step, readings in run.steps.items())
    bench.say(f"  round {run.round + 1} {run.tool}: {shown}{' FAILED ' + run.failed if run.failed else ''}")
