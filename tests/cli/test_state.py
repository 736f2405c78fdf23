"""Local state lies in Git's own folder: no commit carries it, and nothing that Git removes takes it along."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from clones import Clone
from datapin.base.state import state_of
from datapin.repo import Repo

KEY = "key = 'a/00.bin'"
READING = (
    ("status",), ("show", "data/raw"), ("ls", "data/raw"), ("log", "data/raw"), ("diff", "data/raw"), ("doctor",),
    ("verify",), ("trace", "data/raw"), ("uses", "data/raw:a/00.bin"), ("why", "data/raw:a/00.bin"),
    ("query", "select 1"),
)  # fmt: skip


@pytest.fixture
def committed(filled: Clone) -> Clone:
    filled.commit("v1")
    return filled


def test_state_outlives_whatever_git_removes(committed: Clone, tmp_path: Path) -> None:
    committed.git("worktree", "add", "-q", tmp_path / "w", "-b", "more")
    more = Clone(tmp_path / "w")
    (more.path / "new").mkdir()
    (more.path / "new" / "n.bin").write_bytes(b"unique")
    more.datapin("add", "new", "--to", "data/raw", "-q")
    shutil.rmtree(more.path / "new")
    more.git("commit", "-qam", "one more")
    assert state_of(more.path).store == state_of(committed.path).store
    assert state_of(more.path).scratch != state_of(committed.path).scratch
    committed.git("worktree", "remove", "--force", more.path)
    committed.git("merge", "-q", "more")
    # Neither the assets nor the rows that the other work tree made are gone, although its DVC cache is.
    committed.datapin("restore", "data/raw", "-q")
    committed.git("clean", "-fdxq")
    committed.datapin("restore", "-q")
    committed.datapin("checkout", "data/raw", "--into", "out", "-q")
    assert (committed.path / "out" / "n.bin").read_bytes() == b"unique"
    committed.git("sparse-checkout", "set", "nothing")
    committed.git("sparse-checkout", "disable")
    committed.datapin("restore", "-q")
    assert committed.json("show", "data/raw@HEAD~1")["rows"] == committed.json("show", "data/raw")["rows"] - 1
    # DVC finds its objects again, too.
    committed.dvc("checkout", "data/raw.dvc")
    assert "up to date" in committed.dvc("status").stdout


def test_a_submodule_keeps_its_state_when_it_is_taken_out_of_the_work_tree(committed: Clone, tmp_path: Path) -> None:
    outer = Clone(tmp_path / "outer")
    outer.path.mkdir()
    outer.git("init", "-q")
    outer.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", committed.path, "vendor")
    inner = Clone(outer.path / "vendor")
    (inner.path / "x").mkdir()
    (inner.path / "x" / "x.bin").write_bytes(b"x")
    inner.datapin("add", "x", "--to", "data/x", "-q")
    inner.commit("x")
    outer.commit("sub")
    outer.git("submodule", "deinit", "-q", "-f", "vendor")
    outer.git("submodule", "update", "-q", "--init")
    inner.datapin("restore", "data/x", "-q")
    inner.datapin("checkout", "data/x", "--into", "out", "-q")
    assert (inner.path / "out" / "x.bin").read_bytes() == b"x"


def test_an_experiment_in_a_copy_finds_the_store_of_its_origin(committed: Clone) -> None:
    copy = committed.path / ".dvc" / "tmp" / "exps" / "tmp1"
    committed.git("clone", "-q", committed.path, copy)
    assert state_of(copy).store == state_of(committed.path).store
    assert state_of(copy).scratch != state_of(committed.path).scratch
    inside = Clone(copy)
    inside.datapin("restore", "-q")
    inside.datapin("checkout", "data/raw", "--into", "out", "-q")
    assert len(inside.files("out")) == 12


def test_what_a_commit_carries_is_not_believed_as_state(committed: Clone, tmp_path: Path) -> None:
    """A clone in which every place that ever held state was committed, with journals that lead outside."""
    victim = tmp_path / "victim"
    (victim / "theirs").mkdir(parents=True)
    (victim / "theirs" / "file").write_text("theirs")
    # The store and memo of the author, forged where that helps him.
    old = committed.path / ".datapin"
    shutil.copytree(state_of(committed.path).store, old / "store")
    for pack in (old / "store" / "packs").rglob("*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:-1] + b"?")
    swap = {"staged": f"{victim}/staged", "target": f"{victim}/theirs", "aside": f"{victim}/aside"}
    hook = {"staged": str(old / "tmp" / "x"), "target": ".git/hooks", "aside": str(old / "tmp" / "y")}
    texts = {
        "tmp/journal/0.json": json.dumps(swap),
        "tmp/swap-0.json": json.dumps(hook),
        "tmp/rollback/journal": json.dumps(
            {"placements": [{**swap, "before": "absent"}], "trees": [], "folders": [], "to_stage": []}
        ),
        "tmp/x/post-checkout": "#!/bin/sh\ntouch ran\n",
        "cache/checkout/trees.json": json.dumps([{"target": str(victim), "dataset": "data/raw", "where": None}]),
        "memo/forged.parquet": "not results",
        "config.local.toml": "jobs = 1\n",
    }
    for name, text in texts.items():
        (old / name).parent.mkdir(parents=True, exist_ok=True)
        (old / name).write_text(text)
    committed.git("add", "-A", "-f", ".datapin")
    committed.commit("all of it")
    clone = Clone(tmp_path / "clone")
    committed.git("clone", "-q", committed.path, clone.path)
    before = {path: path.read_bytes() for path in victim.rglob("*") if path.is_file()}
    hooks = sorted(os.listdir(clone.path / ".git" / "hooks"))
    said = clone.datapin("status", code=None)
    assert "is tracked by Git" in said.stderr
    clone.git("rm", "-rq", "--cached", ".datapin/store")
    shutil.rmtree(clone.path / ".datapin" / "store")
    for words in READING:
        clone.datapin(*words, code=None)
    clone.datapin("recover", code=None)
    assert {path: path.read_bytes() for path in victim.rglob("*") if path.is_file()} == before
    assert sorted(os.listdir(clone.path / ".git" / "hooks")) == hooks
    assert clone.json("status")["datasets"][0].get("missing_local") in (12, 0)
    assert Repo.find(clone.path)._workspace.store.index.entries.ids.shape[0] == 0, "nothing of theirs is in the store"


def test_the_store_of_an_earlier_version_moves_once(committed: Clone, tmp_path: Path) -> None:
    new, old = state_of(committed.path).store, committed.path / ".datapin" / "store"
    os.rename(new, old)
    said = committed.datapin("show", "data/raw").stderr
    assert "has moved from .datapin/store to .git/datapin/store" in said
    assert not old.exists()
    committed.datapin("checkout", "data/raw", "--into", "out", "-q")
    # A second one, as another work tree has it, joins the first.
    more = Clone(tmp_path / "w")
    committed.git("worktree", "add", "-q", more.path, "-b", "more")
    shutil.copytree(new, more.path / ".datapin" / "store")
    shutil.rmtree(new / "packs")
    more.datapin("status", "-q")
    committed.datapin("checkout", "data/raw", "--into", "again", "-q")
    assert len(committed.files("again")) == 12
    # A setting that names the old place wins.
    os.rename(new, old)
    (committed.path / ".datapin" / "config.local.toml").write_text('[store]\ndir = ".datapin/store"\n')
    assert "has moved" not in committed.datapin("show", "data/raw").stderr
    assert old.is_dir()


@pytest.mark.parametrize("is_read_first", [False, True], ids=["recovered", "read first"])
def test_a_journal_that_cannot_be_followed_is_named_once_and_recovered(committed: Clone, is_read_first: bool) -> None:
    scratch = state_of(committed.path).scratch
    failed = committed.datapin(
        "update",
        "data/raw",
        "--set",
        "label='z'",
        "--where",
        KEY,
        code=137,
        DATAPIN_FAILPOINT="files.swap.aside:1:exit",
    )
    assert not failed.stdout
    (journal,) = (scratch / "journal").glob("*.json")
    journal.write_bytes(journal.read_bytes()[:20])
    assert not (committed.path / "data" / "raw").exists()
    assert "data/raw" in committed.datapin("status", code=None).stdout
    for words in READING if is_read_first else ():
        committed.datapin(*words, code=None)
    said = committed.datapin("doctor", code=None).stdout
    assert "datapin recover" in said or not journal.exists()
    done = committed.datapin("recover").stdout
    assert is_read_first or "data/raw: brought back" in done  # a verb that reads rows brings them back, too
    assert (committed.path / "data" / "raw").is_dir()
    assert committed.json("diff", "data/raw")["changed"] == 0
    assert "set aside" not in committed.datapin("doctor", code=None).stdout
    kept = state_of(committed.path).kept
    assert any(path.suffix == ".parquet" for path in kept.rglob("*")), "the rows of the edit are kept for a look"
    # A rollback's journal that is not one.
    (scratch / "rollback").mkdir(exist_ok=True)
    (scratch / "rollback" / "journal").write_text('{"placements": [{"target": "/etc"}]}')
    assert "set aside" in committed.datapin("status").stderr
    assert "set aside" not in committed.datapin("status").stderr
