"""Where Git, the machine or another repository are in the way: stashes, hooks elsewhere, submodules, foreign owners."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from clones import BIN, Clone
from datapin.repo import Repo

# Root ignores modes and owners, unless it gives these up.
PLAIN = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
READING = (
    ("status",), ("show", "data/raw"), ("ls", "data/raw"), ("log", "data/raw"), ("diff", "data/raw", "HEAD"),
    ("verify",), ("trace", "data/raw"), ("uses", "data/raw:a/00.bin"), ("why", "data/raw:a/00.bin"),
    ("query", "select 1 from 'data/raw'"),
)  # fmt: skip


@pytest.fixture
def hooked(filled: Clone) -> Clone:
    filled.datapin("init", "--hooks", "-q")
    return filled


def test_what_a_stash_holds_comes_back_with_it(hooked: Clone) -> None:
    Repo.find(hooked.path).update("data/raw", ["label='q'"], where="key = 'a/00.bin'")
    before = hooked.files("data")
    hooked.git("stash", "--all", "-q")
    assert not (hooked.path / "data" / "raw").exists(), "the hook left it to the stash"
    hooked.git("stash", "pop", "-q")
    assert hooked.files("data") == before
    assert hooked.json("diff", "data/raw")["changed"] == 1
    # Without a stash that holds it, a dataset that is gone is laid out again.
    hooked.commit("q")
    shutil.rmtree(hooked.path / "data" / "raw")
    hooked.git("checkout", "-q", "HEAD~1")
    assert hooked.json("show", "data/raw")["rows"] == 12


def test_a_hook_of_one_repository_that_calls_datapin_in_another_works_there(
    hooked: Clone, blank: Path, tmp_path: Path
) -> None:
    shutil.copytree(blank, tmp_path / "b", symlinks=True)
    hook = hooked.path / ".git" / "hooks" / "post-commit"
    hook.write_text(f"#!/bin/sh\n{BIN}/datapin --cd {tmp_path / 'b'} init --hooks -q\n")
    hook.chmod(0o755)
    before = sorted(os.listdir(hooked.path / ".git" / "hooks"))
    hooked.git("worktree", "add", "-q", tmp_path / "w")  # Git sets GIT_DIR for the hooks of a linked worktree
    Clone(tmp_path / "w").git("commit", "-q", "--allow-empty", "-m", "x")
    assert sorted(os.listdir(hooked.path / ".git" / "hooks")) == before
    assert (tmp_path / "b" / ".git" / "hooks" / "pre-push").exists()
    # So does the Python door, in a process that has these variables.
    code = "import datapin; print(len(datapin.open('data/raw')))"
    said = hooked.run(BIN / "python", "-c", code, GIT_DIR=str(tmp_path / "b" / ".git"), GIT_INDEX_FILE="/nowhere")
    assert said.stdout == "12\n"


def test_the_manifest_of_a_submodule_follows_recurse_submodules(hooked: Clone, tmp_path: Path) -> None:
    outer = Clone(tmp_path / "outer")
    outer.path.mkdir()
    outer.git("init", "-q", "-b", "main")
    outer.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", hooked.path, "vendor")
    inner = Clone(outer.path / "vendor")
    inner.datapin("init", "--hooks", "-q")
    inner.dvc("cache", "dir", "--local", str(hooked.path / ".dvc" / "cache"))
    inner.datapin("restore", "-q")
    outer.commit("one")
    Repo.find(inner.path).update("data/raw", ["label='q'"], where="key = 'a/00.bin'")
    inner.git("commit", "-qam", "q")
    outer.commit("two")
    outer.git("checkout", "-q", "--recurse-submodules", "HEAD~1")
    assert "another version" not in inner.datapin("status").stdout
    assert len(Repo.find(inner.path).ls("data/raw", where="label = 'q'")) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="gives capabilities up, which only root has")
def test_reading_needs_no_place_to_write(filled: Clone, tmp_path: Path) -> None:
    for path in [filled.path, *filled.path.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    try:
        for words in READING:
            filled.run(*PLAIN, BIN / "datapin", *words)
        filled.run(*PLAIN, BIN / "datapin", "checkout", "data/raw", "--into", tmp_path / "out", "-q")
        assert len(list((tmp_path / "out").rglob("*.bin"))) == 12
        # What writes says so in one line.
        ended = filled.run(*PLAIN, BIN / "datapin", "update", "data/raw", "--set", "label='x'", code=None)
        assert ended.returncode in (30, 40)
        assert ended.stderr.startswith("error: ")
    finally:
        for path in [filled.path, *filled.path.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_gits_own_cure_for_a_foreign_owner_is_shown(filled: Clone, tmp_path: Path) -> None:
    for path in [filled.path, *filled.path.rglob("*")]:
        os.chown(path, 12345, 12345, follow_symlinks=False)
    for words in (("status",), ("doctor",), ("log", "data/raw")):
        ended = filled.datapin(*words, code=None, HOME=str(tmp_path))
        assert ended.returncode
        assert "git config --global --add safe.directory" in ended.stdout + ended.stderr
    cure = next(line for line in ended.stderr.splitlines() if "safe.directory" in line).split("`")[1]
    filled.run("sh", "-c", cure, cwd=tmp_path, HOME=str(tmp_path))
    filled.datapin("log", "data/raw", HOME=str(tmp_path))
