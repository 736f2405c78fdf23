"""`Repo.checkout`: a folder of files, of any version and layout; what lies there is the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datapin.errors import EXIT_USAGE, DatapinError, UnsavedEdits, Usage
from worlds import FIRST, RAW, SECOND, World


def found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


def test_a_version_is_written_and_changed_into_another(world: World) -> None:
    out = world.path / "out"
    first = world.repo.checkout(f"{RAW}@v1", into=out)
    assert (first.written, first.bytes, found(out)) == (6, 600, FIRST)
    assert world.clone.files("out") == world.clone.files("photos")
    second = world.repo.checkout(Path(RAW), into=str(out))
    assert (second.written, second.removed, second.unchanged, found(out)) == (2, 1, 5, SECOND)
    again = world.repo.checkout(RAW, into=out)
    assert (again.written, again.removed, again.unchanged) == (0, 0, 7)


def test_some_rows(world: World) -> None:
    world.repo.checkout(RAW, into=world.path / "out", where="label = 'c'")
    assert found(world.path / "out") == ["a/00.bin", "c/00.bin", "c/01.bin"]


@pytest.mark.parametrize(
    ("layout", "one"), [("key", "a/00.bin"), ("class", "c/00.bin"), ("split-class", "train/c/00.bin")]
)
def test_layouts(world: World, layout: str, one: str) -> None:
    world.repo.update(RAW, "split = 'train'")
    world.repo.checkout(RAW, into=world.path / "out", layout=layout, where="key = 'a/00.bin'")
    (path,) = found(world.path / "out")
    assert path.split("/")[:-1] == one.split("/")[:-1]


def test_an_unknown_layout(world: World) -> None:
    with pytest.raises(Usage, match="flat"):
        world.repo.checkout(RAW, into=world.path / "out", layout="flat")
    assert not (world.path / "out").exists()


def test_edits_in_the_folder_are_not_overwritten(world: World) -> None:
    out = world.path / "out"
    world.repo.checkout(f"{RAW}@v1", into=out)
    (out / "b" / "02.bin").write_bytes(b"mine")
    with pytest.raises(UnsavedEdits):
        world.repo.checkout(RAW, into=out)
    assert (out / "b" / "02.bin").read_bytes() == b"mine"
    world.repo.checkout(RAW, into=out, force=True)
    assert found(out) == sorted([*SECOND, "b/02.bin"]), "no row of this version: it is the user's now"


def test_a_file_of_the_users_own_stays(world: World) -> None:
    out = world.path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    world.repo.checkout(RAW, into=out)
    world.repo.checkout(f"{RAW}@v1", into=out)
    assert (out / "notes.txt").read_text() == "mine"


def test_files_in_the_way(world: World) -> None:
    out = world.path / "out"
    (out / "a").mkdir(parents=True)
    (out / "a" / "00.bin").write_bytes(b"another")
    with pytest.raises(DatapinError, match=r"a/00\.bin"):
        world.repo.checkout(RAW, into=out)
    assert (out / "a" / "00.bin").read_bytes() == b"another"


def test_equal_files_that_are_there_can_be_adopted(world: World) -> None:
    report = world.repo.checkout(RAW, into=world.path / "photos", where="key LIKE '%/01.bin'", adopt=True)
    assert report.unchanged == 2
    assert report.yours == 0


def test_links_share_the_stores_bytes(world: World) -> None:
    world.repo.put(b"x")
    big = world.path / "photos" / "big.bin"
    big.write_bytes(os.urandom(5 << 20))
    world.repo.add(big, to="data/big")
    out = world.path / "out"
    report = world.repo.checkout("data/big", into=out, link=True)
    assert report.linked == 1
    assert (out / "big.bin").stat().st_nlink == 2
    unlinked = world.repo.checkout("data/big", into=world.path / "out2", link=False)
    assert (unlinked.linked, unlinked.bytes) == (0, 5 << 20)


def test_a_rollback_moves_files_that_follow(world: World) -> None:
    follows, stays = world.path / "out", world.path / "out2"
    world.repo.checkout(RAW, into=follows, follow=True)
    world.repo.checkout(RAW, into=stays, follow=False)
    report = world.repo.rollback(RAW, to="v1")
    assert report.trees == [str(follows)]
    assert (found(follows), found(stays)) == (FIRST, SECOND)


@pytest.mark.parametrize("into", [".", ".git/files", "data/raw", "data/raw/sub", "src/../.dvc"])
def test_a_folder_that_is_not_free(world: World, into: str) -> None:
    before = world.clone.files("data")
    with pytest.raises(DatapinError) as refused:
        world.repo.checkout(RAW, into=world.path / into)
    assert refused.value.exit_code == EXIT_USAGE
    assert world.clone.files("data") == before
    assert world.clone.git("status", "--porcelain") == ""
