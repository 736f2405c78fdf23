"""Checkout: rows become files; edits, links and things in the way are refused before anything is written."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datapin.base.errors import (
    AssetsMissing,
    BadKeys,
    BadRows,
    DamagedAsset,
    DatapinError,
    Refused,
    StorageFailed,
    UnsavedEdits,
    Usage,
)
from datapin.base.settings import StoreSettings
from datapin.store.store import Store
from datapin.trees.checkout import survey
from datapin.trees.checkout import write as checkout_write
from datapin.trees.checkout.checkout import CheckoutReport, checkout_files
from datapin.trees.checkout.plan import PlannedPaths, plan_checkout
from datapin.trees.checkout.survey import Present
from datapin.trees.safe_tree import SafeTree

Contents = Mapping[str, bytes]
Out = Callable[..., CheckoutReport]

V1 = {"a/1": b"one", "a/2": b"two", "b/c/3": b"three", "top": b"", "z/4": b"four"}
V2 = {"a/1": b"ONE", "a/2": b"two", "b/c/3": b"three", "new/5": b"five", "top": b""}


@pytest.fixture(params=["one process", "a child looks at half"], autouse=True)
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test with few files, and as if they were many: what lies there is then looked at by two processes."""
    if request.param != "one process":
        monkeypatch.setattr(survey, "_SHARED_FROM", 1)
        monkeypatch.setattr(survey, "core_count", lambda: 2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", StoreSettings(pack_size=4096))


def rows_of(store: Store, contents: Contents) -> pa.Table:
    with store.filling() as filling:
        ids = [filling.put(data) for data in contents.values()]
    return pa.table(
        {"key": list(contents), "asset_id": ids, "size": [len(data) for data in contents.values()]}
    ).sort_by("key")


@pytest.fixture
def out(store: Store, tmp_path: Path) -> Out:
    """Check contents out into `tmp_path/out`."""

    def run(contents: Contents, **options: Any) -> CheckoutReport:
        table = rows_of(store, contents)
        return checkout_files(table, tmp_path / "out", store=store, state=tmp_path / "state", **options)

    return run


def files_below(top: Path) -> dict[str, bytes]:
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def test_files_are_written_with_their_bytes(out: Out, tmp_path: Path) -> None:
    assert out(V1) == CheckoutReport(written=5, removed=0, unchanged=0, bytes=15)
    assert files_below(tmp_path / "out") == V1


def test_a_second_checkout_writes_nothing(out: Out, tmp_path: Path) -> None:
    out(V1)
    before = {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*")}
    assert out(V1) == CheckoutReport(written=0, removed=0, unchanged=5, bytes=0)
    assert {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize("shared", ["a child looks at half"], indirect=True)
def test_a_child_that_dies_costs_time_only(out: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    out(V1)
    parent, fork, died = os.getpid(), os.fork, []

    def dying() -> int:
        number = fork()
        if os.getpid() != parent:
            os._exit(9)
        died.append(number)
        return number

    monkeypatch.setattr(os, "fork", dying)
    assert out(V1) == CheckoutReport(written=0, removed=0, unchanged=5, bytes=0)
    assert died


def test_another_version_changes_only_what_differs(out: Out, tmp_path: Path) -> None:
    out(V1)
    kept = (tmp_path / "out" / "a" / "2").stat().st_ino
    assert out(V2) == CheckoutReport(written=2, removed=1, unchanged=3, bytes=7)
    assert files_below(tmp_path / "out") == V2
    assert (tmp_path / "out" / "a" / "2").stat().st_ino == kept
    assert not (tmp_path / "out" / "z").exists(), "a folder that became empty goes too"
    assert out(V1).written == 2
    assert files_below(tmp_path / "out") == V1


def test_files_of_the_users_stay(out: Out, tmp_path: Path) -> None:
    out(V1)
    (tmp_path / "out" / "z" / "mine").write_bytes(b"mine")
    out(V2)
    assert files_below(tmp_path / "out") == {**V2, "z/mine": b"mine"}


def test_an_edited_file_is_refused_by_name_and_nothing_changes(out: Out, tmp_path: Path) -> None:
    out(V1)
    (tmp_path / "out" / "a" / "1").write_bytes(b"edited")
    before = files_below(tmp_path / "out")
    with pytest.raises(UnsavedEdits) as caught:
        out(V2)
    assert caught.value.names == ("a/1",)
    assert files_below(tmp_path / "out") == before
    assert out(V2, force=True).written == 2
    assert files_below(tmp_path / "out") == V2


def test_an_edit_of_the_same_size_with_its_time_set_back_is_refused(out: Out, tmp_path: Path) -> None:
    out(V1)
    victim = tmp_path / "out" / "a" / "1"
    old = victim.stat()
    time.sleep(0.02)
    victim.write_bytes(b"eno")
    os.utime(victim, ns=(old.st_atime_ns, old.st_mtime_ns))
    with pytest.raises(UnsavedEdits):
        out(V2)


def test_an_edit_back_to_the_wanted_bytes_is_no_edit(out: Out, tmp_path: Path) -> None:
    out(V1)
    (tmp_path / "out" / "a" / "1").write_bytes(V2["a/1"])
    assert out(V2).written == 1


def test_a_file_that_goes_and_was_edited_is_refused_and_kept_with_force(out: Out, tmp_path: Path) -> None:
    out(V1)
    (tmp_path / "out" / "z" / "4").write_bytes(b"edited")
    with pytest.raises(UnsavedEdits, match="z/4"):
        out(V2)
    assert out(V2, force=True).removed == 0
    assert (tmp_path / "out" / "z" / "4").read_bytes() == b"edited"
    assert out(V2).unchanged == 5, "it is the user's file from then on"


def test_a_foreign_file_in_the_way_is_refused_unless_it_is_equal(out: Out, tmp_path: Path) -> None:
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "1").write_bytes(b"one")
    (tmp_path / "out" / "top").write_bytes(b"foreign")
    with pytest.raises(UnsavedEdits) as caught:
        out(V1)
    assert caught.value.names == ("top",)
    (tmp_path / "out" / "top").unlink()
    assert out(V1) == CheckoutReport(written=4, removed=0, unchanged=1, bytes=12, yours=1)


def test_a_deleted_file_comes_back(out: Out, tmp_path: Path) -> None:
    out(V1)
    (tmp_path / "out" / "a" / "1").unlink()
    assert out(V1).written == 1
    assert files_below(tmp_path / "out") == V1


def test_a_file_may_become_a_folder_and_back(out: Out, tmp_path: Path) -> None:
    flat, deep = {"a": b"file", "b/c/d": b"deep"}, {"a/x": b"below", "b": b"flat"}
    out(flat)
    assert out(deep) == CheckoutReport(written=2, removed=2, unchanged=0, bytes=9)
    assert files_below(tmp_path / "out") == deep
    out(flat)
    assert files_below(tmp_path / "out") == flat


def test_a_folder_with_a_file_of_the_users_does_not_become_a_file(out: Out, tmp_path: Path) -> None:
    out({"b/c": b"x"})
    (tmp_path / "out" / "b" / "mine").write_bytes(b"mine")
    for force in (False, True):
        with pytest.raises(Refused, match="b is a folder"):
            out({"b": b"flat"}, force=force)
    assert files_below(tmp_path / "out") == {"b/c": b"x", "b/mine": b"mine"}


def test_a_link_in_place_of_a_folder_is_never_followed(out: Out, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(outside)
    for force in (False, True):
        with pytest.raises(Refused, match="a is a link"):
            out(V1, force=force)
    assert list(outside.iterdir()) == []
    assert files_below(tmp_path / "out") == {}


def test_a_link_in_place_of_a_file_is_replaced_only_with_force(out: Out, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "top").symlink_to(outside)
    with pytest.raises(Refused, match="top is a link"):
        out(V1)
    out(V1, force=True)
    assert outside.read_bytes() == b"precious"
    assert not (tmp_path / "out" / "top").is_symlink()
    assert files_below(tmp_path / "out") == V1


def test_a_pipe_in_the_way_does_not_hang(out: Out, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "top")
    with pytest.raises(Refused, match="top"):
        out(V1)


def test_nothing_is_written_through_a_target_that_is_a_link_or_lies_below_one(store: Store, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for target in (tmp_path / "link", tmp_path / "link" / "below"):
        with pytest.raises(Refused, match="link is a link") as caught:
            checkout_files(rows_of(store, V1), target, store=store, state=tmp_path / "state")
        assert caught.value.hint.endswith(f"--into {os.path.realpath(target)}")
    assert not list((tmp_path / "real").iterdir())


def test_a_target_that_is_a_file_is_wrong_usage(out: Out, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"x")
    with pytest.raises(Usage, match="not a folder"):
        out(V1)


@pytest.mark.parametrize(
    "key",
    [
        *("../x", "/etc/x", "a/../../x", "", ".", "a//b", ".git/hooks/pre-commit", "a/.GIT/x", "git~1/x", "a\x00b"),
        *("a\nb", "a\\b", "C:/x", "CON", "x.", "x ", "a/" + "b" * 1100, "a\u200b/.git\u200c/x", "e\u0301"),
    ],
)
def test_a_hostile_key_is_refused_and_nothing_is_written(store: Store, tmp_path: Path, key: str) -> None:
    asset_id = store.put(b"evil")
    table = pa.table({"key": ["ok", key], "asset_id": [asset_id] * 2, "size": [4, 4]})
    with pytest.raises(BadKeys):
        checkout_files(table, tmp_path / "out", store=store, state=tmp_path / "state")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("keys", [["a", "a"], ["a", "a/b"], ["a/b", "a/b/c/d"]])
def test_keys_that_cannot_lie_side_by_side_are_refused(store: Store, tmp_path: Path, keys: list[str]) -> None:
    table = pa.table({"key": keys, "asset_id": [store.put(b"x")] * 2, "size": [1, 1]})
    with pytest.raises(BadRows):
        checkout_files(table, tmp_path / "out", store=store, state=tmp_path / "state")
    assert not (tmp_path / "out").exists()


def test_a_missing_asset_is_named_by_its_key_before_anything_is_written(store: Store, out: Out, tmp_path: Path) -> None:
    out(V1)
    table = rows_of(store, V2)
    lost = hashlib.sha256(b"nowhere").hexdigest()
    table = table.set_column(1, "asset_id", pa.array([lost, *table["asset_id"].to_pylist()[1:]]))
    with pytest.raises(AssetsMissing) as caught:
        checkout_files(table, tmp_path / "out", store=store, state=tmp_path / "state")
    assert caught.value.names == ("a/1",)
    assert files_below(tmp_path / "out") == V1


def test_damaged_bytes_never_become_a_file(store: Store, tmp_path: Path) -> None:
    table = rows_of(store, {"a": b"good" * 100, "b": b"bad!" * 100})
    for pack in (store.root / "packs").rglob("*.pack"):
        data = pack.read_bytes()
        pack.chmod(0o644)
        pack.write_bytes(data.replace(b"bad!", b"BAD!"))
    with pytest.raises(DatapinError) as caught:
        checkout_files(table, tmp_path / "out", store=Store.open(store.root, StoreSettings()), state=tmp_path / "state")
    assert isinstance(caught.value, DamagedAsset)
    assert "b" not in files_below(tmp_path / "out")


def test_a_large_asset_is_streamed(out: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout_write, "_STREAM_FROM_BYTES", 1000)
    contents = {"a/big": os.urandom(5000), "b": b"small", "c/d/big": os.urandom(1000)}
    assert out(contents).written == 3
    assert files_below(tmp_path / "out") == contents
    assert out(contents).unchanged == 3


def test_many_files_go_in_batches(out: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout_write, "_BATCH_BYTES", 50)
    contents = {f"{n % 7}/{n:04d}": b"%d" % n * (n % 9) for n in range(300)}
    assert out(contents).written == 300
    assert files_below(tmp_path / "out") == dict(sorted(contents.items()))


def test_threads_write_the_same_files_as_one_does(out: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout_write, "_RUN_FILES", 3)
    monkeypatch.setattr(checkout_write, "_LONGEST_RUN_FILES", 20)
    contents = {f"{n % 7}/{n % 3}/{n:04d}": b"%d" % n for n in range(300)}
    assert out(contents, jobs=4).written == 300
    assert files_below(tmp_path / "out") == dict(sorted(contents.items()))
    assert out(contents).unchanged == 300
    (tmp_path / "out" / "3" / "1" / "0010").write_bytes(b"edited")
    with pytest.raises(UnsavedEdits, match="3/1/0010"):
        out({**contents, "3/1/0010": b"new"}, jobs=4)


class HeldUp(checkout_write._Writing):
    """Has written a few files when somebody says stop, however the threads take turns."""

    patience_s = 600.0

    def stage(self, tree: SafeTree, first: int, last: int) -> None:
        if first > 10 and not self._stop.wait(HeldUp.patience_s):
            HeldUp.patience_s = 0.0
        super().stage(tree, first, last)


def test_an_error_in_one_thread_ends_the_others(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout_write, "_Writing", HeldUp)
    monkeypatch.setattr(checkout_write, "_BATCH_FILES", 1)
    monkeypatch.setattr(checkout_write, "_RUN_FILES", 1)
    contents = {f"{n:03d}/x": b"good%03d" % n * 20 for n in range(400)}
    table = rows_of(store, contents)
    for pack in (store.root / "packs").rglob("*.pack"):
        data = pack.read_bytes()
        pack.chmod(0o644)
        pack.write_bytes(data.replace(b"good001", b"BAD-001"))
    others = set(threading.enumerate())
    with pytest.raises(DamagedAsset):
        checkout_files(
            table, tmp_path / "out", store=Store.open(store.root, StoreSettings()), state=tmp_path / "state", jobs=2
        )
    assert set(threading.enumerate()) <= others
    assert HeldUp.patience_s, "the other thread went on to the end"
    written = files_below(tmp_path / "out")
    assert len(written) < 390, "the other thread went on to the end"
    assert all(contents[key] == data for key, data in written.items())


def test_a_selection_without_rows_empties_what_was_written(out: Out, tmp_path: Path) -> None:
    out(V1)
    assert out({}).removed == 5
    assert list((tmp_path / "out").iterdir()) == []


def test_names_beyond_ascii_and_leading_dashes_are_files_like_others(out: Out, tmp_path: Path) -> None:
    contents = {"-rf": b"1", "~/x": b"2", "a b/ü.png": b"3", "日本/語": b"4", "$HOME/%s": b"5"}
    out(contents)
    assert files_below(tmp_path / "out") == dict(sorted(contents.items()))


def test_files_get_the_rights_that_the_users_mask_allows(out: Out, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        out({"a": b"x"})
    finally:
        os.umask(before)
    assert (tmp_path / "out" / "a").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_is_one_error_and_the_next_run_finishes(
    out: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out(V1)
    real, calls = os.replace, []

    def failing(*arguments: Any, **options: Any) -> None:
        calls.append(arguments)
        if "dst_dir_fd" in options:
            raise OSError(28, "No space left on device")
        real(*arguments, **options)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(StorageFailed, match="No space left"):
        out(V2)
    monkeypatch.undo()
    assert calls
    assert not [name for name in files_below(tmp_path / "out") if ".tmp-" in name]
    out(V2)
    assert files_below(tmp_path / "out") == V2


def test_two_targets_keep_their_own_records(store: Store, tmp_path: Path) -> None:
    for name, contents in (("x", V1), ("y", V2), ("x", V2)):
        checkout_files(rows_of(store, contents), tmp_path / name, store=store, state=tmp_path / "state")
    assert files_below(tmp_path / "x") == files_below(tmp_path / "y") == V2


def test_a_damaged_record_costs_hashing_but_never_files(out: Out, tmp_path: Path) -> None:
    out(V1)
    for path in (tmp_path / "state").iterdir():
        if path.suffix == "":
            path.write_bytes(b"garbage")
    assert out(V1).unchanged == 5


ATTACKER = """
import os, sys
from contextlib import suppress
top, outside = sys.argv[1:]
os.chdir(top)
os.symlink(outside, "link")
swaps = 0
while os.path.exists("go"):
    for before, after in (("a", "aside"), ("link", "a"), ("a", "link"), ("aside", "a")):
        with suppress(OSError):
            os.rename(before, after)
    if os.path.isdir("aside"):  # the checkout made a folder of its own meanwhile
        with suppress(OSError):
            os.rename("a", f"was-{swaps}")
    swaps += 1
    if swaps == 500:
        open("enough", "w").close()
print(swaps)
"""


def test_folders_swapped_for_links_in_a_tight_loop_let_nothing_out(store: Store, tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    (outside / "1").write_bytes(b"canary")
    (target / "a").mkdir(parents=True)
    (target / "go").touch()
    attacker = subprocess.Popen([sys.executable, "-c", ATTACKER, target, outside], stdout=subprocess.PIPE, text=True)
    tables = [rows_of(store, {f"a/{n}": b"%d %d" % (n, version) for n in range(10)}) for version in range(2)]
    ended = []
    try:
        while not (target / "link").is_symlink() and attacker.poll() is None:
            time.sleep(0.01)
        for number in range(100_000):
            if number >= 150 and "Refused" in ended and (target / "enough").exists():
                break
            try:
                checkout_files(tables[number % 2], target, store=store, state=tmp_path / "state", force=True)
                ended.append("done")
            except DatapinError as error:
                ended.append(type(error).__name__)
    finally:
        (target / "go").unlink()
        told, _ = attacker.communicate()
    assert int(told) >= 500, "too few swaps to prove anything"
    assert "Refused" in ended, "no checkout met a link"
    assert files_below(outside) == {"1": b"canary"}


def open_below(folder: Path) -> list[str]:
    """What this process has open there; other threads may open and close what they want elsewhere."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in found if path.startswith(str(folder))]


def test_a_tree_keeps_no_open_folder_when_closed(tmp_path: Path) -> None:
    tree = SafeTree(tmp_path)
    tree.stage("a/b/c", "temporary", b"1", is_synced=True)
    tree.stage("a/d", "temporary", b"2", is_synced=False)
    tree.place("a/d", "temporary", "y")
    assert tree.hash("a/d", "y") == hashlib.sha256(b"2").digest()
    assert tree.hash("a/d", "absent") is None
    assert tree.hash("absent", "y") is None
    assert open_below(tmp_path)
    tree.close()
    tree.close()
    assert open_below(tmp_path) == []


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("present", "wanted", "ours", "writes", "removals", "edited"),
    [
        (b"", b"W", b"", [0], [], []),
        (b"W", b"W", b"", [], [], []),
        (b"W", b"W", b"O", [], [], []),
        (b"O", b"W", b"O", [0], [], []),
        (b"E", b"W", b"O", [0], [], ["k"]),
        (b"E", b"W", b"", [0], [], ["k"]),
        (b"O", b"", b"O", [], ["k"], []),
        (b"E", b"", b"O", [], [], ["k"]),
        (b"", b"", b"O", [], [], []),
    ],
)
def test_the_plan_of_one_key(
    force: bool, present: bytes, wanted: bytes, ours: bytes, writes: list[int], removals: list[str], edited: list[str]
) -> None:
    def ids(*names: bytes) -> np.ndarray:
        return np.frombuffer(b"".join(name * 32 for name in names), np.uint8).reshape(-1, 32)

    there = [present] if present else []
    plan = plan_checkout(
        ids(*([wanted] if wanted else [])),
        Present(
            keys=pa.array(["k"] * len(there), pa.string()),
            rows=np.array([0 if wanted else -1] * len(there), np.int64),
            recorded=np.array([0 if ours else -1] * len(there), np.int64),
            stats=np.zeros((len(there), 4), np.int64),
            ids=ids(*there),
            is_settled=np.ones(len(there), np.bool_),
            blocked={},
        ),
        PlannedPaths(
            ours=np.array([present == ours] * len(there), np.bool_),
            written=np.array([bool(ours)] * len(there), np.bool_),
        ),
        force=force,
    )
    assert plan.writes.tolist() == writes
    assert plan.removals == removals
    assert plan.edited == ([] if force else edited)
