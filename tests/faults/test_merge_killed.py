"""A merge killed at every failpoint of driver, `resolve` and hook: what follows ends as a clean run does."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from clones import Clone, write_images
from datapin.base import failpoints
from sweeps import some

POINTER = "data/raw.dvc"


@pytest.fixture(scope="module")
def branches(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`main` is at ours; `theirs` merges cleanly with it, `contrary` labels one row otherwise."""
    top = tmp_path_factory.mktemp("branches")
    shutil.copytree(blank, top / "repo", symlinks=True)
    clone = Clone(top / "repo")
    write_images(clone.path / "img")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.commit("v1")
    clone.git("tag", "v1")
    for branch, label, key in (("contrary", "x", "a/00.bin"), ("theirs", "z", "b/00.bin"), ("main", "y", "a/00.bin")):
        clone.git("checkout", "-q", "-B", branch, "v1")
        clone.dvc("checkout", "-q", POINTER)
        clone.datapin("update", "data/raw", "--set", f"label = '{label}'", "--where", f"key = '{key}'", "-q")
        clone.commit(branch)
    return clone.path


def copied(repo: Path, place: Path) -> Clone:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(repo, place, symlinks=True)
    return Clone(place)


def run(clone: Clone, words: Sequence[str], *, armed: str = "", log: str = "") -> int:
    asked = {"DATAPIN_FAILPOINT": armed, "DATAPIN_FAILPOINT_LOG": log}
    given = {name: value for name, value in asked.items() if value}
    return clone.datapin(*words, code=None, env=given).returncode


def points_of(clone: Clone, words: Sequence[str], log: Path, *, code: int = 0) -> list[str]:
    """Every failpoint that an undisturbed run passes."""
    assert run(clone, words, log=str(log)) == code
    return list(dict.fromkeys(log.read_text().split()))


def seen(clone: Clone) -> dict[str, bytes]:
    """The pointer and the manifest in the work tree, and whether DVC's cache holds what is pinned."""
    # What a crash leaves beside a pointer is swept when it has grown old.
    files = {name: data for name, data in clone.files("data").items() if not name.startswith(".tmp-")}
    return {**files, "kept": b"%d" % run(clone, ["show", "data/raw"])}


def write_versions(clone: Clone, ours: str, theirs: str) -> list[str]:
    """The three files that Git gives a driver, and the driver's words."""
    for name, rev in (("base", "v1"), ("ours", ours), ("theirs", theirs)):
        (clone.path / f".merge_{name}").write_text(clone.git("show", f"{rev}:{POINTER}"))
    return ["merge-driver", ".merge_base", ".merge_ours", ".merge_theirs", POINTER]


def test_a_driver_that_dies_leaves_ours_or_a_conflict_and_the_next_one_merges(branches: Path, tmp_path: Path) -> None:
    trial = copied(branches, tmp_path / "trial")
    words = write_versions(trial, "main", "theirs")
    points = points_of(trial, words, tmp_path / "log")
    assert {"merge.written", "track.object", "merge.cached"} < set(points)
    expected, merged = seen(trial), (trial.path / ".merge_ours").read_text()
    for point in some(points, 12):
        clone = copied(branches, tmp_path / "crash")
        words = write_versions(clone, "main", "theirs")
        ours = (clone.path / ".merge_ours").read_text()
        assert run(clone, words, armed=f"{point}:1:exit") == failpoints.KILLED, point
        left = (clone.path / ".merge_ours").read_text()
        assert left == ours or left.startswith("<<<<<<< "), point
        assert seen(clone) == expected, point  # the work tree is Git's to change
        assert run(clone, write_versions(clone, "main", "theirs")) == 0, point
        assert (clone.path / ".merge_ours").read_text() == merged, point


def test_after_a_merge_that_died_git_can_abort_and_merge_again(branches: Path, tmp_path: Path) -> None:
    trial = copied(branches, tmp_path / "trial")
    trial.git("merge", "-q", "--no-edit", "theirs")
    clone = copied(branches, tmp_path / "crash")
    environment = {"DATAPIN_FAILPOINT": "merge.cached:1:exit"}
    died = clone.run("git", "merge", "-q", "--no-edit", "theirs", code=None, env=environment)
    assert died.returncode != 0
    clone.git("reset", "-q", "--merge")
    assert clone.git("status", "--porcelain") == ""
    clone.git("merge", "-q", "--no-edit", "theirs")
    assert clone.git("show", f"HEAD:{POINTER}") == trial.git("show", f"HEAD:{POINTER}")


def test_a_resolve_that_dies_is_finished_by_the_next(branches: Path, tmp_path: Path) -> None:
    base = copied(branches, tmp_path / "base")
    base.run("git", "merge", "-q", "--no-edit", "contrary", code=1)
    words = ["resolve", "data/raw", "--theirs", "-q"]
    trial = copied(base.path, tmp_path / "trial")
    points = points_of(trial, words, tmp_path / "log")
    for planned in ("merge.cached", "resolve.merged", "follow.placed", "resolve.placed", "resolve.pointer.renamed"):
        assert planned in points
    expected = seen(trial)
    for point in some(points, 12):
        clone = copied(base.path, tmp_path / "crash")
        assert run(clone, words, armed=f"{point}:1:exit") == failpoints.KILLED, point
        text = (clone.path / POINTER).read_text()
        if text.startswith("<<<<<<< "):
            assert run(clone, words) == 0, point
        assert seen(clone) == expected, point


@pytest.mark.parametrize("hook", ["post-checkout", "post-index-change"])
def test_a_hook_that_dies_leaves_the_old_or_the_new_manifest_and_the_next_one_ends_it(
    branches: Path, tmp_path: Path, hook: str
) -> None:
    base = copied(branches, tmp_path / "base")
    before = base.git("rev-parse", "HEAD").strip()
    base.git("checkout", "-q", "theirs")
    words = ["hook", hook, before, base.git("rev-parse", "HEAD").strip(), "1"]
    old = base.files("data", "raw")
    trial = copied(base.path, tmp_path / "trial")
    points = points_of(trial, words, tmp_path / "log")
    assert {"follow.staged", "files.swap.aside", "files.swap.placed", "follow.placed"} <= set(points)
    expected = seen(trial)
    new = trial.files("data", "raw")
    assert old != new
    for point in some(points, 12):
        clone = copied(base.path, tmp_path / "crash")
        assert run(clone, words, armed=f"{point}:1:exit") == failpoints.KILLED, point
        assert run(clone, ["show", "data/raw"]) == 0, point
        assert clone.files("data", "raw") in (old, new), point
        assert run(clone, words) == 0, point
        assert seen(clone) == expected, point
    clone.dvc("status", "-q")
