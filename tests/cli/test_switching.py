"""Git changes the commit that is checked out, and the manifests in the work tree follow: quietly, and without loss."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from clones import BIN, ENVIRONMENT, Clone
from teams import Member, Team, make_team

POINTER = "data/raw.dvc"


@pytest.fixture(scope="session")
def made_team(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """Ann has two versions: v1 of 12 rows and v2 of 14, which are pushed too; Bob has only v1."""
    team = make_team(blank, tmp_path_factory.mktemp("team"))
    team.ann.add("more")
    team.ann.commit("v2")
    team.ann.git("tag", "v2")
    team.ann.git("push", "-q", "origin", "main", "v2")
    return team


@pytest.fixture
def team(made_team: Team, tmp_path: Path) -> Team:
    return made_team.copy(tmp_path / "team")


def switch(member: Clone, *words: str) -> str:
    """`git WORDS`, and what it and the hooks said on stderr."""
    return member.run("git", *words).stderr


def test_the_manifest_follows_commits_branches_tags_and_files_offline_and_in_silence(team: Team) -> None:
    ann = team.ann
    shutil.rmtree(team.lab)
    for words, rows in (
        (["checkout", "-q", "v1"], 12),
        (["checkout", "-q", "main"], 14),
        (["checkout", "-q", "-b", "side", "v1"], 12),
        (["switch", "-q", "main"], 14),
        (["checkout", "-q", "HEAD~1", "--", POINTER], 12),
        (["checkout", "-q", "HEAD", "--", POINTER], 14),
        (["restore", "--source", "v1", POINTER], 12),
        (["restore", POINTER], 14),
        (["checkout", "-q", "side"], 12),
        (["merge", "-q", "main"], 14),
    ):
        assert switch(ann, *words) == "", words
        assert len(ann.rows()) == rows, words
    assert ann.is_clean()


def test_pull_forward_and_back_and_rebase_bring_what_is_not_here(team: Team) -> None:
    bob = team.bob
    assert switch(bob, "pull", "-q") == ""
    assert len(bob.rows()) == 14
    assert bob.is_clean()
    bob.git("checkout", "-q", "-b", "side", "v1")
    (bob.path / "code.py").write_text("x")
    bob.commit("code")
    assert switch(bob, "rebase", "-q", "main") == ""
    assert len(bob.rows()) == 14
    assert bob.is_clean()
    (bob.path / "code.py").write_text("y")
    bob.git("add", "code.py")
    assert switch(bob, "commit", "-q", "--amend", "--no-edit") == ""


def test_the_manifest_follows_reset_stash_cherry_pick_and_revert(team: Team) -> None:
    ann = team.ann
    for words, rows in (
        (["reset", "-q", "--hard", "v1"], 12),
        (["cherry-pick", "v2"], 14),
        (["revert", "--no-edit", "HEAD"], 12),
        (["reset", "-q", "--hard", "v2"], 14),
    ):
        assert "datapin" not in switch(ann, *words), words
        assert len(ann.rows()) == rows, words
    ann.label("z", "key = 'a/00.bin'")
    for words, label in ((["stash", "-q"], "a"), (["stash", "pop", "-q"], "z"), (["reset", "-q", "--hard"], "a")):
        assert switch(ann, *words) == "", words
        assert ann.rows()["a/00.bin"]["label"] == label, words
    assert ann.is_clean()


def test_the_manifest_follows_a_merge_that_stops_for_other_files(team: Team) -> None:
    ann = team.ann
    for branch, label in (("one", "x"), ("two", "y")):
        ann.git("checkout", "-q", "-b", branch, "v1")
        (ann.path / "code.py").write_text(branch)
        ann.label(label, f"key = '{'a' if branch == 'one' else 'b'}/00.bin'")
        ann.commit(branch)
    ann.merge("one", code=1)
    rows = ann.rows()
    assert (rows["a/00.bin"]["label"], rows["b/00.bin"]["label"]) == ("x", "y")
    ann.git("merge", "--abort")
    assert ann.rows()["a/00.bin"]["label"] == "a"
    assert ann.is_clean()


def test_without_hooks_status_names_the_command_that_brings_the_version(team: Team) -> None:
    ann = team.ann
    ann.git("-c", "core.hooksPath=/dev/null", "reset", "-q", "--hard", "v1")
    (status,) = ann.json("status", "data/raw")["datasets"]
    assert "`datapin restore data/raw`" in " ".join(status["notes"])
    ann.dvc("checkout", "-q", POINTER)
    assert ann.is_clean()


def test_rows_that_nobody_saved_stay_and_are_named(team: Team) -> None:
    ann = team.ann
    shard = ann.path / "data" / "raw" / "part-00000.parquet"
    edited = shard.read_bytes() + b"edited by hand"
    shard.unlink()
    shard.write_bytes(edited)
    said = switch(ann, "checkout", "-q", "v1")
    assert said.startswith("datapin: data/raw: rows that nobody saved, left as they are; ")
    assert len(said.splitlines()) == 1
    assert shard.read_bytes() == edited
    switch(ann, "checkout", "-q", "main")
    assert shard.read_bytes() == edited
    ann.dvc("checkout", "--force", "-q", POINTER)
    assert switch(ann, "checkout", "-q", "v1") == ""
    assert len(ann.rows()) == 12


def test_edits_under_a_pointer_that_does_not_move_are_no_news(team: Team) -> None:
    ann = team.ann
    ann.git("checkout", "-q", "-b", "side")
    shard = ann.path / "data" / "raw" / "part-00000.parquet"
    edited = shard.read_bytes() + b"edited by hand"
    shard.unlink()
    shard.write_bytes(edited)
    assert switch(ann, "checkout", "-q", "main") == ""
    assert shard.read_bytes() == edited


def test_an_edit_that_is_added_and_not_committed_stays_too(team: Team) -> None:
    ann = team.ann
    ann.label("z", "key = 'a/00.bin'")
    # Git itself refuses to switch where the pointers differ, and keeps the edit where they do not.
    ann.run("git", "checkout", "-q", "v1", code=1)
    assert switch(ann, "checkout", "-q", "-b", "side") == ""
    assert ann.rows()["a/00.bin"]["label"] == "z"
    assert switch(ann, "checkout", "-q", "-f", "v1") == ""
    assert ann.rows()["a/00.bin"]["label"] == "a"


def test_a_manifest_that_cannot_be_had_is_told_in_one_line_and_git_goes_on(team: Team) -> None:
    bob = team.bob
    bob.git("fetch", "-q")
    team.lab.rename(team.top / "away")
    said = switch(bob, "checkout", "-q", "v2")
    assert said.startswith("datapin: data/raw: the manifest of this commit is not here (")
    assert said.endswith("; run `datapin fetch`\n")
    assert len(said.splitlines()) == 1
    assert len(bob.json("ls", "data/raw@v1")) == 12
    (team.top / "away").rename(team.lab)
    bob.datapin("fetch", "-q")
    assert len(bob.rows()) == 14
    assert bob.is_clean()
    assert switch(bob, "checkout", "-q", "v1") == ""
    assert switch(bob, "checkout", "-q", "v2") == ""
    assert len(bob.rows()) == 14


def test_a_dataset_that_the_commit_does_not_have_goes_and_comes_back(team: Team) -> None:
    ann = team.ann
    ann.git("checkout", "-q", "-b", "new")
    (ann.path / "out").mkdir()
    (ann.path / "out" / "x.bin").write_bytes(b"x")
    ann.datapin("add", "out", "--to", "sets/new", "-q")
    ann.commit("new")
    assert switch(ann, "checkout", "-q", "main") == ""
    assert not (ann.path / "sets" / "new").exists()
    assert ann.is_clean()
    assert switch(ann, "checkout", "-q", "new") == ""
    assert len(ann.rows("sets/new")) == 1
    shard = ann.path / "sets" / "new" / "part-00000.parquet"
    edited = shard.read_bytes() + b"edited"
    shard.unlink()
    shard.write_bytes(edited)
    assert "sets/new: rows that nobody saved" in switch(ann, "checkout", "-q", "main")
    assert shard.read_bytes() == edited


def test_a_pointer_cannot_lead_the_hook_out_of_the_repository_or_into_gits_folder(team: Team) -> None:
    ann = team.ann
    (team.top / "outside").mkdir()
    (ann.path / "link").symlink_to(team.top / "outside")
    text = (ann.path / POINTER).read_text()
    (ann.path / "sub").mkdir()
    for number, path in enumerate(("../link/x", "../.git/x", "../.GIT/x", "../.dvc/x", "../../x")):
        (ann.path / "sub" / f"{number}.dvc").write_text(text.replace("path: raw", f"path: {path}"))
    ann.commit("hostile")
    ann.git("checkout", "-q", "--detach")
    assert not list((team.top / "outside").iterdir())
    assert not [
        path for path in (ann.path / ".git/x", ann.path / ".GIT", ann.path / ".dvc/x", team.top / "x") if path.exists()
    ]


def test_a_new_worktree_has_its_manifests_from_the_one_beside_it(team: Team) -> None:
    shutil.rmtree(team.lab)
    assert switch(team.ann, "worktree", "add", "-q", "../linked", "v1") == ""
    linked = Member(team.top / "linked")
    assert len(linked.rows()) == 12
    assert linked.is_clean()
    assert switch(linked, "checkout", "-q", "v2") == ""
    assert len(linked.rows()) == 14
    assert len(team.ann.rows()) == 14
    linked.label("here", "key = 'a/00.bin'")
    linked.commit("in the linked one")
    commit = linked.git("rev-parse", "HEAD").strip()
    assert switch(team.ann, "merge", "-q", commit) == ""
    assert team.ann.rows()["a/00.bin"]["label"] == "here"
    assert team.ann.is_clean()


def test_dvcs_own_hook_runs_after_ours(team: Team) -> None:
    ann = team.ann
    ann.datapin("init", "--no-hooks", "-q")
    ann.dvc("install")
    ann.datapin("init", "--hooks", "-q")
    (ann.path / "model.bin").write_bytes(b"one")
    ann.dvc("add", "-q", "model.bin")
    ann.commit("model")
    ann.git("checkout", "-q", "v1")
    assert len(ann.rows()) == 12
    assert not (ann.path / "model.bin").exists()
    ann.git("checkout", "-q", "main")
    assert len(ann.rows()) == 14
    assert (ann.path / "model.bin").read_bytes() == b"one"
    assert ann.is_clean()


def test_links_into_dvcs_cache_are_made_where_its_settings_say_so(team: Team) -> None:
    ann = team.ann
    ann.dvc("config", "--local", "cache.type", "symlink")
    assert switch(ann, "checkout", "-q", "v1") == ""
    shard = ann.path / "data" / "raw" / "part-00000.parquet"
    assert shard.is_symlink()
    assert len(ann.rows()) == 12
    assert ann.is_clean()
    assert switch(ann, "checkout", "-q", "main") == ""
    assert len(ann.rows()) == 14


def test_outputs_of_stages_follow_as_well(team: Team) -> None:
    ann = team.ann
    script = "import shutil, sys; shutil.copytree('data/raw', 'data/same')"
    (ann.path / "copy.py").write_text(script)
    (ann.path / "dvc.yaml").write_text(
        "stages:\n  copy:\n    cmd: python copy.py\n    deps: [copy.py, data/raw]\n    outs: [data/same]\n"
    )
    ann.dvc("repro", "-q")
    ann.commit("derived")
    ann.label("z", "key = 'a/00.bin'")
    ann.dvc("repro", "-q")
    ann.commit("derived again")
    assert ann.rows("data/same")["a/00.bin"]["label"] == "z"
    assert switch(ann, "checkout", "-q", "HEAD~1") == ""
    assert ann.rows("data/same")["a/00.bin"]["label"] == "a"
    assert ann.is_clean()


def test_the_projects_of_a_larger_repository_follow_each(team: Team) -> None:
    ann = team.ann
    inner = Member(ann.path / "inner")
    inner.path.mkdir()
    inner.dvc("init", "-q", "--subdir")
    inner.datapin("init", "-q")
    (inner.path / "out").mkdir()
    (inner.path / ".gitignore").write_text("/out\n")
    for number in range(2):
        (inner.path / "out" / f"{number}.bin").write_bytes(str(number).encode())
        inner.datapin("add", "out", "--to", "rows", "-q")
        inner.commit(f"inner {number}")
    assert switch(ann, "checkout", "-q", "HEAD~1") == ""
    assert len(inner.rows("rows")) == 1
    assert len(ann.rows()) == 14


def test_the_hook_with_nothing_to_do_needs_no_heavy_library(team: Team) -> None:
    code = (
        "import sys; sys.argv = ['datapin', 'hook', 'post-checkout', 'a', 'b', '1']\n"
        "from datapin.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    team.ann.git("checkout", "-q", "--detach")
    done = subprocess.run(
        [BIN / "python", "-c", code], cwd=team.ann.path, env=ENVIRONMENT, check=True, capture_output=True, text=True
    )
    assert not set(done.stdout.split()) & {"numpy", "pyarrow", "pydantic", "dvc", "obstore", "git", "tqdm", "ruamel"}


def test_files_that_were_checked_out_follow_only_if_the_settings_say_so(team: Team) -> None:
    ann = team.ann
    ann.datapin("checkout", "data/raw", "--into", "out", "-q")
    assert len(ann.files("out")) == 14
    ann.git("checkout", "-q", "v1")
    assert len(ann.files("out")) == 14
    (ann.path / ".datapin" / "config.local.toml").write_text("[checkout]\nfollow = true\n")
    assert switch(ann, "checkout", "-q", "main") == ""
    assert switch(ann, "checkout", "-q", "v1") == ""
    assert len(ann.files("out")) == 12
    (ann.path / "out" / "a" / "00.bin").write_bytes(b"edited")
    (ann.path / "out" / "c").mkdir(exist_ok=True)
    (ann.path / "out" / "c" / "00.bin").write_bytes(b"in the way")
    assert "unsaved edit(s) in the way" in switch(ann, "checkout", "-q", "main")
    assert (ann.path / "out" / "c" / "00.bin").read_bytes() == b"in the way"
    assert len(ann.rows()) == 14
