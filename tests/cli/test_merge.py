"""Two people change one dataset and Git merges it: by row and column, whichever side merges, with conflicts as rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clones import Clone
from teams import Member, Team, make_team

POINTER = "data/raw.dvc"


@pytest.fixture(scope="session")
def made_team(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Team:
    return make_team(blank, tmp_path_factory.mktemp("team"))


@pytest.fixture
def team(made_team: Team, tmp_path: Path) -> Team:
    return made_team.copy(tmp_path / "team")


def both_label_one_row(team: Team, key: str = "a/00.bin") -> None:
    """Ann says x, Bob says y; Bob has fetched Ann's commit and not merged it."""
    team.ann.label("x", f"key = '{key}'")
    team.ann.commit("ann")
    team.ann.git("push", "-q")
    team.bob.label("y", f"key = '{key}'")
    team.bob.commit("bob")
    team.bob.git("fetch", "-q")


def test_both_add_edit_and_remove_and_the_merge_has_it_all_whichever_side_merges(team: Team, tmp_path: Path) -> None:
    ann, bob = team.ann, team.bob
    ann.add("more", classes="c")
    ann.label("cat", "key LIKE 'a/%'")
    ann.datapin("remove", "data/raw", "--where", "key = 'b/00.bin'", "-q")
    ann.commit("ann")
    ann.git("push", "-q")
    bob.add("other", classes="d")
    bob.label("dog", "key = 'b/05.bin'")
    bob.datapin("update", "data/raw", "--set", "split = 'val'", "--where", "key = 'a/01.bin'", "-q")
    bob.commit("bob")
    # The manifest that Ann pushed is not here: the driver brings it.
    said = bob.run("git", "pull", "-q", "--no-rebase", "--no-edit").stderr
    assert said == ""
    rows = bob.rows()
    assert len(rows) == 12 + 2 + 2 - 1
    assert (rows["a/01.bin"]["label"], rows["a/01.bin"]["split"]) == ("cat", "val")
    assert rows["b/05.bin"]["label"] == "dog"
    assert {"c/00.bin", "d/01.bin"} < set(rows)
    assert "b/00.bin" not in rows
    assert bob.is_clean()
    assert bob.json("status", "data/raw")["datasets"][0]["digest"] == bob.digest("data/raw@HEAD")
    pointer = (bob.path / POINTER).read_text()
    assert pointer.index("- img") < pointer.index("- more") < pointer.index("- other")
    # Ann merges Bob's work herself, from the same two commits.
    bob.git("push", "-q", "origin", "HEAD~1:refs/heads/bob")
    ann.git("fetch", "-q")
    ann.merge("origin/bob")
    assert ann.digest() == bob.digest()
    assert ann.is_clean()
    assert (ann.path / POINTER).read_text() == pointer


def test_cells_that_both_changed_differently_are_conflicts_that_resolve_settles(team: Team) -> None:
    ann, bob = team.ann, team.bob
    both_label_one_row(team)
    ann.label("x", "key IN ('a/01.bin', 'a/02.bin')")
    ann.add("more")
    ann.commit("ann again")
    ann.git("push", "-q")
    bob.label("y", "key IN ('a/01.bin', 'a/02.bin')")
    bob.label("same", "key = 'b/01.bin'")
    bob.commit("bob again")
    bob.git("fetch", "-q")
    said = bob.merge("origin/main", code=1)
    assert "datapin: data/raw: 3 conflicts (label 3): run `datapin resolve data/raw`" in said.stderr
    assert bob.git("status", "--porcelain", POINTER).startswith("UU")
    text = (bob.path / POINTER).read_text()
    assert text.startswith("<<<<<<< ours\n")
    assert "||||||| base\n" in text
    assert "possible merge conflicts" in bob.dvc("status", code=1).stderr
    document = bob.json("resolve", "data/raw")
    expected = [{"key": f"a/0{n}.bin", "column": "label", "base": "a", "ours": "y", "theirs": "x"} for n in range(3)]
    assert document["conflicts"] == expected
    noted = json.loads((bob.path / ".git" / "datapin" / "tmp" / "conflicts" / "data" / "raw.json").read_text())
    assert noted["conflicts"] == expected
    some = bob.json("resolve", "data/raw", "--theirs", "--where", "key = 'a/00.bin'")
    assert [one["key"] for one in some["conflicts"]] == ["a/01.bin", "a/02.bin"]
    assert (bob.path / POINTER).read_text() == text
    some = bob.json("resolve", "data/raw", "--set", "label=z", "--where", "key LIKE '%2.bin' AND conflict = 'label'")
    assert (some["settled"], len(some["conflicts"])) == (1, 1)
    done = bob.datapin("resolve", "data/raw", "--ours").stdout
    assert "now `git add data/raw.dvc`" in done
    assert bob.git("status", "--porcelain", POINTER).startswith("UU")
    bob.git("add", POINTER)
    bob.git("commit", "-q", "--no-edit")
    rows = bob.rows()
    assert [rows[f"a/0{n}.bin"]["label"] for n in range(3)] == ["x", "y", "z"]
    assert rows["b/01.bin"]["label"] == "same"
    assert "c/01.bin" in rows
    assert bob.is_clean()


def test_either_side_may_call_itself_ours(team: Team, tmp_path: Path) -> None:
    both_label_one_row(team)
    team.bob.git("push", "-q", "origin", "HEAD:refs/heads/bob")
    team.ann.git("fetch", "-q")
    team.ann.merge("origin/bob", code=1)
    team.ann.datapin("resolve", "data/raw", "--ours")
    team.bob.merge("origin/main", code=1)
    team.bob.datapin("resolve", "data/raw", "--theirs")
    assert team.ann.digest() == team.bob.digest()
    assert (team.ann.path / POINTER).read_text() == (team.bob.path / POINTER).read_text()


@pytest.mark.parametrize(("side", "label"), [("--ours", None), ("--theirs", "x")])
def test_an_edit_against_a_removal_is_a_conflict_of_the_whole_row(team: Team, side: str, label: str | None) -> None:
    ann, bob = team.ann, team.bob
    ann.label("x", "key = 'a/03.bin'")
    ann.commit("ann")
    ann.git("push", "-q")
    bob.datapin("remove", "data/raw", "--where", "key IN ('a/03.bin', 'a/04.bin')", "-q")
    bob.commit("bob")
    bob.git("fetch", "-q")
    said = bob.merge("origin/main", code=1).stderr
    assert "1 conflict (edit against removal 1)" in said
    (conflict,) = bob.json("resolve", "data/raw")["conflicts"]
    assert (conflict["key"], conflict["column"], conflict["ours"]) == ("a/03.bin", "", None)
    assert (conflict["base"]["label"], conflict["theirs"]["label"]) == ("a", "x")
    assert "a/03.bin  ours removed it, theirs edited it" in bob.datapin("resolve", "data/raw").stdout
    bob.datapin("resolve", "data/raw", side, "-q")
    rows = bob.rows()
    assert "a/04.bin" not in rows
    assert rows.get("a/03.bin", {"label": None})["label"] == label
    bob.git("add", POINTER)
    bob.git("commit", "-q", "--no-edit")
    assert bob.is_clean()


def test_without_the_remote_the_merge_waits_in_conflict_and_resolve_ends_it(team: Team) -> None:
    ann, bob = team.ann, team.bob
    ann.add("more")
    ann.commit("ann")
    ann.git("push", "-q")
    bob.label("y", "key = 'a/00.bin'")
    bob.commit("bob")
    bob.git("fetch", "-q")
    team.lab.rename(team.top / "away")
    said = bob.merge("origin/main", code=1).stderr
    assert "error: data/raw.dvc is left in conflict: data/raw: its manifest is pinned but not here" in said
    assert "hint:  `datapin resolve data/raw` tries again" in said
    assert bob.git("status", "--porcelain", POINTER).startswith("UU")
    message, _ = bob.refusal("resolve", "data/raw", code=20)
    assert "not here" in message
    (team.top / "away").rename(team.lab)
    bob.datapin("resolve", "data/raw", "-q")
    bob.git("add", POINTER)
    bob.git("commit", "-q", "--no-edit")
    assert bob.rows()["a/00.bin"]["label"] == "y"
    assert len(bob.rows()) == 14
    assert bob.is_clean()


def test_a_dataset_that_both_have_made_is_merged_without_a_common_version(team: Team) -> None:
    for member, label in ((team.ann, "x"), (team.bob, "x")):
        (member.path / "out").mkdir()
        (member.path / "out" / "same.bin").write_bytes(b"same")
        (member.path / "out" / f"{member.path.name}.bin").write_bytes(member.path.name.encode())
        member.datapin("add", "out", "--to", "data/new", "--label", "none", "-q")
        member.commit(f"{member.path.name} {label}")
    team.ann.git("push", "-q")
    assert team.bob.run("git", "pull", "-q", "--no-rebase", "--no-edit").stderr == ""
    assert set(team.bob.rows("data/new")) == {"ann.bin", "bob.bin", "same.bin"}
    assert team.bob.is_clean()


def test_notes_in_the_pointer_are_merged_and_conflict_like_cells(team: Team) -> None:
    def note(member: Member, text: str) -> None:
        path = member.path / POINTER
        path.write_text(f"desc: {text}\n{path.read_text()}" if "desc:" not in path.read_text() else path.read_text())
        member.commit(text)

    note(team.ann, "from-ann")
    team.ann.git("push", "-q")
    team.bob.add("more")
    team.bob.commit("rows")
    assert team.bob.run("git", "pull", "-q", "--no-rebase", "--no-edit").stderr == ""
    assert "desc: from-ann" in (team.bob.path / POINTER).read_text()
    assert team.bob.is_clean()
    team.bob.git("reset", "-q", "--hard", "HEAD~1")
    team.bob.git("checkout", "-q", "HEAD", "--", ".")
    note(team.bob, "from-bob")
    assert "1 conflict (note desc 1)" in team.bob.merge("origin/main", code=1).stderr
    (conflict,) = team.bob.json("resolve", "data/raw")["conflicts"]
    assert conflict == {"key": "", "column": "desc", "base": None, "ours": "from-bob", "theirs": "from-ann"}
    team.bob.datapin("resolve", "data/raw", "--theirs", "-q")
    assert "desc: from-ann" in (team.bob.path / POINTER).read_text()
    assert len(team.bob.rows()) == 14


def test_a_rebase_and_a_cherry_pick_merge_rows_too(team: Team) -> None:
    ann, bob = team.ann, team.bob
    ann.add("more")
    ann.commit("ann")
    ann.git("push", "-q")
    bob.label("y", "key = 'a/00.bin'")
    bob.commit("bob 1")
    bob.label("z", "key = 'a/01.bin'")
    bob.commit("bob 2")
    assert bob.run("git", "pull", "-q", "--rebase").stderr == ""
    rows = bob.rows()
    assert (len(rows), rows["a/00.bin"]["label"], rows["a/01.bin"]["label"]) == (14, "y", "z")
    assert bob.is_clean()
    bob.git("checkout", "-q", "-b", "side", "v1")
    bob.git("cherry-pick", "-x", "main")
    assert {row["label"] for row in bob.rows("data/raw@HEAD").values()} == {"a", "b", "z"}


def test_histories_that_cross_merge_with_what_the_common_versions_have_in_common(team: Team) -> None:
    bob = team.bob
    for branch, key in (("one", "a/00.bin"), ("two", "b/00.bin")):
        bob.git("checkout", "-q", "-b", branch, "v1")
        bob.label(branch, f"key = '{key}'")
        bob.commit(branch)
    bob.merge("one")
    bob.git("checkout", "-q", "one")
    bob.merge("two~1")
    bob.label("later", "key = 'a/00.bin'")
    bob.commit("later")
    bob.git("checkout", "-q", "two")
    bob.label("also", "key = 'b/02.bin'")
    bob.commit("also")
    assert bob.merge("one").stderr == ""
    rows = bob.rows()
    assert [rows[key]["label"] for key in ("a/00.bin", "b/00.bin", "b/02.bin")] == ["later", "two", "also"]
    assert bob.is_clean()


def test_a_dataset_that_one_side_removed_is_for_the_user_to_keep_or_remove(team: Team) -> None:
    team.ann.dvc("remove", POINTER)
    team.ann.commit("gone")
    team.ann.git("push", "-q")
    team.bob.label("y", "key = 'a/00.bin'")
    team.bob.commit("bob")
    team.bob.git("fetch", "-q")
    team.bob.merge("origin/main", code=1)
    message, hint = team.bob.refusal("resolve", "data/raw", code=40)
    assert "removed on one side (theirs)" in message
    assert "git rm data/raw.dvc" in hint
    assert "git checkout --ours data/raw.dvc" in hint


def test_common_versions_that_contradict_each_other_are_nobodys_conflict(team: Team) -> None:
    bob = team.bob
    for branch in ("one", "two"):
        bob.git("checkout", "-q", "-b", branch, "v1")
        bob.label(branch, "key = 'a/00.bin'")
        bob.commit(branch)
    for branch, other, side in (("one", "two", "--ours"), ("two", "one~1", "--theirs")):
        bob.git("checkout", "-q", branch)
        bob.merge(other, code=1)
        bob.datapin("resolve", "data/raw", side, "-q")
        bob.commit(f"{branch} settled")
    bob.label("later", "key = 'b/00.bin'")
    bob.commit("later")
    assert len(bob.git("merge-base", "--all", "one", "two").split()) == 2
    bob.git("checkout", "-q", "one")
    (bob.path / "code.py").write_text("x")
    bob.commit("code")
    assert bob.merge("two").stderr == ""
    rows = bob.rows()
    assert (rows["a/00.bin"]["label"], rows["b/00.bin"]["label"]) == ("one", "later")
    assert not (bob.path / ".git" / "datapin" / "tmp" / "conflicts" / "data" / "raw.json").exists()
    assert bob.is_clean()


def test_a_dataset_that_one_side_renamed_takes_the_edits_of_both_to_its_new_name(team: Team) -> None:
    bob = team.bob
    bob.git("checkout", "-q", "-b", "renamed")
    bob.dvc("move", "-q", "data/raw", "data/new")
    bob.datapin("update", "data/new", "--set", "label = 'x'", "--where", "key = 'a/01.bin'", "-q")
    bob.commit("renamed")
    bob.git("checkout", "-q", "-b", "edited", "v1")
    bob.label("y", "key = 'a/02.bin'")
    bob.commit("edited")
    bob.merge("-X", "find-renames=10%", "renamed")
    rows = bob.rows("data/new")
    assert (rows["a/01.bin"]["label"], rows["a/02.bin"]["label"]) == ("x", "y")
    assert not (bob.path / "data" / "raw").exists()
    bob.dvc("status", "-q")
    bob.git("reset", "-q", "--hard", "HEAD~1")
    bob.label("z", "key = 'a/01.bin'")
    bob.commit("contrary")
    bob.merge("-X", "find-renames=10%", "renamed", code=1)
    bob.datapin("resolve", "data/new", "--ours", "-q")
    bob.commit("settled")
    assert bob.rows("data/new")["a/01.bin"]["label"] == "z"


def test_a_datapin_that_does_not_run_leaves_marks_as_git_would(team: Team, tmp_path: Path) -> None:
    both_label_one_row(team)
    command = tmp_path / "broken" / "git-datapin"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexit 1\n")
    command.chmod(0o755)
    broken = {"PATH": f"{command.parent}:/usr/bin:/bin"}
    team.bob.run("git", "merge", "-q", "origin/main", code=1, env=broken)
    assert team.bob.git("status", "--porcelain", POINTER).startswith("UU")
    assert "<<<<<<< ours" in (team.bob.path / POINTER).read_text()
    team.bob.datapin("resolve", "data/raw", "--theirs", "-q")
    assert team.bob.rows()["a/00.bin"]["label"] == "x"


def test_what_is_not_in_conflict_or_fits_no_conflict_is_refused(team: Team) -> None:
    message, _ = team.bob.refusal("resolve", "data/raw", "--ours", code=40)
    assert "not in conflict" in message
    message, _ = team.bob.refusal("resolve", "data/nothing", code=10)
    assert "no dataset" in message
    both_label_one_row(team)
    team.bob.merge("origin/main", code=1)
    for words, seen in (
        (["--ours", "--theirs"], "exclude"),
        (["--where", "key = 'x'"], "decides nothing"),
        (["--ours", "--where", "key = 'x'"], "no conflict matches"),
        (["--set", "split=val"], "columns in conflict: label"),
        (["--set", "label"], "COL=VALUE"),
        (["--ours", "--where", "nonsense = 1"], "nonsense"),
    ):
        message, _ = team.bob.refusal("resolve", "data/raw", *words, code=2)
        assert seen in message
    assert team.bob.git("status", "--porcelain", POINTER).startswith("UU")


def test_rows_that_nobody_saved_keep_resolve_from_writing(team: Team) -> None:
    both_label_one_row(team)
    shard = team.bob.path / "data" / "raw" / "part-00000.parquet"
    team.bob.merge("origin/main", code=1)
    before = shard.read_bytes()
    shard.chmod(0o644)
    shard.write_bytes(before + b"mine")
    message, hint = team.bob.refusal("resolve", "data/raw", "--ours", code=40)
    assert "nobody saved" in message
    assert "move the folder data/raw away" in hint
    assert shard.read_bytes() == before + b"mine"
    shard.write_bytes(before)
    team.bob.datapin("resolve", "data/raw", "--ours", "-q")
    assert team.bob.rows()["a/00.bin"]["label"] == "y"


def test_other_dvc_files_are_merged_as_dvc_or_git_would(team: Team) -> None:
    bob = team.bob

    def track(branch: str, start: str, files: dict[str, str]) -> None:
        bob.git("checkout", "-q", "-B", branch, start)
        for name, text in files.items():
            (bob.path / "models").mkdir(exist_ok=True)
            (bob.path / "models" / name).write_text(text)
        bob.dvc("add", "-q", "models")
        bob.commit(branch)

    track("start", "v1", {"base.bin": "base"})
    track("one", "start", {"one.bin": "1"})
    shutil.rmtree(bob.path / "models")
    bob.git("checkout", "-q", "start")
    bob.dvc("checkout", "-q", "models.dvc")
    track("two", "start", {"two.bin": "2"})
    bob.merge("one", code=1)
    assert "<<<<<<< ours" in (bob.path / "models.dvc").read_text()
    bob.git("merge", "--abort")
    driver = "dvc git-hook merge-driver --ancestor %O --our %A --their %B "
    bob.git("config", "merge.dvc.driver", driver)
    bob.merge("one")
    bob.dvc("checkout", "-q")
    assert sorted(path.name for path in (bob.path / "models").iterdir()) == ["base.bin", "one.bin", "two.bin"]
    assert bob.is_clean()


def test_columns_of_different_types_are_left_with_the_way_out(team: Team) -> None:
    team.ann.datapin("update", "data/raw", "--set", "weight = 'heavy'", "-q")
    team.ann.commit("ann")
    team.ann.git("push", "-q")
    team.bob.datapin("update", "data/raw", "--set", "weight = 1.5", "-q")
    team.bob.commit("bob")
    team.bob.git("fetch", "-q")
    said = team.bob.merge("origin/main", code=1).stderr
    assert "weight" in said
    assert "git checkout --ours -- data/raw.dvc && git add data/raw.dvc" in said
    assert team.bob.git("status", "--porcelain", POINTER).startswith("UU")


PIPELINE = """\
stages:
  left:
    cmd: python -c "open('left.txt', 'w').write(open('a.txt').read() + open('b.txt').read())"
    deps: [a.txt, b.txt]
    outs: [left.txt]
  right:
    cmd: python -c "open('right.txt', 'w').write(open('b.txt').read())"
    deps: [b.txt]
    outs: [right.txt]
  only:
    cmd: python -c "open('only.txt', 'w').write(open('c.txt').read())"
    deps: [c.txt]
    outs: [only.txt]
"""


def test_a_stage_that_both_ran_is_left_out_of_dvc_lock_and_repro_makes_it_again(team: Team) -> None:
    def run(member: Clone, **files: str) -> None:
        for name, text in files.items():
            (member.path / f"{name}.txt").write_text(text)
        member.dvc("repro", "-q")
        member.commit(" ".join(files))

    ann, bob = team.ann, team.bob
    (ann.path / "dvc.yaml").write_text(PIPELINE)
    run(ann, a="a\n", b="b\n", c="c\n")
    ann.git("push", "-q")
    bob.git("pull", "-q")
    bob.dvc("repro", "-q")
    run(ann, a="A\n")
    ann.git("push", "-q")
    run(bob, b="B\n", c="C\n")
    said = bob.run("git", "pull", "-q", "--no-rebase", "--no-edit").stderr
    assert said.strip() == "datapin: dvc.lock: both sides ran left: left out, `dvc repro` makes it again"
    lock = (bob.path / "dvc.lock").read_text()
    assert "  left:" not in lock
    assert "  right:" in lock
    bob.dvc("repro", "-q")
    assert (bob.path / "left.txt").read_text() == "A\nB\n"
    assert (bob.path / "only.txt").read_text() == "C\n"
    assert "up to date" in bob.dvc("status").stdout
    bob.git("push", "-q", "origin", "HEAD~1:refs/heads/bob")
    ann.git("fetch", "-q")
    ann.merge("origin/bob")
    assert (ann.path / "dvc.lock").read_text() == lock


def test_two_assets_under_one_key_are_a_conflict_of_the_asset(team: Team) -> None:
    for member in (team.ann, team.bob):
        (member.path / "out" / "c").mkdir(parents=True)
        (member.path / "out" / "c" / "new.bin").write_bytes(f"by {member.path.name}".encode())
        member.datapin("add", "out", "--to", "data/raw", "--label", "parent", "-q")
        member.commit(member.path.name)
    team.ann.git("push", "-q")
    team.bob.git("fetch", "-q")
    team.bob.merge("origin/main", code=1)
    (conflict,) = team.bob.json("resolve", "data/raw")["conflicts"]
    assert (conflict["key"], conflict["column"], conflict["base"]) == ("c/new.bin", "asset_id", None)
    assert len(conflict["ours"]) == len(conflict["theirs"]) == 64
    message, _ = team.bob.refusal("resolve", "data/raw", "--set", f"asset_id={conflict['ours']}", code=2)
    assert "no conflict in that column" in message
    team.bob.datapin("resolve", "data/raw", "--theirs", "-q")
    row = team.bob.rows()["c/new.bin"]
    assert (row["asset_id"], row["size"]) == (conflict["theirs"], len(b"by ann"))
    team.bob.datapin("checkout", "data/raw", "--into", "seen", "-q")
    assert (team.bob.path / "seen" / "c" / "new.bin").read_bytes() == b"by ann"
