"""A copy of a repository, as `cp -r` makes it for a backup, has nothing to do with the folders of the original."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clones import Clone


@pytest.fixture
def checked_out(filled: Clone) -> Clone:
    """Two versions, the later one checked out into `out`."""
    filled.commit("v1")
    filled.git("tag", "v1")
    shutil.rmtree(filled.path / "img" / "b")
    filled.datapin("add", "img", "--to", "data/raw", "--mirror")
    filled.datapin("checkout", "data/raw", "--into", "out")
    filled.commit("v2")
    return filled


def test_a_rollback_in_a_copy_leaves_the_folders_of_the_original(checked_out: Clone, tmp_path: Path) -> None:
    shutil.copytree(checked_out.path, tmp_path / "copy", symlinks=True)
    copy = Clone(tmp_path / "copy")
    before = checked_out.files("out")
    assert copy.json("rollback", "data/raw", "--to", "v1")["trees"] == []
    assert checked_out.files("out") == before
    shutil.rmtree(copy.path / "out")
    copy.datapin("checkout", "data/raw", "--into", "out")
    assert len(copy.json("rollback", "data/raw", "--to", "HEAD")["trees"]) == 1
    assert copy.files("out") == before
    assert len(checked_out.json("rollback", "data/raw", "--to", "v1")["trees"]) == 1
    assert checked_out.files("out") != before


def test_a_folder_elsewhere_follows_a_repository_that_was_moved(checked_out: Clone, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    checked_out.datapin("checkout", "data/raw", "--into", elsewhere, "--follow")
    before = Clone(elsewhere).files()
    moved = Clone(tmp_path / "moved")
    checked_out.path.rename(moved.path)
    assert moved.json("rollback", "data/raw", "--to", "v1")["trees"] == [str(elsewhere)]
    assert Clone(elsewhere).files() != before
