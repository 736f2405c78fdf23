"""`datapin diff`, and how plain `git diff` shows a pointer."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

import datapin
from clones import BIN, ENVIRONMENT, Clone, write_images
from datapin.base.errors import UnknownDataset, UnknownVersion


@pytest.fixture(scope="module")
def edited_once(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Against HEAD: one row removed, one relabelled, one added with a new file."""
    filled = Clone(tmp_path_factory.mktemp("edited") / "repo")
    shutil.copytree(blank, filled.path, symlinks=True)
    write_images(filled.path / "img")
    filled.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    filled.commit("v1")
    (filled.path / "img" / "c").mkdir()
    (filled.path / "img" / "c" / "00.bin").write_bytes(b"new")
    filled.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    filled.datapin("remove", "data/raw", "--where", "key = 'a/00.bin'", "-q")
    filled.datapin("update", "data/raw", "--set", "label='z'", "--where", "key = 'b/01.bin'", "-q")
    return filled.path


@pytest.fixture
def edited(edited_once: Path, tmp_path: Path) -> Clone:
    shutil.copytree(edited_once, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def test_the_work_tree_is_compared_with_head_row_by_row(edited: Clone) -> None:
    report = edited.json("diff", "data/raw")
    rows = report.pop("rows")
    assert report == {
        "a": "data/raw@HEAD", "b": "data/raw", "added": 1, "removed": 1, "changed": 1, "columns": {"label": 1},
    }  # fmt: skip
    assert [(row["key"], row["change"]) for row in rows] == [
        ("a/00.bin", "removed"),
        ("b/01.bin", "changed"),
        ("c/00.bin", "added"),
    ]
    assert (rows[1]["before"], rows[1]["after"]) == ({"label": "b"}, {"label": "z"})
    assert rows[2]["before"] is None
    assert rows[2]["after"]["size"] == 3
    text = edited.datapin("diff", "data/raw").stdout.splitlines()
    assert text == [
        "data/raw@HEAD → data/raw (work tree): 1 added, 1 removed, 1 changed",
        "columns: label 1",
        "- a/00.bin  label=a",
        "~ b/01.bin  label: b → z",
        "+ c/00.bin  label=c",
    ]


def test_any_two_versions_compare_in_both_directions_and_spellings(edited: Clone) -> None:
    edited.commit("v2")
    repo = datapin.Repo.find(edited.path)
    forth = repo.diff("data/raw", "HEAD~1", "HEAD")
    back = repo.diff("data/raw", "HEAD", "HEAD~1")
    assert (forth.added, forth.removed) == (back.removed, back.added) == (1, 1)
    assert [(r.key, r.before, r.after) for r in forth.rows] == [(r.key, r.after, r.before) for r in back.rows]
    assert repo.diff("data/raw@HEAD~1", "data/raw@HEAD") == forth
    assert repo.diff("data/raw@HEAD~1", "HEAD") == forth
    assert repo.diff("data/raw@HEAD~1").rows == forth.rows
    assert not repo.diff("data/raw").differs
    assert edited.datapin("diff", "raw", "HEAD~1", cwd=edited.path / "data").stdout.count("\n") == 5


def test_exit_code_limit_and_where_are_heard(edited: Clone) -> None:
    ended = edited.datapin("diff", "data/raw", "--exit-code", "--limit", "1", code=1)
    assert ended.stdout.splitlines()[2:] == ["- a/00.bin  label=a", "… and 2 more rows (--limit N lists more)"]
    assert edited.json("diff", "data/raw", "--limit", "0")["rows"] == []
    ended = edited.datapin("diff", "data/raw", "--where", "label = 'nothing'", "--exit-code")
    assert ended.stdout.endswith("no differences\n")
    assert "no differences" in edited.datapin("diff", "data/raw", "HEAD", "HEAD", "--exit-code").stdout
    message, _ = edited.refusal("diff", "data/raw", "--where", "nonsense = 1", code=2)
    assert "nonsense" in message


def test_a_version_without_the_dataset_has_no_rows_but_a_name_without_any_is_an_error(filled: Clone) -> None:
    first = filled.git("rev-list", "--max-parents=0", "HEAD").strip()
    repo = datapin.Repo.find(filled.path)
    report = repo.diff("data/raw", first)
    assert (report.added, report.removed, len(report.rows)) == (12, 0, 12)
    filled.git("rm", "-q", "data/raw.dvc")
    filled.run("rm", "-r", "data/raw")
    gone = repo.diff("data/raw")
    assert (gone.added, gone.removed) == (0, 12)
    with pytest.raises(UnknownDataset):
        repo.diff("data/row")
    with pytest.raises(UnknownVersion):
        repo.diff("data/raw", "v9", "HEAD")
    with pytest.raises(UnknownVersion):
        repo.diff("data/raw", first, first)


def test_before_the_first_commit_of_a_dataset_all_its_rows_are_added(repo: Clone) -> None:
    (repo.path / "one").mkdir()
    (repo.path / "one" / "x.txt").write_text("x")
    repo.datapin("add", "one", "--to", "data/new", "-q")
    assert repo.json("diff", "data/new")["added"] == 1


def test_control_characters_of_values_never_reach_the_terminal(filled: Clone) -> None:
    filled.datapin("update", "data/raw", "--set", "label=chr(27)||'[31m'||chr(8238)", "--where", "key='a/00.bin'", "-q")
    ended = filled.datapin("diff", "data/raw").stdout
    assert "\x1b" not in ended
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in ended
    assert r"label: a → \x1b[31m\u202e" in ended


def test_git_diff_and_git_log_show_rows_instead_of_hashes(edited: Clone) -> None:
    shown = edited.git("diff", "data/raw.dvc")
    for line in ("-label    a: 6", "+label    a: 5", "+label    c: 1", "+label    z: 1", " rows     12"):
        assert line in shown.splitlines(), shown
    assert "md5" not in shown
    edited.commit("v2")
    assert "+label    z: 1" in edited.git("log", "-p", "-1", "--", "data/raw.dvc").splitlines()
    worktree = edited.path.parent / "linked"
    edited.git("worktree", "add", "-q", worktree, "HEAD~1")
    assert "+rows     12" in Clone(worktree).git("log", "-p", "-1", "--", "data/raw.dvc").splitlines()


def test_git_diff_shows_as_much_as_is_known_and_any_other_pointer_as_it_is(edited: Clone) -> None:
    edited.run("rm", "-rf", ".dvc/cache", ".git/datapin/objects", "data/raw")
    shown = edited.git("diff", "data/raw.dvc").splitlines()
    assert any(re.fullmatch(r"\+digest   sha256:[0-9a-f]{64}", line) for line in shown)
    assert not any("label" in line for line in shown)
    model = edited.path / "model.bin"
    model.write_bytes(b"weights")
    edited.dvc("add", "-q", "model.bin")
    edited.git("add", "-N", "model.bin.dvc")
    assert "+- md5: " in edited.git("diff", "model.bin.dvc")
    pointer = edited.path / "data" / "raw.dvc"
    pointer.write_text(pointer.read_text() + "desc: by hand\n")
    assert "+desc: by hand" in edited.git("diff", "data/raw.dvc").splitlines()
    pointer.write_text("<<<<<<< ours\ndatapin: [\n")
    assert "+datapin: [" in edited.git("diff", "data/raw.dvc").splitlines()


def test_git_works_as_before_where_the_command_is_gone(edited: Clone) -> None:
    own = str(BIN)
    for name in ("diff.datapin.textconv", "merge.datapin.driver"):
        value = edited.git("config", name).strip()
        assert own in value  # a graphical client has no PATH of a virtual environment
        edited.git("config", name, value.replace(own, "/nowhere"))
    folders = ENVIRONMENT["PATH"].split(os.pathsep)
    path = os.pathsep.join(part for part in folders if not Path(part, "datapin").exists())
    shown = edited.run("git", "diff", "data/raw.dvc", PATH=path).stdout
    assert "-- md5: " in shown
    broken = edited.path.parent / "bin" / "git-datapin"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho half an answer >&2\nexit 1\n")
    broken.chmod(0o755)
    ended = edited.run("git", "diff", "data/raw.dvc", PATH=f"{broken.parent}:{path}")
    assert (ended.stdout, ended.stderr) == (shown, "")
    edited.git("checkout", "-q", "-b", "theirs")
    edited.commit("theirs")
    edited.git("checkout", "-q", "main")
    pointer = edited.path / "data" / "raw.dvc"
    pointer.write_text(pointer.read_text().replace("rows: 12", "rows: 13"))
    edited.commit("ours")
    edited.run("git", "merge", "-q", "theirs", PATH=path, code=1)
    assert "<<<<<<< ours" in pointer.read_text()


def test_the_json_of_a_diff_is_one_document_with_everything_listed(filled: Clone) -> None:
    filled.datapin("update", "data/raw", "--set", "note = key", "-q")
    report = json.loads(filled.datapin("diff", "data/raw", "--json").stdout)
    assert len(report["rows"]) == report["changed"] == 12


def test_values_of_a_page_go_where_the_user_stands(edited: Clone, tmp_path: Path) -> None:
    edited.datapin("diff", "data/raw", "--html", "page.html", "--limit", "0", cwd=edited.path / "data")
    assert (edited.path / "data" / "page.html").read_text().startswith("<!DOCTYPE html>")
    for place in (tmp_path / "none" / "page.html", tmp_path):
        message, _ = edited.refusal("diff", "data/raw", "--html", place, code=30)
        assert message.startswith(f"cannot write {place}: ")
