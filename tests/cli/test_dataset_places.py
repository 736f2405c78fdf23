"""Where a new dataset may lie, and an edit that DVC refuses: nothing is half-done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from clones import Clone, write_images
from datapin import Repo
from datapin.base.errors import BadSettings, DatapinError, Refused, StorageFailed, Usage


@pytest.fixture(scope="module")
def made(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset data/raw, a folder and a file of `dvc add`, a stage that has not run, a pointer that Git ignores."""
    clone = Clone(tmp_path_factory.mktemp("places") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    write_images(clone.path / "img", per_class=1)
    clone.datapin("add", "img", "--to", "data/raw", "-q")
    for name in ("bag/one.bin", "data/model.bin", "tracked/x.txt", "inner/.dvc/config", "plain/x.txt"):
        (clone.path / name).parent.mkdir(parents=True, exist_ok=True)
        (clone.path / name).write_text(name)
    clone.dvc("add", "-q", "bag", "data/model.bin")
    (clone.path / "dvc.yaml").write_text("stages:\n  s:\n    cmd: 'true'\n    outs: [out/made, {out/kept: {}}]\n")
    with (clone.path / ".gitignore").open("a") as ignore:
        ignore.write("/hidden\n/plain\n")
    os.symlink("data", clone.path / "link")
    clone.commit("v1")
    return clone.path


@pytest.fixture
def places(made: Path, tmp_path: Path) -> Clone:
    shutil.copytree(made, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


_TAKEN = {
    "data/raw/sub": "below data/raw",
    "data": "above data/",
    "data/RAW": "differs only in case",
    "Data/raw/sub": "below data/raw",
    "bag/sub": "below bag",
    "BAG": "differs only in case",
    "data/model.bin": "pins something else",
    "out/made/x": "below out/made",
    "out": "above out/",
    "link/new": "symbolic link",
    "link": "symbolic link",
    "tracked": "Git tracks tracked",
    "tracked/x.txt/y": "is a file",
    "inner/new": "a repository of its own",
    "hidden/new": "Git ignores hidden/new.dvc",
}


def test_a_place_where_dvc_or_git_would_not_pin_it_is_refused_before_anything_is_read(places: Clone) -> None:
    repo, before = Repo.find(places.path), places.files("data")
    rows = repo.ls("data/raw")
    for name, words in _TAKEN.items():
        with pytest.raises(Refused) as caught:
            repo.add(["img"], to=name)
        assert words in caught.value.message, name
        assert caught.value.hint
        with pytest.raises(Refused):
            repo.write(name, rows)
    for name in ("data/new.dvc", "data/dvc.yaml", "x@v1", "data/raw ", "-x", "a\0b", "x" * 300):
        with pytest.raises(Usage, match="cannot be a dataset"):
            repo.add(["img"], to=name)
    assert places.files("data") == before
    assert places.git("status", "--porcelain") == ""
    assert repo.status().datasets[0].dataset == "data/raw"
    places.dvc("status")


def test_names_beside_what_is_there_are_free(places: Clone) -> None:
    repo = Repo.find(places.path)
    for name in ("data/raw2", "data/raws/sub", "Models/raw", str(places.path / "data" / "abs")):
        assert repo.add(["img"], to=name).rows == 2
    places.dvc("status")


def _ignored_by_dvc(clone: Clone) -> None:
    (clone.path / ".dvcignore").write_text("data\n")


def _pointer_is_a_link(clone: Clone) -> None:
    os.rename(clone.path / "data" / "raw.dvc", clone.path / "elsewhere.yaml")
    os.symlink("../elsewhere.yaml", clone.path / "data" / "raw.dvc")


def _parent_is_a_link(clone: Clone) -> None:
    os.rename(clone.path / "data", clone.path / "moved")
    os.symlink("moved", clone.path / "data")


def _setting(section: str, line: str) -> Callable[[Clone], None]:
    def harm(clone: Clone) -> None:
        (clone.path / ".dvc" / "config").write_text(f"[{section}]\n    {line}\n")

    return harm


def _cache_is_a_file(clone: Clone) -> None:
    clone.lose_cache()
    (clone.path / ".dvc" / "cache").write_text("")


_REFUSALS: dict[str, tuple[Callable[[Clone], None], type[DatapinError], str]] = {
    "dvcignore": (_ignored_by_dvc, Refused, "dvcignore"),
    "pointer": (_pointer_is_a_link, Refused, "raw.dvc is a symbolic link"),
    "parent": (_parent_is_a_link, Refused, "data is a symbolic link"),
    "shared": (_setting("cache", "shared = nonsense"), BadSettings, "shared"),
    "no settings": (_setting("cache", "dir"), BadSettings, "config"),
    "cache": (_cache_is_a_file, StorageFailed, "cache"),
}


@pytest.mark.parametrize("name", _REFUSALS)
def test_an_edit_that_dvc_refuses_changes_nothing(places: Clone, name: str) -> None:
    spoil, kind, words = _REFUSALS[name]
    spoil(places)
    repo, before = Repo.find(places.path), places.files("data")
    rows = repo.ls("data/raw")
    edits: list[Callable[[], object]] = [
        lambda: repo.update("data/raw", ["label = 'x'"]),
        lambda: repo.remove("data/raw", where="key = 'a/00.bin'"),
        lambda: repo.write("data/raw", rows.slice(1)),
        lambda: repo.add(["plain"], to="data/raw"),
        lambda: repo.add(["img"], to="data/fresh/new"),
    ]
    for number, edit in enumerate(edits):
        if name == "pointer" and number == 4:
            continue  # another pointer
        with pytest.raises(kind) as caught:
            edit()
        assert words in caught.value.message
        assert caught.value.hint
        assert places.files("data") == before
        assert not (places.path / "data" / "fresh").exists()
    assert isinstance(rows, pa.Table)


def test_what_the_undone_edit_left_can_be_edited_again(places: Clone) -> None:
    repo = Repo.find(places.path)
    _ignored_by_dvc(places)
    with pytest.raises(Refused):
        repo.update("data/raw", ["label = 'x'"])
    (places.path / ".dvcignore").unlink()
    repo.update("data/raw", ["label = 'x'"])
    assert repo.ls("data/raw")["label"].to_pylist() == ["x", "x"]
    places.dvc("status", "-q", "data/raw.dvc")
    assert not list(Path(repo._workspace.scratch).glob(".tmp-*"))


def test_a_rollback_to_nothing_is_a_wrong_word(places: Clone) -> None:
    for version in ("", " "):
        with pytest.raises(Usage, match="names no version"):
            Repo.find(places.path).rollback(["data/raw"], to=version)
