"""A checkout killed at every failpoint leaves whole files only; run again, it ends as an undisturbed one does."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapin.base import failpoints
from datapin.base.errors import DatapinError
from datapin.base.ids import AssetId
from datapin.base.settings import StoreSettings
from datapin.store.store import Store
from datapin.trees.checkout import write as checkout_write
from datapin.trees.checkout.checkout import checkout_files
from datapin.trees.checkout.layout import lay_out
from datapin.trees.checkout.state import Arrangement, arrangement_of

OLD = {f"a/{n}": b"old%d" % n for n in range(6)} | {"gone/x": b"x", "same": b"same", "flat": b"file"}
NEW = {f"a/{n}": b"new%d" % n for n in range(3, 9)} | {"b/c/d": b"deep", "same": b"same", "flat/y": b"folder"}
SETTINGS = StoreSettings(large_asset=4096)
LARGE = bytes(4096)


def table_of(store: Store, contents: dict[str, bytes]) -> pa.Table:
    with store.filling() as filling:
        ids = [filling.put(data) for data in contents.values()]
    return pa.table(
        {"key": list(contents), "asset_id": ids, "size": [len(data) for data in contents.values()]}
    ).sort_by("key")


def files_below(top: Path) -> dict[str, bytes]:
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def prepared(top: Path) -> Path:
    """A folder with the old files checked out, and the rows of the new ones."""
    store = Store.create(top / "store", SETTINGS)
    checkout_files(table_of(store, OLD), top / "out", store=store, state=top / "state")
    pq.write_table(table_of(store, NEW), top / "new.parquet")
    return top


def run(
    top: Path,
    stream_from: int = 1 << 30,
    *,
    jobs: int = 1,
    armed: str = "",
    log: str = "",
    arrangement: Arrangement | None = None,
) -> tuple[int, str]:
    """Check the new files out in a process of its own: its exit code, and its error if it raised one."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            failpoints._armed, failpoints._log = armed, log
            checkout_write._BATCH_FILES, checkout_write._STREAM_FROM_BYTES = 2, stream_from
            checkout_write._RUN_FILES = 1
            store = Store.open(top / "store", SETTINGS)
            rows = pq.read_table(top / "new.parquet")
            checkout_files(rows, top / "out", store=store, state=top / "state", jobs=jobs, arrangement=arrangement)
            code = 0
        except DatapinError as error:
            os.write(tell, repr(error).encode())
        finally:
            os._exit(code)
    os.close(tell)
    with open(told, "rb") as file:
        said = file.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


@pytest.mark.parametrize(("stream_from", "jobs"), [(1 << 30, 1), (1, 1), (1 << 30, 2)])
def test_a_checkout_killed_anywhere_is_finished_by_the_next(tmp_path: Path, stream_from: int, jobs: int) -> None:
    log = tmp_path / "points"
    assert run(prepared(tmp_path / "clean"), stream_from, jobs=jobs, log=str(log)) == (0, "")
    assert files_below(tmp_path / "clean" / "out") == dict(sorted(NEW.items()))
    hits = log.read_text().split()
    plan = sorted({(name, count) for name in hits for count in {1, hits.count(name)}})
    assert {"checkout.intended", "checkout.file.removed", "checkout.file.written", "checkout.finished"} <= set(hits)
    assert {"base.stat_records.written", "base.stat_records.renamed"} <= set(hits)
    for number, (name, count) in enumerate(plan):
        top = prepared(tmp_path / f"victim{number}")
        assert run(top, stream_from, jobs=jobs, armed=f"{name}:{count}:exit")[0] == 137, f"{name} was not reached"
        seen = {key: data for key, data in files_below(top / "out").items() if ".tmp-" not in key}
        for key, data in seen.items():
            assert data in (OLD.get(key), NEW.get(key)), f"{name}: {key} is neither old nor new"
        assert run(top, stream_from) == (0, ""), name
        assert files_below(top / "out") == dict(sorted(NEW.items())), f"{name}: the rerun differs"
        assert not list((top / "state").glob("*.intent"))


def test_after_a_kill_an_edit_is_still_refused(tmp_path: Path) -> None:
    top = prepared(tmp_path)
    assert run(top, armed="checkout.batch.written:2:exit")[0] == 137
    (top / "out" / "same").write_bytes(b"edited")
    (top / "out" / "a" / "3").write_bytes(b"edited")
    before = {key: data for key, data in files_below(top / "out").items() if ".tmp-" not in key}
    code, error = run(top)
    assert code == 70
    assert error.startswith("UnsavedEdits")
    assert "a/3" in error
    assert files_below(top / "out") == before


def test_a_checkout_killed_twice_on_the_way_to_two_versions_knows_all_its_files(tmp_path: Path) -> None:
    top = prepared(tmp_path)
    assert run(top, armed="checkout.batch.written:2:exit")[0] == 137
    store = Store.open(top / "store", SETTINGS)
    third = {key: data + b"!" for key, data in NEW.items()}
    checkout_files(table_of(store, third), top / "out", store=store, state=top / "state")
    assert files_below(top / "out") == dict(sorted(third.items()))


BIG_OLD = {"one/1": LARGE + b"old", "one/2": LARGE + b"same", "two/1": LARGE + b"goes", "two/2": b"small"}
BIG_NEW = {"one/1": LARGE + b"new", "one/2": LARGE + b"same", "two/2": LARGE + b"grown", "two/3": b"added"}
BY_CLASS = {
    "even/two__2": BIG_NEW["two/2"],
    "even/one__2": BIG_NEW["one/2"],
    "odd/1": BIG_NEW["one/1"],
    "odd/3": b"added",
}


def with_links(top: Path) -> Path:
    """A folder with links to old files at their keys, and the rows of the new ones, by class."""
    store = Store.create(top / "store", SETTINGS)
    checkout_files(
        table_of(store, BIG_OLD), top / "out", store=store, state=top / "state", arrangement=Arrangement(is_linked=True)
    )
    rows = table_of(store, BIG_NEW)
    labels = ["even" if int(key[-1]) % 2 == 0 else "odd" for key in rows["key"].to_pylist()]
    pq.write_table(lay_out(rows.append_column("label", pa.array(labels)), "class", name="new"), top / "new.parquet")
    return top


@pytest.mark.parametrize("is_linked", [True, False])
def test_a_change_of_layout_and_links_killed_anywhere_is_finished_by_the_next(tmp_path: Path, is_linked: bool) -> None:
    log, wanted = tmp_path / "points", Arrangement("class", is_linked)
    assert run(with_links(tmp_path / "clean"), log=str(log), arrangement=wanted) == (0, "")
    assert files_below(tmp_path / "clean" / "out") == dict(sorted(BY_CLASS.items()))
    hits = log.read_text().split()
    assert {"checkout.arranged.renamed", "checkout.intended", "checkout.file.removed", "checkout.finished"} <= set(hits)
    assert ("checkout.file.linked" in hits) == is_linked
    plan = sorted({(point, nth) for point in hits for nth in {1, hits.count(point)}})
    for number, (name, count) in enumerate(plan):
        top = with_links(tmp_path / f"victim{number}")
        assert run(top, armed=f"{name}:{count}:exit", arrangement=wanted)[0] == 137, f"{name} was not reached"
        seen = {key: data for key, data in files_below(top / "out").items() if ".tmp-" not in key}
        for key, data in seen.items():
            assert data in (BIG_OLD.get(key), BY_CLASS.get(key)), f"{name}: {key} is neither old nor new"
        assert run(top, arrangement=wanted) == (0, ""), name
        assert files_below(top / "out") == dict(sorted(BY_CLASS.items())), f"{name}: the rerun differs"
        assert arrangement_of(top / "state", top / "out") == wanted
        store = Store.open(top / "store", SETTINGS)
        assert not store.check()
        for data in (*BIG_OLD.values(), *BIG_NEW.values()):
            assert store.read(AssetId(hashlib.sha256(data).hexdigest())) == data
        inodes = {path.stat().st_ino for path in (top / "store" / "assets").rglob("*")}
        linked = [path for path in (top / "out").rglob("*") if path.stat().st_ino in inodes]
        assert bool(linked) == is_linked, name
        assert all(path.stat().st_mode & 0o222 == 0 for path in linked)
