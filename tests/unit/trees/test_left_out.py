"""What systems and tools leave beside people's files is left out of a dataset, and counted."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from clones import Clone
from datapin.base.errors import Refused
from datapin.repo import Repo
from datapin.trees.intake import tool_names, walkers
from datapin.trees.intake.walk import walk

FOLDERS = """.ipynb_checkpoints .thumbnails __MACOSX @eaDir $RECYCLE.BIN $Recycle.Bin .Trashes .Trash-1000 .svn .cache
.Spotlight-V100 .fseventsd .AppleDouble lost+found #recycle __pycache__ .vscode"""
FILES = """.DS_Store .ds_store Thumbs.db thumbs.db ehthumbs.db desktop.ini Desktop.ini .directory .localized .nomedia
.picasa.ini .~lock.table.ods# ~$table.xlsx 1.png:Zone.Identifier .fuse_hidden0001"""
DATA = [
    ".hidden",
    ".keep/x",
    "MACOSX/1",
    "cache/1",
    "desktop.png",
    "trash/1",
    "thumbs/1",
    "_.png",
    ".png",
    "a/.data.csv",
]


def write(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


@pytest.mark.parametrize("walkers_from", [walkers._FORK_FROM_FILES, 1])
def test_files_and_folders_of_tools_are_left_out_and_counted(
    tmp_path: Path, walkers_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walkers, "_FORK_FROM_FILES", walkers_from)
    files, folders = [*FILES.split(), "Icon\r"], [*FOLDERS.split(), "System Volume Information"]
    source = write(tmp_path / "src", *DATA, *files, *(f"a/{name}/deep/1.png" for name in folders))
    write(source, "a/._1.png", "a/b/._.DS_Store", "._x", ".git/config", "a/.gitignore")
    (source / "a" / "Thumbs.DB").symlink_to("nowhere")
    found = walk([source])
    assert found.keys.to_pylist() == sorted(DATA)
    assert found.problems == []
    assert {name for name in found.left_out if name.endswith("/")} == {f"{name}/" for name in folders}
    assert found.left_out["._*"] == 3
    assert sum(found.left_out.values()) == len(folders) + len(files) + 3 + 1
    assert walk([source, source / "a"]).left_out["._*"] == 5


def test_the_short_cut_passes_no_name_of_the_list() -> None:
    for name in [
        *tool_names.FILES,
        *(name.upper() for name in tool_names.FILES),
        b"a.jpg:Zone.Identifier",
        b"._a",
        b"~$a",
    ]:
        assert tool_names.tool_file(name) is not None
        assert name[0] in tool_names.FIRST_BYTES or name[-1] in tool_names.LAST_BYTES


def test_a_tool_folder_that_is_named_is_added(tmp_path: Path) -> None:
    source = write(tmp_path / ".thumbnails", "1.png", "Thumbs.db")
    assert walk([source]).keys.to_pylist() == ["1.png"]
    assert walk([source / "Thumbs.db"]).keys.to_pylist() == ["Thumbs.db"]


def test_add_says_what_it_left_out_every_time_and_warns_of_hidden_folders(
    repo: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo.path)
    write(repo.path / "img", "cat/1.png", "cat/.ipynb_checkpoints/1.png", "dog/2.png", "dog/._2.png", "dog/Thumbs.db")
    write(repo.path / "img", "__MACOSX/cat/._1.png", "cat/._1.png")
    door = Repo.find(repo.path)
    for _ in range(2):
        (note,) = door.add(["img"], to="data/raw", label="parent").findings
        assert note.severity == "note"
        assert "2 folder(s): .ipynb_checkpoints/, __MACOSX/; 3 file(s): ._* 2 times, Thumbs.db" in note.message
    labels = door.query("SELECT DISTINCT label FROM 'data/raw' ORDER BY 1")
    assert labels["label"].to_pylist() == ["cat", "dog"]
    write(repo.path / "img", ".tool/3.png")
    warning = door.add(["img"], to="data/raw", label="parent").findings[1]
    assert (warning.severity, warning.check) == ("warning", "hidden-folders")
    assert "1 file(s) lie in hidden folders: .tool/" in warning.message
    command = shlex.split(warning.hint.removeprefix("to take them out: "))
    assert command[:4] == ["datapin", "remove", "data/raw", "--where"]
    assert door.remove("data/raw", where=command[4]).removed == 1
    write(repo.path / "img", ".tool/4.png")
    with pytest.raises(Refused, match="hidden folders"):
        door.add(["img"], to="data/raw", label="parent", strict=True)
    write(repo.path / "only", "__MACOSX/1.png")
    with pytest.raises(Refused, match="no files in only; left out: __MACOSX/"):
        door.add(["only"], to="data/other")
