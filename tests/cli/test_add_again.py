"""`add` of what was added before in another way: sub-folders, moved files, removed rows, mirrors that drop much."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from clones import ENVIRONMENT, Clone, write_images
from datapin.base.errors import Refused
from datapin.repo import Repo


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_NAME",
        "GIT_COMMITTER_EMAIL",
        "DVC_NO_ANALYTICS",
    ):
        monkeypatch.setenv(name, ENVIRONMENT[name])


class Data:
    """A repository, and `add` into data/raw, in this process."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        self.path = clone.path
        self.repo = Repo.find(clone.path)

    def add(self, *sources: str, label: str = "parent", **rules: Any) -> Any:
        return self.repo.add([str(self.path / source) for source in sources], to="data/raw", label=label, **rules)

    def labels(self) -> dict[str, str | None]:
        return {row["key"]: row.get("label") for row in self.rows()}

    def rows(self, where: str | None = None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.repo.ls("data/raw", where=where).to_pylist()
        return rows

    def sources(self) -> list[str]:
        text = (self.path / "data/raw.dvc").read_text()
        return [line.strip().removeprefix("- ") for line in text.partition("source:")[2].splitlines() if "- " in line]

    def tree(self) -> Any:
        (one,) = self.repo.status(["data/raw"]).datasets
        return one


@pytest.fixture
def data(repo: Clone) -> Data:
    """Folders photos/a and photos/b with 3 files each; nothing is added."""
    write_images(repo.path / "photos", per_class=3)
    return Data(repo)


def test_a_folder_of_one_class_gives_its_own_name_as_label(data: Data) -> None:
    data.add("photos/a")
    assert data.labels() == {f"{n:02d}.bin": "a" for n in range(3)}
    (data.path / "loose").mkdir()
    (data.path / "loose" / "x.bin").write_bytes(b"x")
    (data.path / "loose" / "deep").mkdir()
    (data.path / "loose" / "deep" / "y.bin").write_bytes(b"y")
    data.add("loose")
    assert data.labels()["x.bin"] is None, "beside folders of classes a file has none"
    assert data.labels()["deep/y.bin"] == "deep"
    (data.path / "one.bin").write_bytes(b"one")
    data.add("one.bin")
    assert data.labels()["one.bin"] == data.path.name, "the folder of a file that was named alone"


def test_a_folder_in_one_that_was_added_gives_the_same_keys(data: Data) -> None:
    data.add("photos")
    before = data.labels()
    for source in ("photos/a", "photos/b/01.bin", "photos/a/"):
        report = data.add(source)
        assert (report.added, report.changed, report.rows) == (0, 0, 6), source
    (data.path / "photos/b/new.bin").write_bytes(b"new")
    assert data.add("photos/b", mirror=True).added == 1, "a mirror of b says nothing of a"
    assert data.labels() == {**before, "b/new.bin": "b"}
    assert data.sources() == ["photos"]
    os.remove(data.path / "photos/b/new.bin")
    assert data.add("photos/b", mirror=True).removed == 1
    assert data.labels() == before


def test_rows_of_a_folder_get_the_keys_of_the_one_around_it_when_that_is_added(data: Data) -> None:
    data.add("photos/a")
    data.repo.update("data/raw", ["note='kept'"], where="key = '00.bin'")
    report = data.add("photos")
    assert (report.added, report.moved, report.rows) == (3, 3, 6)
    assert sorted(data.labels()) == [f"{c}/{n:02d}.bin" for c in "ab" for n in range(3)]
    assert [row["key"] for row in data.rows("note = 'kept'")] == ["a/00.bin"]
    assert data.sources() == ["photos"]


def test_keys_of_another_folder_are_not_overwritten(data: Data) -> None:
    data.add("photos/a")
    before = data.labels()
    with pytest.raises(
        Refused, match=r"3 key\(s\) of photos/b are rows of other files, in photos/a: 00\.bin"
    ) as caught:
        data.add("photos/b")
    assert "`datapin add photos --to data/raw`" in caught.value.hint
    assert data.labels() == before
    assert data.add("photos").rows == 6
    (data.path / "photos/a/00.bin").write_bytes(b"edited")
    assert data.add("photos").changed == 1, "its own files change as ever"


def test_a_moved_file_is_one_change(data: Data) -> None:
    data.add("photos")
    data.repo.update("data/raw", ["label='mine'"], where="key = 'a/01.bin'")
    data.repo.update("data/raw", ["note='n' || key"], where=None)
    photos = data.path / "photos"
    (photos / "c").mkdir()
    os.rename(photos / "a/00.bin", photos / "b/moved.bin")
    os.rename(photos / "a/01.bin", photos / "c/01.bin")
    (photos / "c/copy.bin").write_bytes((photos / "b/01.bin").read_bytes())
    tree = data.tree().tree
    assert (tree.added, tree.changed, tree.removed) == (1, 2, 0)
    report = data.add("photos")
    assert (report.added, report.changed, report.removed, report.moved, report.rows) == (1, 2, 0, 2, 7)
    assert (
        "2 row(s) moved with their files: a/00.bin -> b/moved.bin, a/01.bin -> c/01.bin" in report.findings[0].message
    )
    notes = {row["key"]: (row["label"], row["note"]) for row in data.rows()}
    assert notes["b/moved.bin"] == ("b", "na/00.bin"), "the folder's label, all else kept"
    assert notes["c/01.bin"] == ("mine", "na/01.bin"), "a corrected label stays"
    assert notes["c/copy.bin"] == ("c", None), "a copy is a row of its own"
    assert not data.tree().tree.any
    os.rename(photos / "b/moved.bin", photos / "a/00.bin")
    assert data.add("photos", mirror=True).moved == 1, "and back, also with --mirror"
    assert data.labels()["a/00.bin"] == "a"


def test_equal_files_that_move_are_told_apart_by_name_or_not_at_all(data: Data) -> None:
    photos = data.path / "photos"
    for name in ("a/x.bin", "a/y.bin", "b/x2.bin"):
        (photos / name).write_bytes(b"same")
    data.add("photos")
    (photos / "c").mkdir()
    os.rename(photos / "a/x.bin", photos / "c/x.bin")
    report = data.add("photos")
    assert (report.moved, report.added, report.rows) == (1, 0, 9)
    assert "c/x.bin" in data.labels()
    os.rename(photos / "a/y.bin", photos / "c/one.bin")
    os.rename(photos / "b/x2.bin", photos / "c/two.bin")
    (photos / "c/three.bin").write_bytes(b"same")
    report = data.add("photos")
    assert (report.moved, report.added) == (0, 3), "three came, two went: nobody can say which"


def test_a_row_of_another_source_does_not_move(data: Data, tmp_path: Path) -> None:
    write_images(tmp_path / "else", per_class=1, classes="z")
    data.add("photos")
    data.repo.add([str(tmp_path / "else")], to="data/raw", label="parent")
    (data.path / "photos/b/copy.bin").write_bytes((tmp_path / "else/z/00.bin").read_bytes())
    report = data.add("photos")
    assert (report.moved, report.added) == (0, 1)
    assert {"z/00.bin", "b/copy.bin"} <= data.labels().keys()


def test_a_removed_row_stays_removed_until_it_is_asked_for(data: Data) -> None:
    data.add("photos")
    data.repo.remove("data/raw", where="key = 'a/00.bin'")  # not committed yet
    status = data.tree()
    assert not status.tree.any
    assert "1 file(s) of rows that were removed" in status.notes[0]
    assert "--again" in status.notes[0]
    for committed in (False, True):
        if committed:
            data.clone.commit("removed")
        (data.path / "photos/b/new.bin").write_bytes(b"new%d" % committed)
        report = data.add("photos")
        assert (report.stay_removed, report.added + report.changed) == (1, 1)
        assert "stay removed" in report.findings[0].message
        assert "a/00.bin" not in data.labels()
        assert not data.tree().tree.any
        assert data.add("photos").rows == 6
    assert data.add("photos/a/00.bin").added == 1, "a file that is named comes back"
    data.repo.remove("data/raw", where="key = 'a/00.bin'")
    report = data.add("photos", again=True)
    assert (report.added, report.stay_removed) == (1, 0)
    (data.path / "photos/a/00.bin").write_bytes(b"other bytes")
    assert data.add("photos").changed == 1


def test_history_tells_a_clone_what_was_removed(data: Data, tmp_path: Path) -> None:
    clone = data.clone
    clone.dvc("remote", "add", "-q", "--default", "lab", str(tmp_path / "remote"))
    data.add("photos")
    clone.commit("v1")
    data.repo.remove("data/raw", where="key = 'b/02.bin'")
    clone.commit("v2")
    clone.datapin("push", "--all-versions")
    clone.commit("pushed")
    subprocess.run(["git", "clone", "-q", str(clone.path), str(tmp_path / "other")], check=True, env=ENVIRONMENT)
    other = Data(Clone(tmp_path / "other"))
    other.clone.datapin("fetch")
    write_images(other.path / "photos", per_class=4)
    report = other.add("photos")
    assert (report.added, report.stay_removed, report.rows) == (2, 1, 7)
    assert "b/02.bin" not in other.labels()
    assert other.add("photos", again=True).added == 1


def test_a_mirror_that_drops_more_than_half_asks(data: Data) -> None:
    data.add("photos")
    for name in ("a/00.bin", "a/01.bin", "b/00.bin"):
        os.remove(data.path / "photos" / name)
    assert data.add("photos", mirror=True).removed == 3, "half"
    for name in ("a/02.bin", "b/01.bin"):
        os.remove(data.path / "photos" / name)
    words = ("add", "photos", "--to", "data/raw", "--label", "parent", "--mirror")
    message, hint = data.clone.refusal(*words, code=40)
    assert "--mirror would drop 2 of 3 rows" in message
    assert "--yes" in hint
    assert len(data.labels()) == 3
    data.clone.datapin(*words, "--yes")
    assert list(data.labels()) == ["b/02.bin"]
