"""What is measured: each item is a journey that every tool makes, round by round, tools taking turns."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import gen
from arena import Arena
from readings import COUNT, SECONDS, Reading, RunRecord, durable, peak
from sizes import Size
from stopwatch import Command, RunFailed, Timing, read_all, run_quietly, sync_file_system, time_commands
from tools import DATASET, TOOLS, Place, Tool, make_place

INSIDE = Path(__file__).with_name("inside.py")
LOADER = Path(__file__).with_name("loader.py")
TORCH_PYTHON = Path(__file__).parents[1] / ".venv-torch/bin/python"
TINY_INODES = 1_700_000
EXTRA_SOURCE = "extra"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where runs take place, and how much they do."""

    work: Path
    arena: Arena
    size: Size
    say: Callable[[str], None]


Journey = Callable[[Bench, Tool, Place, RunRecord], None]


def measure_small_files(bench: Bench) -> list[RunRecord]:
    """Many small files: add, then add after 3 % changed."""
    tools = [TOOLS[name] for name in ("datapin", "dvc", "git-lfs", "restic", "tar", "floor")]
    return make_rounds(bench, tools, _small_files_journey)


def measure_unchanged(bench: Bench) -> list[RunRecord]:
    """Many small files that were added and did not change: status and add again, in close turns."""
    return make_rounds(bench, [TOOLS[name] for name in ("datapin", "dvc", "tar")], _unchanged_journey)


def measure_big_files(bench: Bench) -> list[RunRecord]:
    """Few big files: add, then add after one changed."""
    return make_rounds(bench, [TOOLS[name] for name in ("datapin", "dvc", "git-lfs", "cp")], _big_files_journey)


def measure_memory(bench: Bench) -> list[RunRecord]:
    """Peak memory of adding the small files, summed over the processes of each tool; one round, untimed."""
    once = replace(bench, size=replace(bench.size, rounds=1))
    return make_rounds(once, [TOOLS[name] for name in ("datapin", "dvc", "git-lfs", "restic")], _memory_journey)


def measure_million(bench: Bench) -> list[RunRecord]:
    """A dataset of a million tiny files: memory of its add, opening, looking up, inserting one row. datapin only."""
    once = replace(bench, size=replace(bench.size, rounds=1))
    return make_rounds(once, [TOOLS["datapin"]], _million_journey, inodes=TINY_INODES)


def measure_reads(bench: Bench) -> list[RunRecord]:
    """Random reads of 10 KiB assets in one process, verified and not."""
    once = replace(bench, size=replace(bench.size, rounds=1))
    return make_rounds(once, [TOOLS["datapin"]], _reads_journey)


def measure_loader(bench: Bench) -> list[RunRecord]:
    """Random batches of 10 KiB through PyTorch's DataLoader: datapin, plain files, LMDB, and no storage at all."""
    runs = {name: RunRecord(name, 0) for name in ("datapin", "files", "lmdb", "floor")}
    try:
        if not TORCH_PYTHON.exists():
            raise RunFailed("PyTorch is not installed: run make torch")
        with bench.arena.fresh() as fresh:
            place = make_place(fresh)
            TOOLS["datapin"].set_up(place)
            copy_source(bench, "even", place)
            for command in (*TOOLS["datapin"].add(place), *TOOLS["datapin"].commit(place)):
                place.call(*command)
            answer = run_quietly((str(TORCH_PYTHON), str(LOADER)), place.root, place.environment)
        for name, (value, unit) in json.loads(answer).items():
            tool, _, step = name.partition(": ")
            runs[tool].note(step, Reading(value, unit))
    except RunFailed as failure:
        runs["datapin"].failed = shorten(bench, str(failure))
    return [run for run in runs.values() if run.steps or run.failed]


def measure_rows(bench: Bench) -> list[RunRecord]:
    """Rows alone, without assets: write a manifest, open it, insert one row, compare the two."""
    once = replace(bench, size=replace(bench.size, rounds=1))
    return make_rounds(once, [TOOLS["datapin"]], _rows_journey)


def measure_startup(bench: Bench) -> list[RunRecord]:
    """How long `--help` takes; bare Python as the floor."""
    commands: dict[str, Command] = {
        "datapin": ("datapin", "--help"),
        "dvc": ("dvc", "--help"),
        "git-lfs": ("git-lfs", "--help"),
        "python": (sys.executable, "-c", "pass"),
    }
    runs = []
    with bench.arena.fresh() as fresh:
        place = make_place(fresh)
        for number in range(10 + 1):
            for tool, command in commands.items():
                run = RunRecord(tool, number)
                try:
                    timing = time_commands([command], place.root, place.environment)
                    run.note("help", Reading(round(timing.wall_s, 4), SECONDS))
                except RunFailed as failure:
                    run.failed = shorten(bench, str(failure))
                if number > 0:  # the first turn fills the page cache
                    runs.append(run)
    return runs


ITEMS: dict[str, Callable[[Bench], list[RunRecord]]] = {
    "startup": measure_startup,
    "small-files": measure_small_files,
    "unchanged": measure_unchanged,
    "big-files": measure_big_files,
    "memory": measure_memory,
    "rows": measure_rows,
    "reads": measure_reads,
    "loader": measure_loader,
    "million": measure_million,
}


def make_rounds(bench: Bench, tools: Sequence[Tool], journey: Journey, *, inodes: int = 1_000_000) -> list[RunRecord]:
    runs = []
    for number in range(bench.size.rounds):
        for tool in tools:
            run = RunRecord(tool.name, number)
            runs.append(run)
            try:
                tool.version()
                with bench.arena.fresh(inodes) as fresh:
                    place = make_place(fresh)
                    tool.set_up(place)
                    journey(bench, tool, place, run)
            except RunFailed as failure:
                run.failed = shorten(bench, str(failure))
            shown = ", ".join(f"{step} {readings[-1].value:g}" for step, readings in run.steps.items())
            bench.say(f"  round {number + 1} {tool.name}: {shown}{' FAILED ' + run.failed if run.failed else ''}")
    return runs


def _small_files_journey(bench: Bench, tool: Tool, place: Place, run: RunRecord) -> None:
    copy_source(bench, "small", place)
    _add_and_commit(tool, place, run, "add", bench.size.small_files)
    gen.change_some(place.source)
    settle(place)
    _add_and_commit(tool, place, run, "add 3 % changed", bench.size.small_files)


def _unchanged_journey(bench: Bench, tool: Tool, place: Place, run: RunRecord) -> None:
    copy_source(bench, "small", place)
    for command in tool.add(place):
        place.call(*command)
    for _ in range(bench.size.repeats):
        _timed(tool.status(place), place, run, "status")
        _timed(tool.add_again(place), place, run, "add again")


def _big_files_journey(bench: Bench, tool: Tool, place: Place, run: RunRecord) -> None:
    copy_source(bench, "big", place)
    _add_and_commit(tool, place, run, "add", bench.size.big_files)
    gen.change_one(place.source)
    settle(place)
    _add_and_commit(tool, place, run, "add one changed", bench.size.big_files)


def _memory_journey(bench: Bench, tool: Tool, place: Place, run: RunRecord) -> None:
    copy_source(bench, "small", place)
    run.note("add", peak(time_commands(tool.add(place), place.root, place.environment, watch_memory=True)))
    again = tool.add_again(place)
    if again:
        run.note("add again", peak(time_commands(again, place.root, place.environment, watch_memory=True)))


def _million_journey(bench: Bench, tool: Tool, place: Place, run: RunRecord) -> None:
    gen.write_tiny_files(place.source, bench.size.tiny_files)
    settle(place)
    timing = time_commands(tool.add(place), place.root, place.environment, watch_memory=True)
    run.note("add memory", peak(timing))
    run.note("add, memory watched", durable(timing))
    for command in tool.commit(place):
        place.call(*command)
    _expect_held(tool, place, bench.size.tiny_files)
    for _ in range(3):
        _inside(place, run, "million")
        _timed(tool.add_again(place), place, run, "add again")
        _timed(tool.status(place), place, run, "status")
    for number in range(3):
        _insert_one(place, run, number)


def _insert_one(place: Place, run: RunRecord, number: int) -> None:
    folder = place.root / EXTRA_SOURCE / f"cls_{500 + number}"
    folder.mkdir(parents=True)
    (folder / "img_between.jpg").write_bytes(f"inserted {number}".encode())
    before = _shard_hashes(place)
    command = ("datapin", "add", EXTRA_SOURCE, "--to", DATASET, "--label", "parent")
    timing = time_commands([command], place.root, place.environment, watch_memory=True)
    run.note("insert one row", durable(timing))
    run.note("insert one row, memory", peak(timing))
    run.note("insert one row, shards written", Reading(len(_shard_hashes(place) - before), COUNT))
    shutil.rmtree(place.root / EXTRA_SOURCE)


def _reads_journey(bench: Bench, tool: Tool, place: Place, run: RunRecord) -> None:
    copy_source(bench, "even", place)
    for command in (*tool.add(place), *tool.commit(place)):
        place.call(*command)
    for _ in range(3):
        _inside(place, run, "reads")


def _rows_journey(bench: Bench, tool: Tool, place: Place, run: RunRecord) -> None:
    for number in range(3):
        _inside(place, run, "rows", str(bench.size.rows), f"rows-{number}")


def _add_and_commit(tool: Tool, place: Place, run: RunRecord, step: str, expected: int) -> None:
    added = _timed(tool.add(place), place, run, step)
    committed = _timed(tool.commit(place), place, run, f"commit after {step}")
    _expect_held(tool, place, expected)
    if added and committed:
        total = added.durable_s + committed.durable_s
        run.note(f"{step} + commit", Reading(round(total, 4), SECONDS))


def _timed(commands: Sequence[Command], place: Place, run: RunRecord, step: str) -> Timing | None:
    if not commands:
        return None
    timing = time_commands(commands, place.root, place.environment)
    run.note(step, durable(timing))
    return timing


def _expect_held(tool: Tool, place: Place, expected: int) -> None:
    held = tool.held_files(place)
    if held != expected:
        raise RunFailed(f"{tool.name} holds {held} files after add, expected {expected}")


def _inside(place: Place, run: RunRecord, *arguments: str) -> None:
    """Measure within one fresh Python process; it answers `{step: [value, unit]}`."""
    answer = run_quietly((sys.executable, str(INSIDE), *arguments), place.root, place.environment)
    for step, (value, unit) in json.loads(answer).items():
        run.note(step, Reading(value, unit))


def copy_source(bench: Bench, kind: str, place: Place) -> None:
    kept = bench.work / f"source-{kind}-{bench.size.name}"
    if not kept.exists():
        growing = kept.with_name(kept.name + ".growing")
        shutil.rmtree(growing, ignore_errors=True)
        if kind == "big":
            gen.write_big_files(growing, bench.size.big_files, bench.size.big_mib)
        elif kind == "even":
            gen.write_even_files(growing, bench.size.even_files)
        else:
            gen.write_small_files(growing, bench.size.small_files)
        growing.rename(kept)
    run_quietly(("cp", "-r", str(kept), str(place.source)), place.root, place.environment)
    settle(place)


def settle(place: Place) -> None:
    """Source durable and in the page cache: what follows pays for its own work only."""
    sync_file_system(place.root)
    read_all(place.source)


def _shard_hashes(place: Place) -> set[str]:
    shards = (place.root / DATASET).glob("*.parquet")
    return {hashlib.sha256(shard.read_bytes()).hexdigest() for shard in shards}


def shorten(bench: Bench, message: str) -> str:
    """Results are published: they name no folder of the machine."""
    for path, stand_in in ((bench.work, "WORK"), (Path(__file__).parents[1], "REPO"), (Path(sys.prefix), "PYTHON")):
        message = message.replace(str(path), stand_in)
    return " ".join(message.split())
