"""A file is ours only if we wrote it: equal files of the user's stay the user's, whatever follows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pytest

from datapin.base.errors import UnsavedEdits
from datapin.base.progress import SILENT, Bar
from datapin.base.settings import StoreSettings
from datapin.store.store import Store
from datapin.trees.checkout import write as checkout_write
from datapin.trees.checkout.checkout import CheckoutReport, checkout_files
from datapin.trees.checkout.state import CheckoutState, our_files
from datapin.trees.places import FollowingTree, records_path, register_tree, registered_trees, trees_of
from datapin.trees.stat_records import read_stat_records, write_stat_records

Contents = Mapping[str, bytes]
V1 = {"a/1": b"one", "a/2": b"two", "b/3": b"three"}
V2 = {"a/1": b"one", "b/3": b"THREE", "b/4": b"four"}


class Told:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def bar(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Bar]:
        return SILENT.bar(title, total, unit)

    def note(self, message: str) -> None:
        self.notes.append(message)


Out = Callable[..., CheckoutReport]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def out(tmp_path: Path, told: Told) -> Out:
    """Check contents out into `tmp_path/out`, which is there."""
    store = Store.create(tmp_path / "store", StoreSettings())
    (tmp_path / "out").mkdir()

    def run(contents: Contents, *, force: bool = False, adopt: bool = False) -> CheckoutReport:
        with store.filling() as filling:
            ids = [filling.put(data) for data in contents.values()]
        table = pa.table({"key": list(contents), "asset_id": ids, "size": [len(data) for data in contents.values()]})
        top, told.notes = tmp_path / "out", []
        return checkout_files(
            table, top, store=store, state=tmp_path / "state", progress=told, force=force, adopt=adopt
        )

    return run


def put(top: Path, contents: Contents) -> None:
    for key, data in contents.items():
        (top / key).parent.mkdir(parents=True, exist_ok=True)
        (top / key).write_bytes(data)


def files_below(top: Path) -> dict[str, bytes]:
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def test_equal_files_of_the_users_stay_theirs(out: Out, told: Told, tmp_path: Path) -> None:
    top = tmp_path / "out"
    put(top, {"a/1": b"one", "a/2": b"two"})
    report = out(V1)
    assert (report.written, report.unchanged, report.yours) == (1, 2, 2)
    assert "2 file(s) were there before and stay yours" in told.notes[0]
    assert our_files(tmp_path / "state", top) == {"b/3"}
    assert out(V1).yours == 2, "still"
    assert told.notes == [], "said once"
    report = out(V2)  # a/2 goes, b/3 changes
    assert (report.removed, report.left) == (0, 1)
    assert "1 file(s) of yours are in no row any more and stay: a/2" in told.notes[0]
    assert files_below(top) == {**V2, "a/2": b"two"}
    assert out({"b/4": b"four"}).removed == 1, "b/3, which was ours; a/1 is not"
    assert files_below(top) == {"a/1": b"one", "a/2": b"two", "b/4": b"four"}


def test_a_file_of_theirs_is_never_replaced_but_by_force(out: Out, tmp_path: Path) -> None:
    top = tmp_path / "out"
    put(top, {"b/3": b"three"})
    out(V1)
    for _ in range(2):
        with pytest.raises(UnsavedEdits, match="b/3") as caught:
            out(V2)
        assert "move them away" in caught.value.hint
        assert files_below(top) == V1
    out(V2, force=True)
    assert files_below(top) == V2
    assert out(V1).removed == 1, "what force wrote is ours"
    assert files_below(top) == V1


def test_adopted_files_are_ours(out: Out, told: Told, tmp_path: Path) -> None:
    top = tmp_path / "out"
    put(top, {**V1, "mine": b"mine"})
    assert out(V1, adopt=True).yours == 0
    assert told.notes == []
    out(V2)
    assert files_below(top) == {**V2, "mine": b"mine"}


def test_an_edit_that_was_saved_as_a_row_is_ours_again_and_a_deleted_place_is_free(out: Out, tmp_path: Path) -> None:
    top = tmp_path / "out"
    out(V1)
    put(top, {"a/1": b"edited"})
    out({**V1, "a/1": b"edited"})
    assert out(V2).written == 3
    shutil.rmtree(top)
    top.mkdir()
    put(top, {"b/4": b"four"})
    assert out(V2).yours == 0, "we wrote one in that place"
    out({"a/1": b"one"})
    assert files_below(top) == {"a/1": b"one"}


def test_records_of_before_name_nobody_and_own_nothing(out: Out, tmp_path: Path) -> None:
    top, path = tmp_path / "out", records_path(tmp_path / "state", tmp_path / "out")
    out(V1)
    old = read_stat_records(path)
    for stamp in ("", "ours:", "ours:!!", "ours:AA==", "else"):
        old = type(old)(old.keys, old.stats, old.ids, old.settled_before_ns, stamp)
        write_stat_records(path, old)
        with CheckoutState.hold(tmp_path / "state", top) as known:
            assert not known.ours.any(), stamp
    assert out({"a/1": b"one"}).removed == 0
    assert files_below(top) == V1
    out(V1, adopt=True)
    assert out({"a/1": b"one"}).removed == 2


@pytest.mark.parametrize("few", [0, 16])
def test_bytes_are_durable_before_their_names_and_names_before_the_record(
    few: int, out: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the trace, as a kill does not show a sync that is missing: the kernel writes its pages anyway."""
    trace: list[tuple[str, str]] = []
    out({"old/1": b"x", "a/1": b"before"})
    top = str(tmp_path / "out")
    real = {name: getattr(os, name) for name in ("fsync", "replace", "unlink", "rmdir")}

    def path_of(name: str, folder: int | None) -> str:
        return name if folder is None else os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)

    def replace(source: str, target: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        trace.append(("name", f"{path_of(source, src_dir_fd)} {path_of(target, dst_dir_fd)}"))
        real["replace"](source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def unlink(path: str, *, dir_fd: int | None = None) -> None:
        trace.append(("gone", path_of(path, dir_fd)))
        real["unlink"](path, dir_fd=dir_fd)

    def fsync(number: int) -> None:
        real["fsync"](number)
        trace.append(("fsync", os.readlink(f"/proc/self/fd/{number}")))

    def sync_all(number: int) -> None:
        trace.append(("all", os.readlink(f"/proc/self/fd/{number}")))

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "unlink", unlink)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(checkout_write, "sync_file_system", sync_all)
    monkeypatch.setattr(checkout_write, "_FEW_FILES", few)
    out({"a/1": b"after", "new/deep/2": b"two"})
    record = str(records_path(tmp_path / "state", tmp_path / "out"))
    published = next(n for n, (what, names) in enumerate(trace) if what == "name" and names.endswith(f" {record}"))

    def is_synced(path: str, first: int, last: int) -> bool:
        return ("fsync", path) in trace[first:last] or (few == 0 and ("all", top) in trace[first:last])

    named = [(n, pair.split(" ")) for n, (what, pair) in enumerate(trace) if what == "name" and f" {top}/" in pair]
    assert [os.path.relpath(target, top) for _, (_, target) in named] == ["a/1", "new/deep/2"]
    for number, (temporary, target) in named:
        assert is_synced(temporary, 0, number), f"{target} got its name before its bytes were durable"
        assert is_synced(os.path.dirname(target), number, published), f"the name of {target} is not durable"
    for folder in (top, f"{top}/new"):
        assert is_synced(folder, 0, published), "nor are those of new folders"
    gone = next(n for n, call in enumerate(trace) if call == ("gone", f"{top}/old/1"))
    assert is_synced(top, gone, published), "a removed file could come back"


def test_folders_outside_follow_only_if_chosen_and_never_through_a_link(tmp_path: Path) -> None:
    state, root = tmp_path / "root" / "state", tmp_path / "root"
    targets = [root / "in", tmp_path / "chosen", tmp_path / "unasked"]
    for target in targets:
        target.mkdir(parents=True)
        tree = FollowingTree(str(target), "data/raw", None, is_chosen=target.name == "chosen")
        register_tree(state, tree, is_following=True)
    assert [Path(tree.target).name for tree in registered_trees(state, root)] == ["in", "chosen"]
    (root / "in").rename(root / "moved")
    (root / "in").symlink_to("moved")
    assert [Path(tree.target).name for tree in trees_of(state, root, "data/raw")] == ["chosen"]
    register_tree(state, FollowingTree(str(tmp_path / "chosen"), "data/raw", None), is_following=False)
    assert trees_of(state, root, "data/raw") == []
