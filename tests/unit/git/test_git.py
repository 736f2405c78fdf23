"""Questions to Git: roots, revisions, files at a revision."""

from __future__ import annotations

from pathlib import Path

import pytest

from clones import Clone
from datapin.base.errors import NoRepository, UnknownVersion
from datapin.git import ask as git


def test_the_root_is_found_from_a_folder_below(clone: Clone) -> None:
    below = clone.path / "a" / "b"
    below.mkdir(parents=True)
    assert git.find_root(below) == clone.path


def test_without_git_or_dvc_the_error_says_which_is_lacking(tmp_path: Path) -> None:
    with pytest.raises(NoRepository) as caught:
        git.find_root(tmp_path)
    assert caught.value.lacks == "Git"
    (tmp_path / ".git").mkdir()
    with pytest.raises(NoRepository) as caught:
        git.find_root(tmp_path)
    assert caught.value.lacks == "DVC"


def test_a_git_repository_inside_a_dvc_project_is_not_part_of_it(clone: Clone) -> None:
    inner = clone.path / "inner"
    inner.mkdir()
    clone.git("init", "-q", inner)
    with pytest.raises(NoRepository):
        git.find_root(inner)


def test_a_linked_worktree_is_a_root_of_its_own(clone: Clone, tmp_path: Path) -> None:
    clone.git("worktree", "add", "-q", tmp_path / "other")
    assert git.find_root(tmp_path / "other") == tmp_path / "other"
    assert git.has_commit(tmp_path / "other")


def test_files_are_read_at_any_revision(clone: Clone) -> None:
    (clone.path / "f").write_bytes(b"one")
    clone.commit("one")
    clone.git("tag", "v1")
    (clone.path / "f").write_bytes(b"two\n")
    clone.commit("two")
    assert git.blob_at(clone.path, "v1", "f") == b"one"
    assert git.blob_at(clone.path, "HEAD", "f") == b"two\n"
    assert git.blob_at(clone.path, "HEAD~1", "f") == b"one"
    assert git.blob_at(clone.path, "HEAD", "absent") is None
    assert git.blob_at(clone.path, "HEAD~2", "f") is None


@pytest.mark.parametrize("rev", ["nothing", "", "-h", "--version", "HEAD:f", "HEAD~99", "v1\nHEAD"])
def test_a_revision_that_does_not_exist_is_an_error_and_no_option(clone: Clone, rev: str) -> None:
    with pytest.raises(UnknownVersion):
        git.blob_at(clone.path, rev, "f")
    with pytest.raises(UnknownVersion):
        git.resolve(clone.path, rev)


def test_resolving_gives_the_commit_also_for_a_tag(clone: Clone) -> None:
    head = clone.git("rev-parse", "HEAD").strip()
    clone.git("tag", "-a", "v1", "-m", "x")
    assert git.resolve(clone.path, "v1") == head


def test_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    fresh = Clone(tmp_path)
    fresh.git("init", "-q")
    assert not git.has_commit(tmp_path)
    assert git.commit_state(tmp_path) == git.CommitState(None, False)


def test_the_commit_state_tells_changed_files_from_untracked_ones(clone: Clone) -> None:
    head = clone.git("rev-parse", "HEAD").strip()
    (clone.path / "untracked").write_text("x")
    assert git.commit_state(clone.path) == git.CommitState(head, False)
    (clone.path / ".dvcignore").write_text("changed")
    assert git.commit_state(clone.path) == git.CommitState(head, True)


def test_files_are_listed_tracked_or_not_but_not_ignored(clone: Clone) -> None:
    for name in ("a.dvc", "sub/b.dvc", "hidden/c.dvc", "x.dvcx"):
        path = clone.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    clone.commit("x")
    (clone.path / ".gitignore").write_text("/hidden2\n")
    for name in ("new.dvc", "hidden2/d.dvc", "spä ce.dvc"):
        path = clone.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    (clone.path / "a.dvc").unlink()
    listed = git.files_named(clone.path, "*.dvc")
    assert listed == ["hidden/c.dvc", "new.dvc", "spä ce.dvc", "sub/b.dvc"]
    assert git.files_named(clone.path, "*.dvc", rev="HEAD") == ["a.dvc", "hidden/c.dvc", "sub/b.dvc"]


def test_ignored_paths_are_known(clone: Clone) -> None:
    (clone.path / ".gitignore").write_text("/img\n")
    assert git.is_ignored(clone.path, clone.path / "img" / "a")
    assert not git.is_ignored(clone.path, clone.path / "imgs")


def test_the_version_is_numbers() -> None:
    assert git.git_version() >= (2, 0)
