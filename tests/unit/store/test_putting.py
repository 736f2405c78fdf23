"""Putting files: read once, deduplicated, packed in key order, published all or nothing."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from datapin.base.errors import SourcesRefused, StorageFailed
from datapin.base.settings import StoreSettings
from datapin.store.adding import put
from datapin.store.store import FileBatch, Store

from .conftest import SMALL, batch_of, file_names, matrix_of


def contents_of(batch: FileBatch) -> list[bytes]:
    return [Path(path).read_bytes() for path in batch.paths]


@pytest.fixture(params=["in this process", "in worker processes"])
def jobs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Both ways of putting: they must not differ."""
    if request.param == "in this process":
        return 1
    monkeypatch.setattr(put, "PARALLEL_FROM_FILES", 1)
    return 2


def test_ids_sizes_and_stats_come_back_in_input_order(store: Store, source: Path, jobs: int) -> None:
    batch = batch_of(source)
    result = store.put_files(batch, jobs=jobs)
    contents = contents_of(batch)
    assert (result.ids == matrix_of(contents)).all()
    assert result.sizes.tolist() == [len(data) for data in contents]
    stats = [os.stat(path) for path in batch.paths]
    assert result.stats.tolist() == [[s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for s in stats]
    assert result.new_assets == len(set(contents))
    assert result.new_bytes == sum(map(len, set(contents)))


def test_everything_put_reads_back(store: Store, source: Path, jobs: int) -> None:
    batch = batch_of(source)
    result = store.put_files(batch, jobs=jobs)
    reader = store.reader(result.ids)
    assert [reader.read(number) for number in range(len(batch.paths))] == contents_of(batch)


def test_large_assets_lie_loose_and_small_ones_in_packs_of_the_set_size(store: Store, source: Path, jobs: int) -> None:
    store.put_files(batch_of(source), jobs=jobs)
    large = hashlib.sha256((source / "large.bin").read_bytes()).hexdigest()
    assert file_names(store.root, "assets") == [large]
    packs = list((store.root / "packs").rglob("*.pack"))
    assert len(packs) > 2
    assert all(path.stat().st_size < 5000 + 8192 + 10_000 for path in packs)


def test_packs_are_named_by_their_bytes(store: Store, source: Path, jobs: int) -> None:
    store.put_files(batch_of(source), jobs=jobs)
    for path in (store.root / "packs").rglob("*.pack"):
        assert path.name == hashlib.sha256(path.read_bytes()).hexdigest() + ".pack"
        assert path.parent.name == path.name[:2]


def test_putting_again_writes_nothing(store: Store, source: Path, jobs: int) -> None:
    store.put_files(batch_of(source), jobs=jobs)
    before = sorted(store.root.rglob("*"))
    state = store.index_state
    again = store.put_files(batch_of(source), jobs=jobs)
    assert (again.new_assets, again.new_bytes) == (0, 0)
    assert sorted(store.root.rglob("*")) == before
    assert store.index_state == state


def test_only_new_files_are_written(store: Store, source: Path, jobs: int) -> None:
    store.put_files(batch_of(source), jobs=jobs)
    (source / "new.bin").write_bytes(b"never seen")
    again = store.put_files(batch_of(source), jobs=jobs)
    assert (again.new_assets, again.new_bytes) == (1, 10)
    assert len(file_names(store.root, "index")) == 2


def test_a_large_file_of_a_known_size_but_other_bytes_is_new(store: Store, source: Path, jobs: int) -> None:
    store.put_files(batch_of(source), jobs=jobs)
    (source / "large2.bin").write_bytes(os.urandom(50_000))
    result = store.put_files(batch_of(source), jobs=jobs)
    assert result.new_assets == 1
    assert len(file_names(store.root, "assets")) == 2


def test_assets_keep_key_order_in_their_packs(store: Store, source: Path) -> None:
    batch = batch_of(source)
    ids = store.put_files(batch, jobs=1).ids
    places = store.locate(ids)
    seen = [(int(p), int(o)) for p, o, size in zip(places.pack, places.offset, places.length, strict=True) if size]
    by_pack: dict[int, list[int]] = {}
    for pack, offset in dict.fromkeys(seen):
        if pack >= 0:
            by_pack.setdefault(pack, []).append(offset)
    same = seen.index((int(places.pack[-1]), int(places.offset[-1])))  # same.bin comes last, its twin earlier
    assert same < len(seen) - 1
    assert all(offsets == sorted(offsets) for offsets in by_pack.values())


def test_no_staged_file_is_left(store: Store, source: Path, jobs: int) -> None:
    store.put_files(batch_of(source), jobs=jobs)
    assert not [path for path in store.root.rglob("*") if path.name.startswith(".tmp-")]


def test_an_empty_batch_is_fine(store: Store) -> None:
    result = store.put_files(FileBatch([], [], np.empty(0, dtype=np.int64)), jobs=2)
    assert result.ids.shape == (0, 32)
    assert result.new_assets == 0


def test_a_name_that_is_not_utf8_is_read(store: Store, tmp_path: Path, jobs: int) -> None:
    folder = os.fsencode(tmp_path) + b"/odd"
    os.mkdir(folder)
    for name in (b"\xff\xfe", b"plain"):
        with open(folder + b"/" + name, "wb") as file:
            file.write(b"bytes of " + name)
    batch = batch_of(tmp_path / "odd")
    result = store.put_files(batch, jobs=jobs)
    assert store.reader(result.ids).read(1) == b"bytes of \xff\xfe"


def make_bad_sources(folder: Path) -> dict[str, str]:
    os.mkfifo(folder / "class0" / "fifo")
    os.symlink("000.bin", folder / "class0" / "link")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "sock"))
    return {
        "class0/fifo": "is a fifo, not a file",
        "class0/gone": "No such file or directory",
        "class0/link": "is a symbolic link",
        "sock": "is a socket, not a file",
    }


def test_one_error_lists_every_bad_source_and_nothing_is_published(
    store: Store, source: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)  # a socket's path must be short
    expected = make_bad_sources(Path("source"))
    batch = batch_of(source)
    paths, names = list(batch.paths), list(batch.names)
    place = names.index("class0/link")
    paths.insert(place, str(source / "class0" / "gone"))
    names.insert(place, "class0/gone")
    with pytest.raises(SourcesRefused) as caught:
        store.put_files(FileBatch(paths, names, np.insert(batch.sizes, place, 5)), jobs=jobs)
    assert caught.value.problems == tuple(f"{name}: {problem}" for name, problem in expected.items())
    assert file_names(store.root, "packs") == file_names(store.root, "index") == file_names(store.root, "assets") == []
    assert not [path for path in store.root.iterdir() if path.name.startswith(".tmp-")]


def test_a_device_is_refused(store: Store) -> None:
    with pytest.raises(SourcesRefused, match="/dev/zero: is a device"):
        store.put_files(FileBatch(["/dev/zero"], ["/dev/zero"], np.zeros(1, dtype=np.int64)), jobs=1)


def test_a_folder_in_place_of_a_file_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SourcesRefused, match="is a folder"):
        store.put_files(FileBatch([str(tmp_path)], ["x"], np.zeros(1, dtype=np.int64)), jobs=1)


@pytest.mark.parametrize("size", [3000, 60_000])
def test_a_file_that_never_stops_changing_is_refused_by_name(
    store: Store, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:

    path = tmp_path / "busy.bin"
    path.write_bytes(bytes(size))
    real, real_into, times = os.read, os.readv, iter(range(1000))

    def read_then_touch(number: int, length: int) -> bytes:
        os.utime(path, ns=(0, next(times)))
        return real(number, length)

    def read_into_then_touch(number: int, buffers: Sequence[bytearray | memoryview]) -> int:
        os.utime(path, ns=(0, next(times)))
        return real_into(number, buffers)

    monkeypatch.setattr(os, "read", read_then_touch)
    monkeypatch.setattr(os, "readv", read_into_then_touch)
    with pytest.raises(SourcesRefused, match="busy: changed while it was read, 3 times"):
        store.put_files(FileBatch([str(path)], ["busy"], np.array([size])), jobs=1)
    assert 3 <= next(times) <= 20
    assert file_names(store.root, "index") == file_names(store.root, "assets") == []


def test_a_file_that_changes_once_is_read_again(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    path = tmp_path / "file.bin"
    path.write_bytes(b"before")
    real = os.read
    calls: list[int] = []

    def read_then_change(number: int, length: int) -> bytes:
        data = real(number, length)
        if not calls:
            path.write_bytes(b"after, and longer")
        calls.append(length)
        return data

    monkeypatch.setattr(os, "read", read_then_change)
    result = store.put_files(FileBatch([str(path)], ["file"], np.array([6])), jobs=1)
    monkeypatch.undo()
    assert store.reader(result.ids).read(0) == b"after, and longer"
    assert result.sizes.tolist() == [17]
    assert len(calls) >= 2


def test_two_processes_adding_at_once_both_succeed(tmp_path: Path, source: Path) -> None:
    Store.create(tmp_path / "store", SMALL)
    other = tmp_path / "other"
    other.mkdir()
    for number in range(300):
        (other / f"{number:03d}").write_bytes(b"other" + bytes([number % 256]) * number)
    script = """
import sys
from pathlib import Path
import numpy as np, os
from datapin.base.settings import StoreSettings
from datapin.store.store import FileBatch, Store
store = Store.open(Path(sys.argv[1]), StoreSettings(large_asset=8192, pack_size=5000))
paths = sorted(str(p) for p in Path(sys.argv[2]).rglob("*") if p.is_file())
for start in range(0, len(paths), 40):
    part = paths[start:start + 40]
    store.put_files(FileBatch(part, part, np.array([os.stat(p).st_size for p in part])), jobs=1)
"""
    adders = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "store"), str(folder)])
        for folder in (source, other, source)
    ]
    store = Store.open(tmp_path / "store", SMALL)
    while any(adder.poll() is None for adder in adders):
        index = store.index  # a reader beside the writers never meets a half-published entry
        if len(index):
            reader = store.reader(index.entries.ids)
            for number in range(0, len(index), 7):
                reader.read(number)
        time.sleep(0.005)
    assert [adder.returncode for adder in adders] == [0, 0, 0]
    contents = [*contents_of(batch_of(source)), *contents_of(batch_of(other))]
    assert not store.missing(matrix_of(contents)).any()
    reader = store.reader(matrix_of(contents))
    assert [reader.read(number) for number in range(len(contents))] == contents
    assert store.check() == []


def test_a_killed_worker_is_reported_and_nothing_is_published(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datapin.base.errors import WorkersLost

    monkeypatch.setattr(put, "PARALLEL_FROM_FILES", 1)
    monkeypatch.setenv("DATAPIN_FAILPOINT", "store.pack.synced:1:exit")
    with pytest.raises(WorkersLost):
        store.put_files(batch_of(source), jobs=2)
    assert file_names(store.root, "index") == file_names(store.root, "packs") == []
    assert not [path for path in store.root.iterdir() if path.name.startswith(".tmp-")]


def test_a_full_disk_in_a_worker_is_reported_and_nothing_is_published(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(put, "PARALLEL_FROM_FILES", 1)
    monkeypatch.setenv("DATAPIN_FAILPOINT", "store.pack.written:1:oserror=28")
    with pytest.raises(StorageFailed, match="No space left"):
        store.put_files(batch_of(source), jobs=2)
    assert file_names(store.root, "index") == file_names(store.root, "packs") == []


def test_many_files_go_to_workers_by_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(2300):
        (folder / f"{number:05d}").write_bytes(b"%d" % (number // 2))
    store = Store.create(tmp_path / "store", StoreSettings())
    result = store.put_files(batch_of(folder), jobs=2)
    assert result.new_assets == 1150
    assert (result.ids[::2] == result.ids[1::2]).all()
    assert store.reader(result.ids).read(2299) == b"1149"


def test_what_dead_writers_left_behind_is_swept_and_what_living_ones_hold_is_not(store: Store, source: Path) -> None:
    from datapin.store.adding.staging import staging_directory, sweep_staging

    dead = store.root / ".tmp-1-dead"
    dead.mkdir()
    (dead / "pack").write_bytes(b"half")
    with staging_directory(str(store.root)) as living:
        for path in (dead, Path(living)):
            os.utime(path, (0, 0))
        assert sweep_staging(str(store.root)) == 1
        assert Path(living).is_dir()
    assert not dead.exists()


def test_a_young_directory_is_not_swept(store: Store) -> None:
    (store.root / ".tmp-1-young").mkdir()
    store.put(b"x")
    assert (store.root / ".tmp-1-young").is_dir()
