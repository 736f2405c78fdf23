"""A checkout of a tree that was looked at just before: what changed since is seen, what did not is not looked at."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from datapin.base.errors import UnsavedEdits
from datapin.base.settings import StoreSettings
from datapin.rollback.trees import look_at_tree
from datapin.store.store import Store
from datapin.trees.checkout import plan as checkout_plan
from datapin.trees.checkout.checkout import checkout_files
from datapin.trees.checkout.plan import TreeLook

V1 = {"a/1": b"one", "a/2": b"two", "z/4": b"four"}
V2 = {"a/1": b"ONE", "a/2": b"two", "new/5": b"five"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", StoreSettings())


def rows_of(store: Store, contents: dict[str, bytes]) -> pa.Table:
    with store.filling() as filling:
        ids = [filling.put(data) for data in contents.values()]
    return pa.table({"key": list(contents), "asset_id": ids, "size": [len(data) for data in contents.values()]})


def write(store: Store, top: Path, rows: pa.Table, looked: TreeLook | None = None) -> None:
    checkout_files(rows, top / "out", store=store, state=top / "state", looked=looked)


def files(top: Path) -> dict[str, bytes]:
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def test_what_did_not_change_is_not_looked_at_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, tmp_path, rows_of(store, V1))
    rows = rows_of(store, V2)
    looked = look_at_tree(rows, tmp_path / "out", tmp_path / "state").look
    monkeypatch.setattr(checkout_plan, "survey", None)
    write(store, tmp_path, rows, looked)
    assert files(tmp_path / "out") == V2
    monkeypatch.undo()
    write(store, tmp_path, rows_of(store, V1))  # the records are as after any checkout: nothing counts as edited
    assert files(tmp_path / "out") == V1


@pytest.mark.parametrize("name", ["a/1", "z/4", "new/5"])
def test_an_edit_since_the_look_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    write(store, tmp_path, rows_of(store, V1))
    rows = rows_of(store, V2)
    looked = look_at_tree(rows, tmp_path / "out", tmp_path / "state").look
    (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / name).write_bytes(b"my own work")
    before = files(tmp_path / "out")
    with pytest.raises(UnsavedEdits, match=name):
        write(store, tmp_path, rows, looked)
    assert files(tmp_path / "out") == before


def test_an_edit_of_a_file_that_stays_is_found_by_the_next_checkout(store: Store, tmp_path: Path) -> None:
    write(store, tmp_path, rows_of(store, V1))
    rows = rows_of(store, V2)
    looked = look_at_tree(rows, tmp_path / "out", tmp_path / "state").look
    (tmp_path / "out" / "a" / "2").write_bytes(b"my own work")
    write(store, tmp_path, rows, looked)
    with pytest.raises(UnsavedEdits, match="a/2"):
        write(store, tmp_path, rows)
