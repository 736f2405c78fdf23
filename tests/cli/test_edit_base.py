"""No edit starts from rows that the pointer does not pin: what Git moved under them is never taken back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from clones import Clone
from datapin.base.errors import Refused
from datapin.base.state import state_of
from datapin.repo import Repo

KEYS = "key IN ('a/00.bin', 'a/01.bin', 'a/02.bin')"


@pytest.fixture
def behind(filled: Clone) -> Clone:
    """The pointer is that of v2, a colleague's relabelling of three rows; the rows that lie there are still v1's."""
    repo = Repo.find(filled.path)
    repo.update("data/raw", ["label='v2'"], where=KEYS)
    filled.commit("v2")
    filled.git("tag", "v2")
    filled.git("checkout", "-q", "HEAD~1")
    repo.restore(["data/raw"])
    filled.git("checkout", "-q", "main")
    assert labels(filled, "v2") == 0
    return filled


def labels(clone: Clone, label: str) -> int:
    return len(Repo.find(clone.path).ls("data/raw", where=f"label = '{label}'"))


def add_one(clone: Clone) -> None:
    (clone.path / "new").mkdir()
    (clone.path / "new" / "n.bin").write_bytes(b"n")
    Repo.find(clone.path).add(["new"], to="data/raw")


def write_all_but_one(clone: Clone) -> None:
    # What a script reads before it writes is what lies there: it must not be written over newer rows unseen.
    repo = Repo.find(clone.path)
    table = repo.ls("data/raw", columns=["key", "asset_id", "size", "label"]).slice(1)
    repo.write("data/raw", table)


EDITS: dict[str, Callable[[Clone], object]] = {
    "update": lambda clone: Repo.find(clone.path).update("data/raw", ["label='mine'"], where="key = 'b/00.bin'"),
    "remove": lambda clone: Repo.find(clone.path).remove("data/raw", where="key = 'b/00.bin'"),
    "add": add_one,
}


@pytest.mark.parametrize("edit", EDITS)
def test_rows_left_behind_are_brought_forward_before_an_edit(behind: Clone, edit: str) -> None:
    # Offline, too: a remote that nobody can reach.
    behind.dvc("remote", "add", "-q", "--default", "lab", "s3://nowhere/x")
    EDITS[edit](behind)
    assert labels(behind, "v2") == 3, "the colleague's labels stay"
    behind.commit("mine")
    changed = behind.json("diff", "data/raw", "v2", "HEAD")
    assert (changed["added"], changed["removed"], changed["changed"]) in [(0, 0, 1), (0, 1, 0), (1, 0, 0)]


def test_the_edit_says_that_it_brought_rows_forward(behind: Clone) -> None:
    said = behind.datapin("update", "data/raw", "--set", "label='mine'", "--where", "key = 'b/00.bin'")
    assert "data/raw: brought to the rows that data/raw.dvc pins" in said.stderr


def test_edited_rows_under_a_moved_pointer_are_refused_and_restore_keeps_them(behind: Clone) -> None:
    root = behind.path
    behind.git("checkout", "-q", "HEAD~1")
    shard = root / "data" / "raw" / "part-00000.parquet"
    pinned = shard.read_bytes()
    repo = Repo.find(root)
    repo.update("data/raw", ["label='edited'"], where="key = 'b/01.bin'")
    edited = shard.read_bytes()
    behind.git("checkout", "-q", "data/raw.dvc")
    behind.git("checkout", "-q", "main")
    for edit in EDITS.values():
        with pytest.raises(Refused, match="its rows were edited") as caught:
            edit(behind)
        assert "datapin restore data/raw" in caught.value.hint
        assert shard.read_bytes() == edited, "nothing has changed"
    with pytest.raises(Refused, match="its rows were edited"):
        write_all_but_one(behind)
    done = behind.datapin("restore", "data/raw").stdout
    assert "unsaved edits are kept in .git/datapin/kept/" in done
    assert labels(behind, "v2") == 3
    assert any(path.read_bytes() == edited for path in state_of(root).kept.rglob("part-*.parquet"))
    assert pinned != shard.read_bytes()
    assert "nothing to do" in behind.datapin("restore", "data/raw").stdout
    EDITS["update"](behind)


def test_rollback_to_head_brings_rows_that_stayed_behind(behind: Clone) -> None:
    assert "3 changed" in behind.datapin("rollback", "data/raw", "--to", "HEAD").stdout
    assert labels(behind, "v2") == 3


def test_a_stage_does_not_run_on_rows_left_behind_nor_does_dvc_turn_head_back(behind: Clone) -> None:
    (behind.path / "params.yaml").write_text("prepare: {input: data/raw, split: {train: 0.5, val: 0.5}}\n")
    refused, hint = behind.refusal("run", "prepare", code=40)
    assert "holds the rows of an older version" in refused
    assert hint == "run `datapin restore data/raw`"
    # What `dvc repro` and `dvc commit` do with a source whose rows lie behind: they pin them.
    behind.dvc("commit", "-f", "-q", "data/raw.dvc")
    refused, hint = behind.refusal("run", "prepare", code=40)
    assert "DVC has pinned an older version" in refused
    assert "DVC has pinned an older version" in behind.refusal("update", "data/raw", "--set", "label='x'", code=40)[0]
    command = hint.split("`")[1]
    behind.run("sh", "-c", command, PATH=f"{Path(shutil.which('datapin') or '').parent}:/usr/bin:/bin")
    assert labels(behind, "v2") == 3
    assert behind.datapin("run", "prepare", code=None).stderr.count("older version") == 0


def test_hooks_come_by_default_are_missed_aloud_and_may_be_refused(filled: Clone, tmp_path: Path) -> None:
    hooks = filled.path / ".git" / "hooks"
    assert "hooks" not in filled.datapin("status").stdout, "they were refused here"
    filled.datapin("init", "-q")
    assert not (hooks / "pre-push").exists(), "a refusal is remembered"
    assert ".git/hooks/pre-push" in filled.json("init", "--hooks")["created"]
    assert "hooks" not in filled.datapin("status").stdout
    clone = Clone(tmp_path / "clone")
    filled.git("clone", "-q", filled.path, clone.path)
    assert "warning: this clone has no hooks of datapin" in clone.datapin("status").stdout
    (finding,) = [one for one in clone.json("doctor", code=1)["findings"] if one["where"].endswith("pre-push")] or [
        None
    ]
    assert finding is not None
    assert finding["severity"] == "warning"
    clone.dvc("remote", "add", "-q", "--default", "lab", str(tmp_path / "lab"))
    assert "run `datapin init`" in clone.datapin("fetch", code=None).stderr
    clone.datapin("init", "-q")
    assert (clone.path / ".git" / "hooks" / "post-checkout").exists()
    clone.datapin("init", "--no-hooks", "-q")
    assert "this clone has no hooks" not in clone.datapin("status").stdout
    # A hook that is no shell script is the user's: init goes on and says what to do.
    (clone.path / ".git" / "hooks" / "pre-push").write_text("#!/usr/bin/env python3\n")
    clone.git("config", "--unset", "datapin.hooks")
    assert "no shell script" in clone.datapin("init").stdout


def test_a_stage_of_ones_own_writes_its_output(filled: Clone) -> None:
    script = """
import datapin, pyarrow as pa
rows = datapin.open("data/raw").to_arrow()
ids = datapin.put_all(key.encode() for key in rows["key"].to_pylist())
assert datapin.put(rows["key"][0].as_py().encode()) == ids[0]
table = pa.table({"key": rows["key"], "asset_id": ids, "size": [len(k) for k in rows["key"].to_pylist()]})
datapin.write("data/mine", table)
try:
    datapin.write("data/other", table)
except datapin.errors.Refused as error:
    print("refused:", error)
"""
    (filled.path / "make.py").write_text(script)
    (filled.path / "dvc.yaml").write_text(
        "vars: [{name: mine}]\nstages:\n  mine:\n    cmd: python make.py\n    deps: [make.py, data/raw]\n"
        "    outs: ['data/${name}']\n  other:\n    cmd: 'true'\n    outs: [data/other]\n"
    )
    said = filled.dvc("repro", "mine").stdout
    assert "refused: data/other is the output of a stage" in said
    filled.commit("mine")
    assert filled.json("show", "data/mine")["rows"] == 12
    assert "up to date" in filled.dvc("status", "mine").stdout
    assert filled.json("verify", "HEAD", "--check", "pins.readable")["ok"]
    # Outside of its stage it is not to be written.
    with pytest.raises(Refused, match="output of a stage"):
        Repo.find(filled.path).write("data/mine", pa.table({"key": ["x"], "asset_id": ["0" * 64], "size": [1]}))
    filled.datapin("checkout", "data/mine", "--into", "out", "-q")
    assert (filled.path / "out" / "a" / "00.bin").read_bytes() == b"a/00.bin"


def test_a_fresh_clone_knows_the_outputs_of_stages(filled: Clone, tmp_path: Path) -> None:
    (filled.path / "params.yaml").write_text("prepare: {input: data/raw, split: {train: 0.5, val: 0.5}}\n")
    (filled.path / "dvc.yaml").write_text(
        "stages:\n  prepare:\n    cmd: datapin run prepare\n    deps: [data/raw]\n    params: [prepare]\n"
        "    outs: [data/prepared]\n  model:\n    cmd: mkdir -p model && echo m > model/m.txt\n    outs: [model]\n"
    )
    filled.datapin("run", "prepare", code=None)
    repro = filled.run("dvc", "repro", code=None)
    if repro.returncode:
        pytest.fail(repro.stdout + repro.stderr)
    filled.dvc("remote", "add", "-q", "--default", "lab", str(tmp_path / "lab"))
    filled.commit("ran")
    filled.datapin("push", "-q")
    filled.dvc("push", "-q")
    clone = Clone(tmp_path / "clone")
    filled.git("clone", "-q", filled.path, clone.path)
    said = clone.datapin("status").stdout
    assert "data/prepared" in said
    clone.datapin("fetch", "-q")
    assert clone.json("show", "data/prepared")["rows"] == 12
    assert not (clone.path / "model").exists(), "a folder of something else is DVC's"
    clone.datapin("checkout", "data/prepared", "--into", "out", "-q")
    assert len(clone.files("out")) == 12


def test_an_edit_of_an_imported_dataset_leaves_dvc_content(filled: Clone, blank: Path, tmp_path: Path) -> None:
    shutil.copytree(blank, tmp_path / "other", symlinks=True)
    other = Clone(tmp_path / "other")
    (other.path / "data").mkdir()
    other.dvc("import", "-q", str(filled.path), "data/raw", "-o", "data/imported")
    other.commit("import")
    Repo.find(other.path).update("data/imported", ["label='mine'"])
    assert "up to date" in other.dvc("status").stdout
    pointer = (other.path / "data" / "imported.dvc").read_text()
    assert "rev_lock" in pointer, "it stays an import"
    assert len(Repo.find(other.path).ls("data/imported", where="label = 'mine'")) == 12


def test_a_word_that_is_empty_is_a_wrong_word_in_every_verb(filled: Clone) -> None:
    before = filled.files("data")
    for words in (("diff", "data/raw", ""), ("ls", "data/raw", "--where", ""), ("push", "-r", " ")):
        assert "is empty" in filled.refusal(*words, code=2)[0]
    assert filled.files("data") == before


def test_profiles_that_a_commit_brought_run_no_program(filled: Clone) -> None:
    ran = filled.path / "ran"
    (filled.path / "aws").write_text(f"[default]\ncredential_process = touch {ran}\n")
    (filled.path / ".dvc" / "config").write_text(
        "[core]\n    remote = lab\n['remote \"lab\"']\n    url = s3://bucket/x\n    configpath = ../aws\n"
    )
    filled.commit("a remote of a stranger's")
    message, hint = filled.refusal("push", code=40)
    assert "configpath" in message
    assert "--local lab configpath" in hint
    assert not ran.exists()
