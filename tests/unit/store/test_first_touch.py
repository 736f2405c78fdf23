"""`verify="first"`: an asset is hashed when a process first reads it, and again only if its file has changed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from datapin.base.errors import DamagedAsset
from datapin.base.id_columns import IdMatrix, ids_from_raw
from datapin.base.settings import StoreSettings
from datapin.store import reader as module
from datapin.store.reader import Reader
from datapin.store.store import Store

ASSETS = [os.urandom(500) + bytes([number]) for number in range(20)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store", StoreSettings())
    with store.filling() as filling:
        for data in ASSETS:
            filling.put(data)
    return store


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the reader hashes from now on."""
    seen: list[bytes] = []

    class Hashes:
        @staticmethod
        def sha256(data: bytes) -> object:
            seen.append(data)
            return hashlib.sha256(data)

    monkeypatch.setattr(module, "hashlib", Hashes)
    return seen


def ids() -> IdMatrix:
    return ids_from_raw(b"".join(hashlib.sha256(data).digest() for data in ASSETS))


def pack_of(store: Store) -> Path:
    (pack,) = [path for path in (Path(store._root) / "packs").rglob("*") if path.is_file()]
    return pack


def damage(pack: Path, reader: Reader, number: int) -> None:
    """Change one byte of the asset in place; the inode's times tell, as those of any writer's."""
    pack.chmod(0o644)
    time.sleep(0.01)
    with pack.open("r+b") as file:
        file.seek(reader._offset[number] + 3)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def test_each_asset_is_hashed_once(store: Store, hashed: list[bytes]) -> None:
    reader = store.reader(ids(), verify="first")
    for _ in range(3):
        assert [reader.read(number) for number in (3, 1, 3, -1)] == [ASSETS[3], ASSETS[1], ASSETS[3], ASSETS[-1]]
    assert sorted(hashed) == sorted([ASSETS[3], ASSETS[1], ASSETS[-1]])


def test_batches_and_single_reads_know_of_each_other(store: Store, hashed: list[bytes]) -> None:
    reader = store.reader(ids(), verify="first")
    assert reader.read_batch([5, 4, 19]) == [ASSETS[5], ASSETS[4], ASSETS[19]]
    assert len(hashed) == 3
    assert [reader.read(number) for number in (4, 19)] == [ASSETS[4], ASSETS[19]]
    assert reader.read_batch(range(20)) == ASSETS
    assert len(hashed) == 20


def test_a_file_that_changed_is_hashed_again_and_damage_is_found(store: Store) -> None:
    reader = store.reader(ids(), verify="first")
    reader.read_batch(range(20))
    damage(pack_of(store), reader, 7)
    assert reader.read(6) == ASSETS[6]
    with pytest.raises(DamagedAsset):
        reader.read(7)
    with pytest.raises(DamagedAsset):
        reader.read_batch([6, 7, 8])


def test_damage_at_the_first_touch_is_found(store: Store) -> None:
    damage(pack_of(store), store.reader(ids()), 7)
    reader = store.reader(ids(), verify="first")
    for _ in range(2):
        with pytest.raises(DamagedAsset):
            reader.read(7)


def test_loose_assets_are_remembered_one_by_one(tmp_path: Path, hashed: list[bytes]) -> None:
    store = Store.create(tmp_path / "store", StoreSettings(large_asset=100, pack_size=1000))
    with store.filling() as filling:
        for data in ASSETS:
            filling.put(data)
    reader = store.reader(ids(), verify="first")
    hashed.clear()
    for _ in range(2):
        assert reader.read_batch([2, 9]) == [ASSETS[2], ASSETS[9]]
    assert len(hashed) == 2
    (loose,) = Path(tmp_path / "store").rglob(hashlib.sha256(ASSETS[9]).hexdigest() + "*")
    loose.chmod(0o644)
    time.sleep(0.01)
    loose.write_bytes(b"x" * len(ASSETS[9]))
    assert reader.read(2) == ASSETS[2]
    with pytest.raises(DamagedAsset):
        reader.read(9)


def test_another_reader_starts_anew(store: Store, hashed: list[bytes]) -> None:
    for _ in range(2):
        store.reader(ids(), verify="first").read(3)
    assert len(hashed) == 2
    store.reader(ids(), verify=False).read(3)
    assert len(hashed) == 2
