"""Reading: located once, verified, another copy tried where one is damaged."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from datapin.base.errors import AssetsMissing, BadAssetId, DamagedAsset, NoRepository, StoreFormat
from datapin.base.ids import AssetId
from datapin.pack.reader import read_stored
from datapin.store import reader as reader_module
from datapin.store.store import Store
from stored import asset_id_of

from .conftest import SMALL, batch_of, file_names, matrix_of


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def open_below(folder: Path) -> list[str]:
    """What this process has open there; other threads may open and close what they want elsewhere."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in found if path.startswith(str(folder))]


def pack_of(store: Store) -> Path:
    return next((store.root / "packs").rglob("*.pack"))


def test_one_asset_reads_back(store: Store) -> None:
    for data in (b"", b"bytes", b"text " * 500, os.urandom(9000)):
        assert store.read(store.put(data)) == data


def test_an_asset_that_is_not_here_is_named(store: Store) -> None:
    absent = asset_id_of(b"absent")
    with pytest.raises(AssetsMissing) as caught:
        store.read(absent)
    assert caught.value.names == (absent,)
    assert caught.value.exit_code == 20
    with pytest.raises(AssetsMissing) as caught:
        store.reader(matrix_of([b"absent", b"absent too"]))
    assert caught.value.count == 2


def test_an_id_is_checked_before_it_becomes_a_path(store: Store) -> None:
    for text in ("../../etc/passwd", "A" * 64, "a" * 63):
        with pytest.raises(BadAssetId):
            store.read(AssetId(text))


def test_a_flipped_bit_is_damage_and_never_wrong_bytes(store: Store) -> None:
    data = os.urandom(500)
    asset_id = store.put(data)
    flip(pack_of(store), 100)
    with pytest.raises(DamagedAsset) as caught:
        store.read(asset_id)
    assert caught.value.exit_code == 21
    with pytest.raises(DamagedAsset):
        store.reader(matrix_of([data])).read(0)
    with pytest.raises(DamagedAsset):
        store.reader(matrix_of([data])).read_batch([0, 0])


def test_a_flipped_bit_in_a_compressed_or_loose_asset_is_damage(store: Store) -> None:
    for data in (b"text " * 800, os.urandom(9000)):
        asset_id = store.put(data)
        folder = "assets" if len(data) > 8192 else "packs"
        path = max((store.root / folder).rglob("*"), key=lambda p: p.is_file() and p.stat().st_mtime_ns)
        flip(path, 20)
        with pytest.raises(DamagedAsset):
            store.read(asset_id)
        with pytest.raises(DamagedAsset):
            store.reader(matrix_of([data])).read(0)


def test_a_pack_cut_off_at_any_length_is_damage(store: Store) -> None:
    data = os.urandom(300)
    asset_id = store.put(data)
    path = pack_of(store)
    for length in range(303, -1, -7):
        os.truncate(path, length)
        with pytest.raises(DamagedAsset):
            store.read(asset_id)
        for verify in (True, False):
            with pytest.raises(DamagedAsset):
                store.reader(matrix_of([data]), verify=verify).read(0)


def test_a_missing_pack_makes_its_assets_missing(store: Store) -> None:
    data = os.urandom(300)
    asset_id = store.put(data)
    pack_of(store).unlink()
    with pytest.raises(AssetsMissing):
        Store.open(store.root, SMALL).read(asset_id)
    with pytest.raises(AssetsMissing):
        Store.open(store.root, SMALL).reader(matrix_of([data])).read(0)


def test_a_missing_loose_asset_is_missing(store: Store) -> None:
    data = os.urandom(9000)
    asset_id = store.put(data)
    next((store.root / "assets").rglob(asset_id)).unlink()
    with pytest.raises(AssetsMissing):
        store.read(asset_id)
    with pytest.raises(AssetsMissing):
        store.reader(matrix_of([data])).read(0)


@pytest.mark.parametrize(
    "data", [os.urandom(700), os.urandom(9000), b"text " * 700], ids=["raw", "loose", "compressed"]
)
@pytest.mark.parametrize("harm", ["flip", "remove"])
def test_putting_a_damaged_asset_again_heals_it(store: Store, source: Path, data: bytes, harm: str) -> None:
    asset_id = store.put(data)
    path = next(p for folder in ("packs", "assets") for p in (store.root / folder).rglob("*") if p.is_file())
    if harm == "flip":
        flip(path, 10)
    else:
        path.unlink()
    (source / "again.bin").write_bytes(data)
    store = Store.open(store.root, SMALL)
    result = store.put_files(batch_of(source), jobs=1)
    assert result.new_assets > 1
    assert store.read(asset_id) == data
    assert Store.open(store.root, SMALL).reader(matrix_of([data])).read(0) == data
    store.rebuild_index()
    assert store.read(asset_id) == data


def test_a_damaged_loose_asset_is_kept_aside_when_it_is_healed(store: Store) -> None:
    data = os.urandom(9000)
    asset_id = store.put(data)
    flip(next((store.root / "assets").rglob(asset_id)), 50)
    damaged = next((store.root / "assets").rglob(asset_id)).read_bytes()
    store.put(data)
    assert store.read(asset_id) == data
    (aside,) = (store.root / "quarantine").iterdir()
    assert aside.name.startswith(asset_id)
    assert aside.read_bytes() == damaged


def test_batches_return_the_asked_order_with_repeats(store: Store, source: Path) -> None:
    batch = batch_of(source)
    ids = store.put_files(batch, jobs=1).ids
    reader = store.reader(ids)
    order = np.random.default_rng(3).integers(0, len(ids), 200).tolist()
    assert reader.read_batch(order) == [reader.read(number) for number in order]
    assert reader.read_batch([]) == []


def test_an_unverified_reader_returns_the_same_bytes(store: Store, source: Path) -> None:
    ids = store.put_files(batch_of(source), jobs=1).ids
    verified, unverified = store.reader(ids), store.reader(ids, verify=False)
    assert [verified.read(n) for n in range(len(ids))] == [unverified.read(n) for n in range(len(ids))]


def test_negative_numbers_count_from_the_end(store: Store) -> None:
    contents = [b"one", b"two", b"three"]
    for data in contents:
        store.put(data)
    assert store.reader(matrix_of(contents)).read(-1) == b"three"


def test_many_threads_share_a_reader_that_may_hold_few_files(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_MOST_OPEN", 2)
    for number in range(40):
        (source / f"noise{number}").write_bytes(os.urandom(3000))
    batch = batch_of(source)
    ids = store.put_files(batch, jobs=1).ids
    contents = [Path(path).read_bytes() for path in batch.paths]
    reader, wrong = store.reader(ids), []

    def read_all(seed: int) -> None:
        for number in np.random.default_rng(seed).permutation(len(ids)).tolist() * 20:
            if reader.read(number) != contents[number]:
                wrong.append(number)

    assert len(file_names(store.root, "packs")) > 20
    threads = [threading.Thread(target=read_all, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 0 < len(open_below(store.root)) <= 6, "threads that come together may each open one too many"


def test_a_reader_works_after_a_fork(store: Store) -> None:
    data = os.urandom(4000)
    store.put(data)
    reader = store.reader(matrix_of([data]))
    reader.read(0)
    child = os.fork()
    if child == 0:
        os._exit(0 if reader.read(0) == data else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert reader.read(0) == data


def test_copying_to_a_file_gives_the_bytes_and_leaves_no_temporary(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for number, data in enumerate((b"small", os.urandom(3 << 20))):
        assert store.copy_to(store.put(data), out / f"{number}") == len(data)
        assert (out / f"{number}").read_bytes() == data
    assert sorted(path.name for path in out.iterdir()) == ["0", "1"]


def test_a_damaged_asset_never_appears_under_its_name(store: Store, tmp_path: Path) -> None:
    asset_id = store.put(os.urandom(9000))
    flip(next((store.root / "assets").rglob(asset_id)), 8999)
    with pytest.raises(DamagedAsset):
        store.copy_to(asset_id, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_store_that_is_not_there_is_not_made_by_opening(tmp_path: Path) -> None:
    with pytest.raises(NoRepository):
        Store.open(tmp_path / "none", SMALL)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("said", ['{"format": 2}', "[]", "{", '{"format": "1"}'])
def test_another_format_is_refused(store: Store, said: str) -> None:
    (store.root / "format.json").write_text(said)
    with pytest.raises(StoreFormat):
        Store.open(store.root, SMALL)


def test_making_a_store_twice_keeps_it(store: Store) -> None:
    asset_id = store.put(b"kept")
    assert Store.create(store.root, SMALL).read(asset_id) == b"kept"


def test_a_store_may_change_what_counts_as_large(store: Store, source: Path) -> None:
    from datapin.base.settings import StoreSettings

    ids = store.put_files(batch_of(source), jobs=1).ids
    other = Store.open(store.root, StoreSettings(large_asset=1 << 20, pack_size=1 << 20))
    assert other.put_files(batch_of(source), jobs=1).new_assets == 0
    third = Store.open(store.root, StoreSettings(large_asset=4096, pack_size=1 << 20))
    assert third.put_files(batch_of(source), jobs=1).new_assets == 0
    assert hashlib.sha256(third.reader(ids).read(0)).digest() == ids[0].tobytes()
    assert file_names(store.root, "assets") != []


def test_many_are_read_in_the_order_in_which_they_lie(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = store.put_files(batch_of(source), jobs=1).ids
    reader = store.reader(ids)
    places: list[tuple[int, int]] = []

    def noted(file: int, offset: int, length: int) -> bytes:
        places.append((file, offset))
        return read_stored(file, offset, length)

    monkeypatch.setattr(reader_module, "read_stored", noted)
    order = np.random.default_rng(1).permutation(len(ids))
    found = reader.read_many(order)
    assert [hashlib.sha256(data).digest() for data in found] == [ids[row].tobytes() for row in order]
    by_file = list(dict.fromkeys(file for file, _ in places))
    assert places == sorted(places, key=lambda one: (by_file.index(one[0]), one[1]))
