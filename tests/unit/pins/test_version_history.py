"""The versions of a dataset over real histories: merges, renames, removals, squashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from clones import Clone
from datapin.dvcfiles.outs import PinnedOut
from datapin.git.ask import resolve
from datapin.pins.commits import CommitPins, is_same_version
from datapin.pins.history import UnreadablePointer
from datapin.pins.versions import VersionHistory
from pinning import Pin
from unit.pins.test_selectors import digest_of, write_lock


def history(
    clone: Clone, dataset: str = "data/raw", rev: str = "HEAD", *, first_parent: bool = False
) -> VersionHistory:
    return VersionHistory(clone.path, dataset, resolve(clone.path, rev), first_parent=first_parent)


def subjects(clone: Clone, dataset: str = "data/raw", *, first_parent: bool = False) -> list[str]:
    return [entry.commit.subject for entry in history(clone, dataset, first_parent=first_parent).entries]


def rename(clone: Clone, old: str, new: str) -> None:
    clone.git("mv", f"{old}.dvc", f"{new}.dvc")
    pointer = clone.path / f"{new}.dvc"
    pointer.write_text(pointer.read_text().replace(f"path: {Path(old).name}\n", f"path: {Path(new).name}\n"))


@pytest.fixture
def line(clone: Clone, pin: Pin) -> Clone:
    """Two versions on main."""
    for name in ("one", "two"):
        pin(name.encode())
        clone.commit(name)
    return clone


def test_only_commits_that_changed_the_digest_are_entries(line: Clone, pin: Pin) -> None:
    (line.path / "code.py").write_text("x")
    line.commit("code")
    pointer = line.path / "data" / "raw.dvc"
    pointer.write_text(pointer.read_text() + "desc: what it is\n")
    line.commit("a description")
    pin(b"other", dataset="data/other")
    line.commit("another dataset")
    pin(b"three")
    line.commit("three")
    assert subjects(line) == ["three", "two", "one"]
    assert [entry.before for entry in history(line).entries] == [(1,), (2,), ()]


def test_a_merge_that_took_one_side_leads_to_that_side(line: Clone, pin: Pin) -> None:
    line.git("checkout", "-q", "-b", "side")
    for name in ("side 1", "side 2"):
        pin(name.encode())
        line.commit(name)
    line.git("checkout", "-q", "main")
    (line.path / "code.py").write_text("x")
    line.commit("code")
    line.git("merge", "-q", "--no-ff", "side", "-m", "merge")
    assert subjects(line) == ["side 2", "side 1", "two", "one"]
    assert subjects(line, first_parent=True) == ["merge", "two", "one"]


def test_a_merge_that_kept_ours_hides_what_the_other_side_made(line: Clone, pin: Pin) -> None:
    line.git("checkout", "-q", "-b", "side")
    pin(b"given up")
    line.commit("given up")
    line.git("checkout", "-q", "main")
    line.git("merge", "-q", "--no-ff", "-s", "ours", "side", "-m", "merge")
    assert subjects(line) == ["two", "one"]


def test_a_merge_that_made_a_version_is_an_entry_and_leads_to_both_sides(line: Clone, pin: Pin) -> None:
    line.git("checkout", "-q", "-b", "side")
    pin(b"theirs")
    line.commit("theirs")
    line.git("checkout", "-q", "main")
    pin(b"ours")
    line.commit("ours")
    line.git("merge", "-q", "--no-commit", "-s", "ours", "side")
    pin(b"both")
    line.commit("merged")
    entries = history(line).entries
    assert entries[0].commit.subject == "merged"
    assert [entries[place].commit.subject for place in entries[0].before] == ["ours", "theirs"]
    assert sorted(subjects(line)) == ["merged", "one", "ours", "theirs", "two"]
    two = [place for place, entry in enumerate(entries) if entry.commit.subject == "two"]
    assert [entry.before for entry in entries if entry.commit.subject in ("ours", "theirs")] == [tuple(two)] * 2
    assert subjects(line, first_parent=True) == ["merged", "ours", "two", "one"]


def test_a_squash_is_one_entry(line: Clone, pin: Pin) -> None:
    line.git("checkout", "-q", "-b", "side")
    for name in ("side 1", "side 2"):
        pin(name.encode())
        line.commit(name)
    line.git("checkout", "-q", "main")
    line.git("merge", "-q", "--squash", "side")
    line.commit("squashed")
    assert subjects(line) == ["squashed", "two", "one"]


def test_an_amended_commit_shows_as_it_is_now(line: Clone, pin: Pin) -> None:
    pin(b"two again")
    line.git("add", "-A")
    line.git("commit", "-q", "--amend", "-m", "two, amended")
    entries = history(line).entries
    assert [entry.commit.subject for entry in entries] == ["two, amended", "one"]
    assert isinstance(entries[0].pin, PinnedOut)
    assert entries[0].pin.digest == digest_of(b"two again")


def test_a_removed_dataset_that_comes_back(line: Clone, pin: Pin) -> None:
    line.git("rm", "-q", "data/raw.dvc")
    line.commit("removed")
    (line.path / "code.py").write_text("x")
    line.commit("code")
    pin(b"two")
    line.commit("back")
    entries = history(line).entries
    assert [(entry.commit.subject, entry.pin is None) for entry in entries] == [
        ("back", False), ("removed", True), ("two", False), ("one", False),
    ]  # fmt: skip
    assert [pointer.digest for _, pointer in history(line).versions()] == [digest_of(b"two"), digest_of(b"one")]


def test_a_rename_is_no_version_and_is_followed(line: Clone, pin: Pin) -> None:
    rename(line, "data/raw", "data/photos")
    line.commit("renamed")
    pin(b"three", dataset="data/photos")
    line.commit("three")
    entries = history(line, "data/photos").entries
    assert [(entry.commit.subject, entry.dataset) for entry in entries] == [
        ("three", "data/photos"), ("two", "data/raw"), ("one", "data/raw"),
    ]  # fmt: skip
    assert history(line, "data/photos").names == ["data/photos", "data/raw"]
    assert subjects(line, "data/raw") == ["renamed", "two", "one"]


def test_a_rename_with_an_edit_in_the_same_commit_is_a_version(line: Clone, pin: Pin) -> None:
    rename(line, "data/raw", "data/photos")
    pin(b"renamed and edited", dataset="data/photos")
    line.commit("both")
    assert subjects(line, "data/photos") == ["both", "two", "one"]


def test_renames_there_and_back_end(line: Clone) -> None:
    for old, new in (("data/raw", "data/b"), ("data/b", "data/raw"), ("data/raw", "photos")):
        rename(line, old, new)
        line.commit(f"{old} to {new}")
    assert subjects(line, "photos") == ["two", "one"]


def test_the_same_rows_beside_a_dataset_that_stays_are_a_copy(line: Clone, pin: Pin) -> None:
    pin(b"two", dataset="data/copy")
    line.commit("copied")
    assert subjects(line, "data/copy") == ["copied"]


def test_a_renamed_output_of_a_stage_is_followed(clone: Clone, pin: Pin) -> None:
    for number, path in enumerate(("data/made", "data/better", "data/better")):
        md5 = pin(b"%d" % min(number, 1) if number != 1 else b"0", dataset="scratch")
        (clone.path / "scratch.dvc").unlink()
        write_lock(clone.path, md5, path)
        clone.commit(f"{number}")
    assert subjects(clone, "data/better") == ["2", "0"]


def test_a_source_that_a_stage_took_over_keeps_its_history(line: Clone, pin: Pin) -> None:
    md5 = pin(b"made")
    line.git("rm", "-q", "--cached", "data/raw.dvc")
    (line.path / "data" / "raw.dvc").unlink()
    write_lock(line.path, md5, "data/raw")
    line.commit("made by a stage")
    entries = history(line).entries
    assert [entry.commit.subject for entry in entries] == ["made by a stage", "two", "one"]
    assert isinstance(entries[0].pin, PinnedOut)
    assert entries[0].pin.stage == "make"


def test_a_stage_in_a_folder_of_its_own_with_a_working_folder(clone: Clone, pin: Pin) -> None:
    (clone.path / "pipe").mkdir()
    for number in (1, 2):
        md5 = pin(b"%d" % number, dataset="scratch")
        (clone.path / "scratch.dvc").unlink()
        (clone.path / "pipe" / "dvc.yaml").write_text(
            "stages:\n  make:\n    cmd: x\n    wdir: ..\n    outs: [data/made]\n"
        )
        write_lock(clone.path, md5, folder="pipe")
        clone.commit(f"{number}")
    assert subjects(clone, "data/made") == ["2", "1"]


def test_a_pointer_with_conflict_marks_is_an_entry_of_its_own(line: Clone, pin: Pin) -> None:
    pointer = line.path / "data" / "raw.dvc"
    text = pointer.read_text()
    pointer.write_text(f"<<<<<<< ours\n{text}=======\n{text}>>>>>>> theirs\n")
    line.commit("broken")
    pin_text = text
    pointer.write_text(pin_text)
    line.commit("mended")
    entries = history(line).entries
    assert [entry.commit.subject for entry in entries] == ["mended", "broken", "two", "one"]
    assert isinstance(entries[1].pin, UnreadablePointer)
    assert "conflict" in entries[1].pin.problem


def test_settings_of_the_users_change_nothing(line: Clone, pin: Pin) -> None:
    rename(line, "data/raw", "data/photos")
    line.commit("renamed")
    line.git("checkout", "-q", "-b", "side", "HEAD~1")
    pin(b"side")
    line.commit("side")
    line.git("checkout", "-q", "main")
    expected = subjects(line, "data/photos")
    for name, value in {
        "log.follow": "true", "log.diffMerges": "off", "log.showSignature": "true", "diff.renames": "false",
        "log.decorate": "full", "log.date": "relative", "i18n.logOutputEncoding": "latin1", "color.ui": "always",
        "core.quotePath": "true", "core.abbrev": "4", "log.showRoot": "false", "format.pretty": "oneline",
    }.items():  # fmt: skip
        line.git("config", name, value)
    assert subjects(line, "data/photos") == expected == ["two", "one"]


def test_a_root_below_gits_own_and_odd_names(tmp_path: Path, pin: Pin) -> None:
    top = Clone(tmp_path)
    top.git("init", "-q", "-b", "main")
    (tmp_path / "sub").mkdir()
    below = Clone(tmp_path / "sub")
    below.dvc("init", "-q", "--subdir")
    dataset = "data/ä [x]*?"
    for name in ("one", "zwei ü"):
        pin(name.encode(), dataset=dataset, root=below.path)
        top.commit(name)
    assert subjects(below, dataset) == ["zwei ü", "one"]
    below.git("mv", f"{dataset}.dvc", "data/new.dvc")
    pointer = below.path / "data" / "new.dvc"
    pointer.write_text(pointer.read_text().replace("path: ä [x]*?", "path: new"))
    top.commit("renamed")
    assert subjects(below, "data/new") == ["zwei ü", "one"]


def test_a_dataset_nobody_ever_had_has_no_history(line: Clone) -> None:
    assert history(line, "data/nothing").entries == []
    assert history(line, "data/nothing", first_parent=True).entries == []


def test_a_shallow_clone_begins_where_it_was_cut(line: Clone, tmp_path: Path) -> None:
    line.git("clone", "-q", "--depth", "1", f"file://{line.path}", str(tmp_path / "shallow"))
    assert subjects(Clone(tmp_path / "shallow")) == ["two"]


def test_versions_are_the_same_by_hash_or_by_digest() -> None:
    def pointer(md5: str, digest: str | None) -> PinnedOut:
        return PinnedOut("d", md5, "d.dvc", summary={"digest": digest} if digest else None)

    assert is_same_version(pointer("a.dir", None), pointer("a.dir", "sha256:1"))
    assert is_same_version(pointer("a.dir", "sha256:1"), pointer("b.dir", "sha256:1"))
    assert not is_same_version(pointer("a.dir", None), pointer("b.dir", None))
    assert not is_same_version(pointer("a.dir", "sha256:1"), None)
    assert is_same_version(None, None)


def test_pins_of_commits_with_and_without(line: Clone) -> None:
    commits = line.git("rev-list", "HEAD").split()
    found = CommitPins(line.path).of("data/raw", commits)
    assert [pin.digest if isinstance(pin, PinnedOut) else None for pin in found.values()] == [
        digest_of(b"two"), digest_of(b"one"), None,
    ]  # fmt: skip
