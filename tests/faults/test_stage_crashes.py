"""Stages killed, interrupted or starved of disk: the output is old or new, and a rerun reuses what was done."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps import some
from workspaces import StageForks, Workspace, digits, labels_of

PARAMS = """
prepare: {resize: 8, mode: L, split: {train: 0.5, test: 0.5}}
augment: {copies: 2}
featurize: {extract: [pixels, {use: hog, cell: 4}], batch: 16}
"""
ORDER = ("prepare", "augment", "featurize")
OUTPUT = {"prepare": "data/prepared", "augment": "data/augmented", "featurize": "data/features"}
INPUT = {"prepare": "data/raw", "augment": "data/prepared"}
KILLED = 137


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StageForks]:
    server = StageForks(tmp_path_factory.mktemp("forks"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, forks: StageForks) -> Workspace:
    """A workspace where every stage has run."""
    workspace = Workspace.make(tmp_path_factory.mktemp("clean") / "repo")
    assets = digits(40)
    workspace.write("data/raw", assets, label=labels_of(assets))
    workspace.params(PARAMS)
    for stage in ORDER:
        code, said = forks.run(workspace, stage)
        assert code == 0, said
    return workspace


def before(clean: Workspace, stage: str, root: Path) -> Workspace:
    """A copy of `clean` as it was before `stage`, its memo empty."""
    shutil.copytree(clean.root, root)
    for later in ORDER[ORDER.index(stage) :]:
        shutil.rmtree(root / OUTPUT[later])
    shutil.rmtree(root / ".datapin/memo")
    if stage != "featurize":  # its results lie in the store as well: take them out, so that they are stored again
        shutil.rmtree(root / ".datapin/store")
        workspace = Workspace.make(root)
        with workspace.store.filling() as filling:
            for row in workspace.read(INPUT[stage]):
                filling.put(clean.store.read(row["asset_id"]))
    return Workspace(root)


def points_of(forks: StageForks, workspace: Workspace, stage: str) -> list[str]:
    """Every failpoint that the stage passes."""
    log = workspace.root / "points"
    code, said = forks.run(workspace, stage, log=str(log))
    assert code == 0, said
    return sorted(set(log.read_text().split()))


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_killed_at_any_point_is_finished_by_a_rerun(
    clean: Workspace, forks: StageForks, stage: str, tmp_path: Path
) -> None:
    points = points_of(forks, before(clean, stage, tmp_path / "logged"), stage)
    assert {"map.accepted", "map.flushed", "memo.appended", "stage.output.staged", "files.swap.placed"} <= set(points)
    assert {"map.published", "store.pack.written"} <= set(points) or stage == "featurize"
    expected = clean.files(OUTPUT[stage])
    for number, point in enumerate(some(points, 10)):
        victim = before(clean, stage, tmp_path / f"victim{number}")
        assert forks.run(victim, stage, armed=f"{point}:1:exit")[0] == KILLED, point
        assert victim.files(OUTPUT[stage]) in ({}, expected), f"{point}: half an output"
        code, said = forks.run(victim, stage)
        assert code == 0, said
        assert victim.files(OUTPUT[stage]) == expected, point
        left = [path.name for path in (victim.root / ".datapin/tmp").iterdir() if path.suffix != ".lock"]
        assert all(name.startswith(".tmp-") for name in left), left


@pytest.mark.parametrize("stage", ORDER)
def test_what_was_flushed_before_the_kill_is_not_computed_again(
    clean: Workspace, forks: StageForks, stage: str, tmp_path: Path
) -> None:
    victim = before(clean, stage, tmp_path / "victim")
    assert forks.run(victim, stage, armed="map.flushed:1:exit")[0] == KILLED
    _, computed, reused, _ = forks.run(victim, stage)[1].split()
    assert int(computed) == 0
    assert int(reused) > 0


def test_an_old_output_stays_until_the_new_one_is_whole(clean: Workspace, forks: StageForks, tmp_path: Path) -> None:
    victim = before(clean, "augment", tmp_path / "victim")
    assert forks.run(victim, "augment")[0] == 0
    old = victim.files("data/augmented")
    victim.params(PARAMS.replace("copies: 2", "copies: 3"))
    for point in ("map.accepted", "map.published", "memo.segment.synced", "map.flushed", "stage.output.staged"):
        assert forks.run(victim, "augment", armed=f"{point}:1:exit")[0] == KILLED, point
        assert victim.files("data/augmented") == old, point
        if point == "map.accepted":
            continue
        assert forks.run(victim, "augment", armed="stage.output.staged:1:exit")[0] == KILLED
        break
    assert forks.run(victim, "augment", armed="files.swap.aside:1:exit")[0] == KILLED
    code, said = forks.run(victim, "augment")
    assert (code, said.split()[1]) == (0, "0")
    assert victim.files("data/augmented") != old


@pytest.mark.parametrize("stage", ORDER)
def test_a_full_disk_is_an_error_and_leaves_no_output(
    clean: Workspace, forks: StageForks, stage: str, tmp_path: Path
) -> None:
    points = points_of(forks, before(clean, stage, tmp_path / "logged"), stage)
    written = [point for point in points if point.endswith(".written") and "swap" not in point]
    assert "memo.segment.written" in written
    assert "manifest.shard.written" in written
    for point in some(written, 4):
        victim = before(clean, stage, tmp_path / point)
        code, said = forks.run(victim, stage, armed=f"{point}:1:oserror={errno.ENOSPC}")
        assert code != 0, point
        assert "errors.world.StorageFailed: cannot" in said.splitlines()[-1], point
        assert "No space left on device" in said.splitlines()[-1], point
        assert victim.files(OUTPUT[stage]) == {}
        assert forks.run(victim, stage)[0] == 0
        assert victim.files(OUTPUT[stage]) == clean.files(OUTPUT[stage]), point


# A user's function runs in workers: each keeps its first items until there is `go`.
SLOW = """
import os, time
from pathlib import Path

HERE = Path(__file__).parent

def run(assets):
    (HERE / f"began-{os.getpid()}").touch()
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return [[len(a)] for a in assets]
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def two_workers(workspace: Workspace, process: subprocess.Popen[str]) -> list[int]:
    """The processes that compute, as soon as each has an item in its hands."""
    found: list[int] = []
    while len(found) < 2 and process.poll() is None:
        time.sleep(0.02)
        found = [int(path.name.removeprefix("began-")) for path in workspace.root.glob("began-*")]
    assert len(found) == 2, process.communicate()[1]
    return found


def started(workspace: Workspace, jobs: int) -> subprocess.Popen[str]:
    (workspace.root / "slow.py").write_text(SLOW)
    workspace.params("featurize: {extract: ['slow:run'], batch: 4}")
    tests = str(Path(__file__).parents[1])
    return subprocess.Popen(
        workspace.command("featurize", jobs),
        env={**os.environ, "PYTHONPATH": tests},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_a_stage_is_ended_its_workers_end_too(clean: Workspace, tmp_path: Path, ending: signal.Signals) -> None:
    victim = before(clean, "featurize", tmp_path / "victim")
    with started(victim, 2) as process:
        workers = two_workers(victim, process)
        if ending == signal.SIGINT:
            os.killpg(process.pid, ending)  # as a terminal does
        else:
            os.kill(process.pid, ending)
        process.wait()
        if ending != signal.SIGINT:
            (victim.root / "go").touch()  # they notice when they answer
        _, said = process.communicate()
        assert process.returncode != 0
        while any(map(is_alive, workers)) and ending != signal.SIGINT:
            time.sleep(0.02)
        assert not any(map(is_alive, workers))
    if ending == signal.SIGINT:
        assert said.count("Traceback") == 1, said  # that of the script in `command`; the workers say nothing
        assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert victim.files("data/features") == {}
    assert not list((victim.root / ".datapin/tmp").glob("swap-*"))


def test_a_killed_worker_changes_nothing_but_the_time(clean: Workspace, tmp_path: Path) -> None:
    victim = before(clean, "featurize", tmp_path / "victim")
    with started(victim, 2) as process:
        os.kill(two_workers(victim, process)[0], signal.SIGKILL)
        (victim.root / "go").touch()
        stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert len(list(victim.root.glob("began-*"))) == 3, "the one that took its place"
    rows = stdout.split()[0]
    assert int(rows) == len(victim.read("data/features"))
    undisturbed = before(clean, "featurize", tmp_path / "undisturbed")
    (undisturbed.root / "go").touch()
    with started(undisturbed, 1) as other:
        other.communicate()
    assert victim.files("data/features") == undisturbed.files("data/features")
