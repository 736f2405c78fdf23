"""Copies that are lost or damaged count as missing, so that the next add or fetch writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from datapin.base.errors import AssetsMissing, DamagedAsset
from datapin.store.store import Store

from .conftest import SMALL, batch_of, matrix_of
from .test_reading import flip, pack_of


def test_a_copy_that_was_read_damaged_counts_as_missing_until_it_is_put_again(store: Store) -> None:
    data, other = os.urandom(500), os.urandom(300)
    with store.filling() as filling:
        asset_id = filling.put(data)
        filling.put(other)
    path = pack_of(store)
    flip(path, path.read_bytes().index(data))
    ids = matrix_of([data, other])
    before = store.index_state
    assert not store.missing(ids).any(), "nobody has read it yet"
    with pytest.raises(DamagedAsset):
        store.reader(ids).read(0)
    assert store.missing(ids).tolist() == [True, False], "only the copy that is damaged"
    assert "1 asset(s) in it were damaged" in store.check()[0].message
    assert store.index_state != before
    assert Store.open(store.root, SMALL).missing(ids).tolist() == [True, False], "other processes know it"
    with pytest.raises(AssetsMissing):
        store.reader(ids, only_good=True)
    with pytest.raises(DamagedAsset):
        store.read(asset_id)
    store.put(data)
    assert not store.missing(ids).any()
    assert store.reader(ids).read_batch([0, 1]) == [data, other]
    store.rebuild_index()
    assert store.reader(ids).read_batch([0, 1]) == [data, other]


@pytest.mark.parametrize("size", [500, 9000], ids=["packed", "loose"])
@pytest.mark.parametrize("harm", ["lost", "cut off", "emptied"])
def test_a_file_that_is_lost_or_cut_off_is_seen_without_reading_it(
    store: Store, source: Path, size: int, harm: str
) -> None:
    data = os.urandom(size)
    store.put(data)
    ids = matrix_of([data])
    assert not store.missing(ids).any()
    path = next(p for folder in ("packs", "assets") for p in (store.root / folder).rglob("*") if p.is_file())
    path.unlink() if harm == "lost" else os.truncate(path, 0 if harm == "emptied" else 200)
    again = Store.open(store.root, SMALL)
    assert again.missing(ids).all()
    if harm == "lost":
        assert store.missing(ids).all(), "also by a process that knew it before"
    (source / "again.bin").write_bytes(data)
    again.put_files(batch_of(source), jobs=1)
    assert not again.missing(ids).any()
    assert again.reader(ids).read(0) == data
    assert [one for one in again.check() if one.severity == "error"] == []
    again.rebuild_index()
    assert again.check() == []


def test_a_loose_asset_found_damaged_is_replaced(store: Store, tmp_path: Path) -> None:
    data = os.urandom(9000)
    asset_id = store.put(data)
    flip(next((store.root / "assets").rglob(asset_id)), 50)
    with pytest.raises(DamagedAsset):
        store.copy_to(asset_id, tmp_path / "out")
    assert store.missing(matrix_of([data])).all()
    store.put(data)
    store.copy_to(asset_id, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


def test_a_pack_that_was_healed_by_another_process_is_read_again(store: Store) -> None:
    data = os.urandom(500)
    asset_id = store.put(data)
    path = pack_of(store)
    good = path.read_bytes()
    flip(path, 100)
    with pytest.raises(DamagedAsset):
        store.read(asset_id)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(good)
    fresh.rename(path)
    assert store.read(asset_id) == data
    assert store.missing(matrix_of([data])).all(), "the note is still there"
    store.rebuild_index()
    assert not store.missing(matrix_of([data])).any()


def test_a_note_that_is_cut_off_or_strange_harms_nothing(store: Store) -> None:
    data = os.urandom(500)
    store.put(data)
    folder = store.root / "damaged"
    folder.mkdir()
    for name, text in ((f"{pack_of(store).stem}.pack", b"x" * 31), ("zz.pack", b""), ("ab.asset", b""), ("x", b"y")):
        (folder / name).write_bytes(text)
    assert not store.missing(matrix_of([data])).any()


def test_what_no_index_names_is_taken_in(store: Store, source: Path) -> None:
    ids = store.put_files(batch_of(source), jobs=1).ids
    assert not store.take_in_strays()
    for path in (store.root / "index").iterdir():
        path.unlink()
    assert store.missing(ids).all()
    assert store.take_in_strays()
    assert not store.missing(ids).any()
    assert not np.any([store.take_in_strays()])
