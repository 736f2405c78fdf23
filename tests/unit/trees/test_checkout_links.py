"""Checkout with links: large assets get a second, read-only name; an edit through it is found out, never passed on."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datapin.base.errors import AssetsMissing, DamagedAsset, UnsavedEdits
from datapin.base.ids import AssetId
from datapin.base.settings import StoreSettings
from datapin.store.store import FileBatch, Store
from datapin.trees.checkout.checkout import CheckoutReport, checkout_files
from datapin.trees.checkout.state import Arrangement, arrangement_of

SETTINGS = StoreSettings(large_asset=4096, pack_size=8192)
LINKED = Arrangement(is_linked=True)
BIG, OTHER = bytes(range(256)) * 20, bytes(reversed(range(256))) * 20
FILES = {"a/big": BIG, "a/small": b"small", "b/twin": BIG, "c/other": OTHER}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", SETTINGS)


def rows_of(store: Store, contents: Mapping[str, bytes]) -> pa.Table:
    with store.filling() as filling:
        ids = [filling.put(data) for data in contents.values()]
    return pa.table(
        {"key": list(contents), "asset_id": ids, "size": [len(data) for data in contents.values()]}
    ).sort_by("key")


def check_out(
    store: Store, contents: Mapping[str, bytes], arrangement: Arrangement | None = LINKED, *, force: bool = False
) -> CheckoutReport:
    top = store.root.parent
    rows = rows_of(store, contents)
    return checkout_files(rows, top / "out", store=store, state=top / "state", arrangement=arrangement, force=force)


def contents_of(top: Path) -> dict[str, bytes]:
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def loose_file(store: Store, data: bytes) -> Path:
    return store.loose_path(bytes.fromhex(store.put(data)))


def overwrite(path: Path, data: bytes) -> None:
    """What a program does that insists: it takes the right to write, and writes in place."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(data)


def test_large_assets_are_linked_read_only_and_small_ones_copied(store: Store, tmp_path: Path) -> None:
    assert check_out(store, FILES) == CheckoutReport(written=4, removed=0, unchanged=0, bytes=5, linked=3)
    assert contents_of(tmp_path / "out") == FILES
    big, inode = tmp_path / "out" / "a" / "big", loose_file(store, BIG).stat().st_ino
    assert {big.stat().st_ino, (tmp_path / "out" / "b" / "twin").stat().st_ino} == {inode}
    assert big.stat().st_mode & 0o222 == 0
    assert (tmp_path / "out" / "a" / "small").stat().st_mode & 0o200


def test_a_second_checkout_over_links_writes_nothing(store: Store, tmp_path: Path) -> None:
    check_out(store, FILES)
    assert check_out(store, FILES) == CheckoutReport(written=0, removed=0, unchanged=4, bytes=0)
    assert check_out(store, FILES, None).unchanged == 4


def test_another_version_takes_links_away_and_leaves_the_store_whole(store: Store, tmp_path: Path) -> None:
    check_out(store, FILES)
    report = check_out(store, {"a/big": OTHER, "a/small": b"other"}, None)
    assert (report.written, report.removed, report.linked) == (2, 2, 1), "links are remembered"
    assert contents_of(tmp_path / "out") == {"a/big": OTHER, "a/small": b"other"}
    assert (store.read(store.put(BIG)), store.read(store.put(OTHER))) == (BIG, OTHER)


def test_without_links_new_files_are_copies_again(store: Store, tmp_path: Path) -> None:
    check_out(store, {"x": BIG})
    assert check_out(store, {"x": OTHER}, Arrangement()).linked == 0
    assert arrangement_of(tmp_path / "state", tmp_path / "out") == Arrangement()
    assert check_out(store, {"x": BIG}, None).linked == 0
    assert (tmp_path / "out" / "x").stat().st_mode & 0o200


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_where_links_cannot_be_made_files_are_copied(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    rows = rows_of(store, FILES)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    report = checkout_files(rows, tmp_path / "out", store=store, state=tmp_path / "state", arrangement=LINKED)
    assert (report.written, report.linked, report.bytes) == (4, 0, sum(map(len, FILES.values())))
    assert contents_of(tmp_path / "out") == FILES
    assert (tmp_path / "out" / "a" / "big").stat().st_mode & 0o200


def test_somebody_elses_asset_is_copied(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(store, FILES)

    def refuse(number: int, mode: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchmod", refuse)
    report = checkout_files(rows, tmp_path / "out", store=store, state=tmp_path / "state", arrangement=LINKED)
    assert (report.written, report.linked) == (4, 0)
    assert contents_of(tmp_path / "out") == FILES
    assert loose_file(store, BIG).stat().st_nlink == 1, "no half-made link stays"


def test_a_store_whose_asset_is_a_symbolic_link_is_copied_from(store: Store, tmp_path: Path) -> None:
    rows = rows_of(store, {"x": BIG})
    asset = loose_file(store, BIG)
    asset.rename(tmp_path / "elsewhere")
    asset.symlink_to(tmp_path / "elsewhere")
    report = checkout_files(rows, tmp_path / "out", store=store, state=tmp_path / "state", arrangement=LINKED)
    assert (report.written, report.linked) == (1, 0)
    assert not (tmp_path / "out" / "x").is_symlink()
    assert (tmp_path / "elsewhere").stat().st_mode & 0o200


def test_an_edit_through_a_link_is_refused_by_name_and_found_by_every_reader(store: Store, tmp_path: Path) -> None:
    check_out(store, FILES)
    overwrite(tmp_path / "out" / "a" / "big", b"EDIT")
    rows = pa.table({"key": ["a/big"], "asset_id": [store.put(OTHER)], "size": [len(OTHER)]})
    with pytest.raises(UnsavedEdits) as caught:
        checkout_files(rows, tmp_path / "out", store=store, state=tmp_path / "state")
    assert set(caught.value.names) == {"a/big", "b/twin"}, "both names of the file show the edit"
    asset_id = AssetId(hashlib.sha256(BIG).hexdigest())
    with pytest.raises(DamagedAsset):
        store.read(asset_id)
    with pytest.raises(AssetsMissing):  # damage that was seen counts as missing, so that it is fetched anew
        checkout_files(
            pa.table({"key": ["x"], "asset_id": [asset_id], "size": [len(BIG)]}),
            tmp_path / "fresh",
            store=store,
            state=tmp_path / "state",
            arrangement=LINKED,
        )
    assert contents_of(tmp_path / "fresh") == {}, "the edited bytes never pass for the asset"


def test_adding_the_good_file_again_heals_the_store_and_keeps_the_edit(store: Store, tmp_path: Path) -> None:
    check_out(store, {"x": BIG})
    (tmp_path / "good").write_bytes(BIG)
    overwrite(tmp_path / "out" / "x", b"EDIT")
    files = FileBatch([str(tmp_path / "good")], ["good"], np.array([len(BIG)], np.int64))
    asset_id = AssetId(store.put_files(files, jobs=1).ids[0].tobytes().hex())
    assert store.read(asset_id) == BIG
    assert (tmp_path / "out" / "x").read_bytes() == b"EDIT" + BIG[4:]


def test_a_linked_file_can_be_added_again(store: Store, tmp_path: Path) -> None:
    check_out(store, {"x": BIG})
    files = FileBatch([str(tmp_path / "out" / "x")], ["x"], np.array([len(BIG)], np.int64))
    assert store.put_files(files, jobs=1).new_assets == 0
    assert store.read(store.put(BIG)) == BIG


def test_a_damaged_asset_is_never_linked(store: Store, tmp_path: Path) -> None:
    rows = rows_of(store, {"x": BIG})
    overwrite(loose_file(store, BIG), b"EDIT")
    with pytest.raises(DamagedAsset):
        checkout_files(rows, tmp_path / "out", store=store, state=tmp_path / "state", arrangement=LINKED)
    assert contents_of(tmp_path / "out") == {}


def test_a_link_takes_the_place_of_an_edited_file_only_with_force(store: Store, tmp_path: Path) -> None:
    check_out(store, {"x": b"small"})
    (tmp_path / "out" / "x").write_bytes(b"edited")
    with pytest.raises(UnsavedEdits, match="x"):
        check_out(store, {"x": BIG})
    assert check_out(store, {"x": BIG}, force=True).linked == 1
    assert contents_of(tmp_path / "out") == {"x": BIG}


def test_the_arrangement_of_a_folder_that_is_gone_is_forgotten(store: Store, tmp_path: Path) -> None:
    check_out(store, {"x": BIG})
    assert arrangement_of(tmp_path / "state", tmp_path / "out") == LINKED
    (tmp_path / "out" / "x").unlink()
    (tmp_path / "out").rmdir()
    assert check_out(store, {"x": BIG}, None).linked == 0


@pytest.mark.parametrize("text", ["{", "[]", '{"layout": "spiral"}', '{"layout": "class", "is_linked": 3}', '{"x": 1}'])
def test_a_damaged_note_of_the_arrangement_counts_as_none(store: Store, tmp_path: Path, text: str) -> None:
    check_out(store, {"x": BIG})
    (note,) = (tmp_path / "state").glob("*.json")
    note.write_text(text)
    assert arrangement_of(tmp_path / "state", tmp_path / "out") == Arrangement()
