"""A look at a folder that was started before: it says the same as a look now, or is not used."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datapin.base.errors import UnsavedEdits
from datapin.base.id_columns import ids_to_hex
from datapin.base.settings import StoreSettings
from datapin.rollback.trees import look_at_tree
from datapin.store.store import Store
from datapin.trees import early as checkout_early
from datapin.trees.checkout.checkout import checkout_files
from datapin.trees.checkout.state import CheckoutState
from datapin.trees.checkout.survey import Present, survey
from datapin.trees.early import StartedLook, start_look
from datapin.trees.places import records_path
from datapin.trees.safe_tree import SafeTree

V1 = {f"{folder}/{number}": f"{folder}{number}".encode() for folder in ("a", "b", "b/c") for number in range(4)} | {
    "top": b"top",
    "ü/ä": b"not ascii",
}
V2 = {**V1, "a/1": b"other", "new/5": b"five"}
del V2["b/c/3"]


@pytest.fixture(autouse=True, params=[1, 3], ids=["one child", "three children"])
def few_files_are_enough(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout_early, "_FROM_FILES", 1)
    monkeypatch.setattr(checkout_early, "_BLOCK_FILES", 1)
    monkeypatch.setattr(checkout_early, "_FILES_OF_A_CHILD", -(-len(V1) // request.param))
    monkeypatch.setattr(checkout_early, "core_count", lambda: 4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", StoreSettings())


@pytest.fixture
def looks(tmp_path: Path) -> Iterator[Callable[[], StartedLook]]:
    """Starts looks; their children have come to the end when the test goes on."""
    started: list[StartedLook] = []

    def start() -> StartedLook:
        look = start_look(tmp_path / "state", str(tmp_path / "out"))
        assert look is not None
        started.append(look)
        for child in look._children:
            os.waitid(os.P_PID, child.process, os.WEXITED | os.WNOWAIT)
        return look

    yield start
    for look in started:
        look.close()


def rows_of(store: Store, contents: dict[str, bytes]) -> pa.Table:
    with store.filling() as filling:
        ids = [filling.put(data) for data in contents.values()]
    return pa.table({"key": list(contents), "asset_id": ids, "size": [len(data) for data in contents.values()]})


def write(store: Store, top: Path, contents: dict[str, bytes]) -> None:
    checkout_files(rows_of(store, contents), top / "out", store=store, state=top / "state")


def seen(top: Path, started: StartedLook | None) -> tuple[Present, int]:
    """What a survey for V2 finds, and how many files it looked at itself."""
    looked_at = 0

    class Counting(SafeTree):
        def file_stats(self, folder, names, marks):  # type: ignore[no-untyped-def]
            nonlocal looked_at
            looked_at += len(names)
            return super().file_stats(folder, names, marks)

    with CheckoutState.hold(top / "state", top / "out") as known, closing(Counting(top / "out")) as tree:
        return survey(tree, known, pa.array(sorted(V2)), force=False, started=started), looked_at


def as_rows(present: Present) -> tuple[list[tuple[object, ...]], dict[str, str]]:
    columns = (present.keys.to_pylist(), present.rows.tolist(), ids_to_hex(present.ids).to_pylist())
    stats = [tuple(row) for row in present.stats.tolist()]
    return sorted(zip(*columns, stats, strict=True)), present.blocked


def age(top: Path) -> None:
    """The records say that the files were old when they were written: stats prove nothing for a file of this moment."""
    for path in (top / "out").rglob("*"):
        os.utime(path, ns=(10**18, 10**18))


def settle(store: Store, top: Path) -> None:
    """Check V1 out so that its records count."""
    write(store, top, V1)
    age(top)
    with CheckoutState.hold(top / "state", top / "out") as known, closing(SafeTree(top / "out")) as tree:
        present = survey(tree, known, known.records.keys, force=False)
        known.save(present.keys, present.stats, present.ids, np.ones(len(present.keys), np.bool_))
    while True:  # until the clock of the files has moved on
        with CheckoutState.hold(top / "state", top / "out") as known:
            if known.records.settled().all():
                return
            known.save(known.records.keys, known.records.stats, known.records.ids, known.ours)


def edit(top: Path) -> None:
    (top / "out/a/1").write_bytes(b"mine")


def keep_size_and_time(top: Path) -> None:
    (top / "out/a/2").write_bytes(b"A2")
    os.utime(top / "out/a/2", ns=(10**18, 10**18))


def replace_by_a_copy(top: Path) -> None:
    path = top / "out/b/0"
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(10**18, 10**18))
    copy.replace(path)


def take_away(top: Path) -> None:
    (top / "out/b/c/3").unlink()


def put_a_link(top: Path) -> None:
    (top / "out/top").unlink()
    (top / "out/top").symlink_to("a/1")


def put_a_linked_folder(top: Path) -> None:
    (top / "out/b").rename(top / "elsewhere")
    (top / "out/b").symlink_to(top / "elsewhere")


def put_a_folder(top: Path) -> None:
    (top / "out/top").unlink()
    (top / "out/top").mkdir()


def do_nothing(top: Path) -> None:
    pass


CHANGES = [do_nothing, edit, keep_size_and_time, replace_by_a_copy, take_away, put_a_link, put_a_linked_folder,
           put_a_folder]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_survey_finds_the_same_with_a_look_and_without(
    store: Store, tmp_path: Path, looks: Callable[[], StartedLook], change: Callable[[Path], None]
) -> None:
    settle(store, tmp_path)
    change(tmp_path)
    with_it, looked_at = seen(tmp_path, looks())
    without, all_files = seen(tmp_path, None)
    assert as_rows(with_it) == as_rows(without)
    assert looked_at < all_files


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_the_children_have_not_reached_is_shared(
    store: Store, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    settle(store, tmp_path)
    change(tmp_path)
    started = start_look(tmp_path / "state", str(tmp_path / "out"))
    assert started is not None
    assert as_rows(seen(tmp_path, started)[0]) == as_rows(seen(tmp_path, None)[0])


def test_a_share_is_what_the_children_will_leave(
    store: Store, tmp_path: Path, looks: Callable[[], StartedLook]
) -> None:
    settle(store, tmp_path)
    ended = looks()
    assert all(first == last for first, last in ended.take_share())
    assert ended.wait() == b"\x01" * len(V1)
    begun = looks()
    for number in range(len(begun._children)):
        begun._words[number * 2] = begun._children[number].first  # as if it had reached nothing
    taken = begun.take_share()
    assert 0 < sum(last - first for first, last in taken) < len(V1)
    assert [last for _, last in taken] == [child.last for child in begun._children]


def test_files_that_were_seen_are_not_looked_at_again(
    store: Store, tmp_path: Path, looks: Callable[[], StartedLook]
) -> None:
    settle(store, tmp_path)
    unrecorded = len(V2.keys() - V1.keys())
    assert seen(tmp_path, looks())[1] == 0  # the folder of what is new is not there
    edit(tmp_path)
    (tmp_path / "out/new").mkdir()
    (tmp_path / "out/new/5").write_bytes(b"mine")
    assert seen(tmp_path, looks())[1] == 1 + unrecorded


def test_a_look_at_other_records_is_not_used(store: Store, tmp_path: Path, looks: Callable[[], StartedLook]) -> None:
    settle(store, tmp_path)
    stale = looks()
    write(store, tmp_path, V2)
    assert stale.checksum != looks().checksum
    assert seen(tmp_path, stale)[1] == seen(tmp_path, None)[1]


def test_a_look_whose_child_died_is_not_used(store: Store, tmp_path: Path) -> None:
    settle(store, tmp_path)
    started = start_look(tmp_path / "state", str(tmp_path / "out"))
    assert started is not None
    killed = os.fork()
    if killed == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    started._children.append(dataclasses.replace(started._children[-1], process=killed))
    assert started.wait() is None


def test_a_look_after_a_checkout_that_was_cut_off_is_not_used(
    store: Store, tmp_path: Path, looks: Callable[[], StartedLook]
) -> None:
    settle(store, tmp_path)
    started = looks()
    with CheckoutState.hold(tmp_path / "state", tmp_path / "out") as known:
        known.intend(known.records.keys, known.records.ids)
    assert seen(tmp_path, started)[1] == seen(tmp_path, None)[1] > 0


def test_an_edit_after_the_look_is_not_overwritten(
    store: Store, tmp_path: Path, looks: Callable[[], StartedLook]
) -> None:
    settle(store, tmp_path)
    started = looks()
    rows = rows_of(store, V2)
    edit(tmp_path)
    looked = look_at_tree(rows, tmp_path / "out", tmp_path / "state", started).look
    assert not looked.plan.edited
    with pytest.raises(UnsavedEdits, match="a/1"):
        checkout_files(rows, tmp_path / "out", store=store, state=tmp_path / "state", looked=looked)
    assert (tmp_path / "out/a/1").read_bytes() == b"mine"


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:50], lambda data: data[:-1]])
def test_there_is_no_look_at_records_that_cannot_be_read(
    store: Store, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    settle(store, tmp_path)
    records = records_path(tmp_path / "state", tmp_path / "out")
    records.write_bytes(damage(records.read_bytes()))
    assert start_look(tmp_path / "state", str(tmp_path / "out")) is None


def test_a_look_that_nobody_waits_for_leaves_no_child(store: Store, tmp_path: Path) -> None:
    settle(store, tmp_path)
    started = start_look(tmp_path / "state", str(tmp_path / "out"))
    assert started is not None
    children = [child.process for child in started._children]
    started.close()
    for child in children:
        with pytest.raises(ChildProcessError):
            os.waitpid(child, 0)


def test_starting_a_look_needs_no_heavy_library() -> None:
    code = "import sys; import datapin.trees.early; print(*{'numpy', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not done.stdout.strip()


def test_there_is_no_look_where_no_process_can_be_started(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(store, tmp_path)
    fork, children = os.fork, list[int]()

    def fork_once() -> int:
        if children:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        children.append(fork())
        return children[0]

    monkeypatch.setattr(checkout_early, "_FILES_OF_A_CHILD", 1)
    monkeypatch.setattr(os, "fork", fork_once)
    assert start_look(tmp_path / "state", str(tmp_path / "out")) is None
    with pytest.raises(ChildProcessError):
        os.waitpid(children[0], os.WNOHANG)
