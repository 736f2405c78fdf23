"""`Repo.add`: files become rows, by each of its rules; what is refused changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clones import write_images
from datapin.errors import DatapinError, Refused, SourcesRefused, Usage
from worlds import RAW, SECOND, World

NEW = "data/new"


def test_a_new_dataset_of_one_folder(world: World) -> None:
    report = world.repo.add(world.path / "photos", to=NEW)
    assert (report.dataset, report.added, report.changed, report.removed, report.rows) == (NEW, 6, 0, 0, 6)
    assert report.new_assets == 0, "data/raw has the same bytes"
    assert (world.path / f"{NEW}.dvc").is_file()
    assert world.repo.show(NEW).labels == {}
    assert report.digest == world.repo.show(NEW).digest


def test_files_and_folders_at_once_and_by_path_or_text(world: World) -> None:
    (world.path / "single.bin").write_bytes(b"single")
    first = world.repo.add([str(world.path / "photos" / "a"), world.path / "single.bin"], to=Path(NEW))
    assert (first.added, first.new_assets) == (4, 1)
    assert world.key_list(NEW) == ["00.bin", "01.bin", "02.bin", "single.bin"]


def test_labels_are_names_of_folders(world: World) -> None:
    world.repo.add(world.path / "photos", to=NEW, label="parent")
    assert world.repo.show(NEW).labels == {"a": 3, "b": 3}


def test_splits_are_names_of_first_folders(world: World) -> None:
    for split in ("train", "test"):
        write_images(world.path / "sorted" / split, per_class=2)
    world.repo.add(world.path / "sorted", to=NEW, label="parent", split="first-folder")
    assert world.repo.show(NEW).splits == {"train": 4, "test": 4}
    assert world.repo.show(NEW).labels == {"a": 4, "b": 4}


@pytest.mark.parametrize("what", [{"label": "folder"}, {"split": "parent"}])
def test_an_unknown_rule_is_refused(world: World, what: dict[str, str]) -> None:
    with pytest.raises(DatapinError) as refused:
        world.repo.add(world.path / "photos", to=NEW, **what)  # type: ignore[arg-type]
    assert next(iter(what.values())) in refused.value.message
    assert not (world.path / NEW).exists()


def test_the_same_files_again_are_nothing_new(world: World) -> None:
    before = world.repo.show(RAW).digest
    again = world.repo.add(world.path / "more", to=RAW, label="parent")
    assert (again.added, again.changed, again.removed, again.new_bytes) == (0, 0, 0, 0)
    assert again.digest == before


def test_an_edited_file_changes_its_row_and_a_new_one_adds_one(world: World) -> None:
    (world.path / "photos" / "a" / "01.bin").write_bytes(b"edited")
    (world.path / "photos" / "a" / "09.bin").write_bytes(b"new")
    report = world.repo.add(world.path / "photos", to=RAW, label="parent")
    assert (report.added, report.changed, report.new_assets, report.new_bytes) == (1, 1, 2, 9)
    assert report.stay_removed == 1, "b/02.bin was removed"
    assert world.labels()["a/00.bin"] == "c", "a label that was set stays"


def test_again_brings_back_what_was_removed(world: World) -> None:
    assert world.repo.add(world.path / "photos", to=RAW, label="parent").stay_removed == 1
    report = world.repo.add(world.path / "photos", to=RAW, label="parent", again=True)
    assert (report.added, report.stay_removed) == (1, 0)
    assert "b/02.bin" in world.key_list()


def test_a_moved_file_keeps_its_row(world: World) -> None:
    (world.path / "photos" / "b").mkdir(exist_ok=True)
    os.replace(world.path / "photos" / "a" / "00.bin", world.path / "photos" / "b" / "77.bin")
    report = world.repo.add(world.path / "photos", to=RAW, label="parent", mirror=True)
    assert report.moved == 1
    assert world.labels()["b/77.bin"] == "c", "what the user set goes along"


def test_a_mirror_drops_rows_of_files_that_are_gone(world: World) -> None:
    (world.path / "photos" / "a" / "01.bin").unlink()
    sources = [world.path / "photos", world.path / "more"]
    assert world.repo.add(sources, to=RAW, label="parent", mirror=True).removed == 1
    assert "a/01.bin" not in world.key_list()
    assert world.repo.add(sources[0], to=RAW, label="parent", mirror=True, yes=True).removed == 2, (
        "it is a mirror of one"
    )


def test_a_mirror_that_drops_most_rows_asks_first(world: World) -> None:
    world.repo.add(world.path / "photos", to=NEW)
    for path in [*(world.path / "photos" / "a").iterdir(), world.path / "photos" / "b" / "00.bin"]:
        path.unlink()
    before = world.repo.show(NEW).digest
    asked: list[str] = []

    def no(what: str) -> bool:
        asked.append(what)
        return False

    for confirm in (None, no):
        with pytest.raises(Refused, match="4 of 6"):
            world.repo.add(world.path / "photos", to=NEW, mirror=True, confirm=confirm)
    assert len(asked) == 1
    assert world.repo.show(NEW).digest == before
    assert world.repo.add(world.path / "photos", to=NEW, mirror=True, yes=True).removed == 4


def test_metadata_of_a_csv_file_joins_by_key(world: World) -> None:
    table = world.path / "photos" / "meta.csv"
    table.write_text("file;Größe;Group\na/00.bin;1,5;x\nb/01.bin;2;y\n", encoding="cp1252")
    world.repo.add(
        world.path / "photos", to=NEW, metadata=table, csv_delimiter=";", csv_encoding="cp1252", key_column="file",
        types={"Größe": "string"}, renames={"Group": "group"},
    )  # fmt: skip
    rows = world.repo.ls(NEW, where="key = 'a/00.bin'").to_pylist()
    assert (rows[0]["Größe"], rows[0]["group"]) == ("1,5", "x")
    assert len(world.key_list(NEW)) == 6, "the table itself is no row"


def test_strict_makes_findings_errors(world: World) -> None:
    table = world.path / "meta.csv"
    table.write_text("key,colour\na/00.bin,red\nzz/none.bin,blue\n")
    report = world.repo.add(world.path / "photos", to=NEW, metadata=str(table))
    assert report.findings, "a line without a file is told"
    with pytest.raises(Refused, match=r"zz/none\.bin"):
        world.repo.add(world.path / "photos", to="data/other", metadata=str(table), strict=True)
    assert not (world.path / "data" / "other").exists()


def test_no_source_and_a_source_that_is_not_there(world: World) -> None:
    nothings: list[str | list[str]] = [[], "", [str(world.path / "more"), ""]]
    for nothing in nothings:
        with pytest.raises(Usage, match="nothing to add"):
            world.repo.add(nothing, to=RAW)
    with pytest.raises(SourcesRefused, match="no such file or folder"):
        world.repo.add(world.path / "nowhere", to=RAW)
    assert world.key_list() == SECOND


@pytest.mark.parametrize("name", ["../out", "/tmp/out", ".git/x", "data/ra\nw", ""])
def test_a_dataset_must_lie_in_the_repository(world: World, name: str) -> None:
    with pytest.raises(DatapinError):
        world.repo.add(world.path / "photos", to=name)
    assert world.clone.git("status", "--porcelain") == ""


def test_two_files_of_one_key_are_refused_by_name(world: World) -> None:
    (world.path / "twin" / "a").mkdir(parents=True)
    (world.path / "twin" / "a" / "00.bin").write_bytes(b"another")
    with pytest.raises(SourcesRefused, match=r"a/00\.bin"):
        world.repo.add([world.path / "photos", world.path / "twin"], to=NEW)
    assert not (world.path / NEW).exists()
