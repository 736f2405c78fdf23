"""What commits pin, read from Git's objects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clones import Clone
from datapin.base.errors import ToolFailed, UnknownVersion
from datapin.dvcfiles.tracking.track import track
from datapin.git.ask import file_changes, iter_blobs, known_objects, remote_tips
from datapin.pins.history import PointerChange, find_pins, iter_pointer_changes, pinned_versions
from datapin.pins.read import Pins
from pinning import Pin, summary_of, write_shards


def md5s(root: Path, revs: list[str] | None = None, not_in: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return [(pointer.dataset, pointer.md5) for pointer in pinned_versions(root, revs, not_in)]


def lock_text(*outs: tuple[str, str]) -> str:
    listed = "".join(f"    - path: {path}\n      hash: md5\n      md5: {md5}\n" for path, md5 in outs)
    return f"schema: '2.0'\nstages:\n  make:\n    cmd: make\n    outs:\n{listed}"


def cache_list(root: Path, number: int, *names: str) -> str:
    """A list of files as DVC caches it; its hash."""
    md5 = f"{number:032x}"
    path = root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / f"{md5[2:]}.dir"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"relpath": name, "md5": f"{number + 1:032x}"} for name in names]))
    return f"{md5}.dir"


def test_every_version_of_every_commit_is_found_newest_first(clone: Clone, pin: Pin) -> None:
    wanted: list[tuple[str, str]] = []
    for number in range(3):
        wanted.insert(0, ("data/raw", pin(b"%d" % number)))
        clone.commit(f"v{number}")
        (clone.path / "code.py").write_text(f"{number}")
        clone.commit("code only")
    assert md5s(clone.path) == wanted
    assert pinned_versions(clone.path)[0].digest == summary_of(b"2")["digest"]


def test_a_version_that_comes_back_is_named_once(clone: Clone, pin: Pin) -> None:
    for content in (b"a", b"b", b"a"):
        pin(content)
        clone.commit("x")
    assert [dataset for dataset, _ in md5s(clone.path)] == ["data/raw", "data/raw"]


def test_a_range_holds_what_its_commits_changed_and_no_more(clone: Clone, pin: Pin) -> None:
    pin(b"1")
    first = clone.commit("first")
    second_md5 = pin(b"2")
    second = clone.commit("second")
    third_md5 = pin(b"3")
    clone.commit("third")
    (clone.path / "code.py").write_text("x")
    last = clone.commit("code")
    assert md5s(clone.path, [second], (first,)) == [("data/raw", second_md5)]
    assert md5s(clone.path, [last], (first,)) == [("data/raw", third_md5), ("data/raw", second_md5)]
    assert md5s(clone.path, [last], (last,)) == []
    assert md5s(clone.path, []) == []


def test_a_merge_that_takes_neither_side_is_looked_at(clone: Clone, pin: Pin) -> None:
    pin(b"base")
    base = clone.commit("base")
    clone.git("checkout", "-q", "-b", "side")
    side = pin(b"side")
    clone.commit("side")
    clone.git("checkout", "-q", "main")
    ours = pin(b"ours")
    clone.commit("ours")
    clone.git("merge", "-q", "--no-commit", "-s", "ours", "side")
    both = pin(b"both")
    clone.commit("merge")
    assert {md5 for _, md5 in md5s(clone.path, ["HEAD"], (base,))} == {side, ours, both}


def test_branches_that_a_merge_gave_up_and_detached_commits_count(clone: Clone, pin: Pin) -> None:
    pin(b"base")
    clone.commit("base")
    clone.git("checkout", "-q", "-b", "side")
    given_up = pin(b"side")
    clone.commit("side")
    clone.git("checkout", "-q", "main")
    clone.git("merge", "-q", "-s", "ours", "side", "-m", "keep ours")
    clone.git("branch", "-q", "-D", "side")
    clone.git("checkout", "-q", "--detach")
    loose = pin(b"loose")
    clone.commit("loose")
    assert {given_up, loose} <= {md5 for _, md5 in md5s(clone.path)}
    assert given_up in {md5 for _, md5 in md5s(clone.path, ["main"])}


def test_settings_of_the_users_do_not_change_what_is_found(clone: Clone, pin: Pin) -> None:
    pin(b"base")
    clone.commit("base")
    clone.git("checkout", "-q", "-b", "side")
    pin(b"side")
    clone.commit("side")
    clone.git("checkout", "-q", "main")
    pin(b"ours")
    clone.commit("ours")
    clone.git("merge", "-q", "--no-commit", "-s", "ours", "side")
    pin(b"both")
    clone.commit("merge")
    expected = md5s(clone.path)
    for name, value in {
        "log.diffMerges": "off", "log.showSignature": "true", "log.follow": "true", "diff.renames": "copies",
        "core.quotePath": "true", "core.abbrev": "4", "format.pretty": "fuller", "color.ui": "always",
        "log.showRoot": "false", "diff.noprefix": "true", "log.decorate": "full",
    }.items():  # fmt: skip
        clone.git("config", name, value)
    assert md5s(clone.path) == expected
    assert len(expected) == 4


def test_a_repository_without_commits_pins_nothing(tmp_path: Path) -> None:
    fresh = Clone(tmp_path)
    fresh.git("init", "-q")
    fresh.dvc("init", "-q")
    assert find_pins(tmp_path).datasets == []


def test_a_revision_that_is_not_here_is_an_error(clone: Clone) -> None:
    with pytest.raises(ToolFailed):
        pinned_versions(clone.path, ["1" * 40])
    with pytest.raises(UnknownVersion):
        pinned_versions(clone.path, ["--all"])
    assert known_objects(clone.path, ["1" * 40, clone.git("rev-parse", "HEAD").strip()]) == [
        clone.git("rev-parse", "HEAD").strip()
    ]
    assert known_objects(clone.path, []) == []


def test_tags_reach_commits_and_a_tag_on_a_file_reaches_nothing(clone: Clone, pin: Pin) -> None:
    md5 = pin(b"1")
    clone.commit("x")
    clone.git("tag", "-a", "v1", "-m", "x")
    clone.git("tag", "blob", "HEAD:data/raw.dvc")
    assert md5s(clone.path, [clone.git("rev-parse", "v1").strip()]) == [("data/raw", md5)]
    blob = clone.git("rev-parse", "blob").strip()
    assert md5s(clone.path, [blob]) == []
    assert md5s(clone.path, ["v1"], (blob,)) == [("data/raw", md5)]


def test_outputs_of_stages_are_told_by_what_they_hold(clone: Clone) -> None:
    ours = cache_list(clone.path, 1, "part-00000.parquet")
    model = cache_list(clone.path, 2, "weights.bin")
    absent = f"{3:032x}.dir"
    lock = clone.path / "dvc.lock"
    lock.write_text(lock_text(("data/out", ours), ("model", model), ("data/gone", absent)))
    clone.commit("run")
    pins = find_pins(clone.path)
    assert [(p.dataset, p.md5, p.stage) for p in pins.datasets] == [("data/out", ours, "make")]
    assert [(p.dataset, p.md5) for p in pins.unknown] == [("data/gone", absent)]


def test_working_folders_come_from_the_pipeline_of_that_commit(clone: Clone) -> None:
    md5 = cache_list(clone.path, 1, "part-00000.parquet")
    folder = clone.path / "sub"
    folder.mkdir()
    (folder / "dvc.lock").write_text(lock_text(("out", md5)))
    (folder / "dvc.yaml").write_text("stages:\n  make:\n    cmd: make\n    wdir: a\n    outs:\n    - out\n")
    first = clone.commit("a")
    (folder / "dvc.yaml").write_text("stages:\n  make:\n    cmd: make\n    wdir: b\n    outs:\n    - out\n")
    clone.commit("b")
    assert md5s(clone.path) == [("sub/b/out", md5), ("sub/a/out", md5)]
    assert md5s(clone.path, [first]) == [("sub/a/out", md5)]


def test_a_pointer_whose_summary_is_stale_is_still_a_dataset(clone: Clone, pin: Pin) -> None:
    old = pin(b"1")
    file = clone.path / "data" / "raw.dvc"
    new = f"{7:032x}.dir"
    file.write_text(file.read_text().replace(f"- md5: {old}", f"- md5: {new}"))
    clone.commit("a plain dvc add")
    (pointer,) = pinned_versions(clone.path)
    assert (pointer.md5, pointer.digest) == (new, None)


def test_pointers_that_nobody_can_read_are_told_and_stop_nothing(clone: Clone, pin: Pin) -> None:
    md5 = pin(b"1")
    clone.commit("good")
    file = clone.path / "data" / "raw.dvc"
    good = file.read_text()
    file.write_text(f"<<<<<<< HEAD\n{good}=======\n{good}>>>>>>> side\n")
    broken = clone.commit("conflict")
    file.write_text(good)
    clone.commit("put right")
    pins = find_pins(clone.path)
    assert [(p.dataset, p.md5) for p in pins.datasets] == [("data/raw", md5)]
    assert [(bad.commit, bad.file) for bad in pins.unreadable] == [(broken, "data/raw.dvc")]


def test_names_may_be_odd_and_links_are_no_pointers(clone: Clone, pin: Pin) -> None:
    md5 = pin(b"1", dataset="dä ta/ra\tw")
    (clone.path / "link.dvc").symlink_to("x.dir")
    (clone.path / "notes.dvc.txt").write_text(".dir")
    clone.commit("odd")
    assert md5s(clone.path) == [("dä ta/ra\tw", md5)]
    assert find_pins(clone.path).unreadable == []


def test_a_project_in_a_folder_sees_its_own_pointers_only(clone: Clone, pin: Pin) -> None:
    pin(b"1")
    clone.commit("outer")
    inner = clone.path / "inner"
    inner.mkdir()
    clone.run("dvc", "init", "-q", "--subdir", cwd=inner)
    write_shards(inner / "raw", b"2")
    md5 = track(inner, "raw", summary_of(b"2"))
    clone.commit("inner")
    assert md5s(inner) == [("raw", md5)]


def test_changes_come_with_the_outputs_after_each_of_them(clone: Clone, pin: Pin) -> None:
    pin(b"1")
    first = clone.commit("first")
    (clone.path / "data" / "raw.dvc").unlink()
    gone = clone.commit("gone")
    changes = [item for item in iter_pointer_changes(clone.path) if isinstance(item, PointerChange)]
    assert [(c.commit, c.file, len(c.pointers)) for c in changes] == [
        (gone, "data/raw.dvc", 0),
        (first, "data/raw.dvc", 1),
    ]
    raw = list(file_changes(clone.path, ("*.dvc",)))
    assert [(c.commit, c.before is None, c.after is None) for c in raw] == [(gone, False, True), (first, True, False)]


def test_blobs_come_in_the_order_asked_for(clone: Clone) -> None:
    (clone.path / "empty").write_bytes(b"")
    (clone.path / "lines").write_bytes(b"a\n\nb blob 3\n")
    clone.commit("x")
    names = ["HEAD:./lines", "HEAD:./no such blob 3", "1" * 40, "HEAD:./empty", "HEAD", "HEAD:./lines"]
    lines = b"a\n\nb blob 3\n"
    assert list(iter_blobs(clone.path, names)) == [lines, None, None, b"", None, lines]
    assert len(list(iter_blobs(clone.path, ["HEAD:./lines"] * 5000))) == 5000


def test_the_tips_of_a_remote_are_what_was_last_heard(clone: Clone, tmp_path: Path) -> None:
    clone.git("init", "-q", "--bare", tmp_path / "hub")
    clone.git("remote", "add", "hub", tmp_path / "hub")
    assert remote_tips(clone.path, "hub") == []
    clone.git("push", "-q", "hub", "main", "main:other")
    assert remote_tips(clone.path, "hub") == [clone.git("rev-parse", "HEAD").strip()]
    assert remote_tips(clone.path, str(tmp_path / "hub")) == []
    assert remote_tips(clone.path, "h*") == []


def test_the_work_tree_and_history_agree_on_what_a_commit_pins(clone: Clone, pin: Pin) -> None:
    pin(b"1")
    pin(b"2", dataset="data/other")
    clone.commit("x")
    in_tree = {(pointer.dataset, pointer.md5) for pointer in Pins.at(clone.path, "HEAD").datasets}
    assert set(md5s(clone.path)) == in_tree
