"""The stat cache: what it vouches for, and every way in which it must not."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datapin.trees.intake.walk import FoundFiles, clock_margin_ns, walk
from datapin.trees.stat_records import StatRecords, read_stat_records, write_stat_records

SECOND = 1_000_000_000


def ids_of(found: FoundFiles) -> np.ndarray:
    raw = b"".join(hashlib.sha256(Path(path).read_bytes()).digest() for path in found.paths())
    return np.frombuffer(raw, np.uint8).reshape(-1, 32)


def remember(path: Path, found: FoundFiles, **changes: int) -> None:
    settled = changes.get("settled_before_ns", found.settled_before_ns)
    write_stat_records(path, StatRecords(found.keys, found.stats, ids_of(found), settled_before_ns=settled, stamp="v1"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Files that are older than any clock's tick."""
    folder = tmp_path / "src"
    for number in range(5):
        path = folder / f"c{number % 2}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number * 10)
    time.sleep(0.15)
    return folder


def test_unchanged_files_are_trusted_with_their_ids(tmp_path: Path, source: Path) -> None:
    found = walk([source])
    remember(tmp_path / "cache", found)
    cache = read_stat_records(tmp_path / "cache")
    found = walk([source])
    mask, ids = cache.match(found.keys, found.stats)
    assert mask.all()
    assert np.array_equal(ids, ids_of(found))
    assert cache.stamp == "v1"
    assert len(cache) == 5


def test_added_changed_and_removed_files_are_told_apart(tmp_path: Path, source: Path) -> None:
    before = walk([source])
    remember(tmp_path / "cache", before)
    (source / "c0" / "0.bin").unlink()
    (source / "c1" / "1.bin").write_bytes(b"changed")
    (source / "a-new").write_bytes(b"new")
    after = walk([source])
    mask, ids = read_stat_records(tmp_path / "cache").match(after.keys, after.stats)
    trusted = dict(zip(after.keys.to_pylist(), mask.tolist(), strict=True))
    assert trusted == {"a-new": False, "c0/2.bin": True, "c0/4.bin": True, "c1/1.bin": False, "c1/3.bin": True}
    assert np.array_equal(ids[mask], ids_of(after)[mask])
    assert not ids[~mask].any()


def test_an_edit_of_the_same_size_with_its_time_set_back_is_seen(tmp_path: Path, source: Path) -> None:
    remember(tmp_path / "cache", walk([source]))
    victim = source / "c0" / "0.bin"
    old = victim.stat()
    with victim.open("r+b") as file:
        file.write(b"X" * old.st_size)
    os.utime(victim, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert victim.stat().st_mtime_ns == old.st_mtime_ns
    found = walk([source])
    mask, _ = read_stat_records(tmp_path / "cache").match(found.keys, found.stats)
    assert not mask[found.keys.to_pylist().index("c0/0.bin")]
    assert mask.sum() == 4


def test_files_written_just_before_the_walk_are_not_trusted(tmp_path: Path, source: Path) -> None:
    # An edit within the same tick of the file system's clock would leave the stat as it is.
    for _ in range(100):  # on a busy machine the walk may come too late to be just after
        (source / "fresh").write_bytes(b"12345")
        found = walk([source])
        if found.settled_before_ns <= (source / "fresh").stat().st_ctime_ns:
            break
    remember(tmp_path / "cache", found)
    mask, _ = read_stat_records(tmp_path / "cache").match(found.keys, found.stats)
    trusted = dict(zip(found.keys.to_pylist(), mask.tolist(), strict=True))
    assert trusted.pop("fresh") is False
    assert all(trusted.values())


def test_a_file_edited_between_walk_and_reading_is_not_trusted(tmp_path: Path, source: Path) -> None:
    found = walk([source])
    victim = source / "c0" / "0.bin"
    time.sleep(0.1)
    victim.write_bytes(b"X" * 10)
    stats = found.stats.copy()
    seen = victim.stat()
    stats[0] = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]  # as the store's fstat reports it
    write_stat_records(
        tmp_path / "cache",
        StatRecords(found.keys, stats, ids_of(found), settled_before_ns=found.settled_before_ns, stamp=""),
    )
    again = walk([source])
    mask, _ = read_stat_records(tmp_path / "cache").match(again.keys, again.stats)
    assert mask.tolist() == [False, True, True, True, True]


@pytest.mark.parametrize("age_s", [0, 1, 2])
def test_where_times_are_whole_seconds_two_more_are_waited_for(age_s: int) -> None:
    now = 1_700_000_000 * SECOND
    stats = np.array([[4, now - age_s * SECOND, now - age_s * SECOND, 7]], np.int64)
    keys = pa.array(["a"], pa.string())
    records = StatRecords(keys, stats, np.ones((1, 32), np.uint8), settled_before_ns=now)
    assert not records.match(keys, stats)[0].any()
    older = stats - np.array([0, 3 * SECOND, 3 * SECOND, 0])
    assert StatRecords(keys, older, records.ids, settled_before_ns=now).match(keys, older)[0].all()


def test_a_file_dated_into_the_future_is_never_trusted() -> None:
    now = time.time_ns()
    stats = np.array([[4, now + 3600 * SECOND, now - 3600 * SECOND + 1, 7]], np.int64)
    keys = pa.array(["a"], pa.string())
    records = StatRecords(keys, stats, np.ones((1, 32), np.uint8), settled_before_ns=now)
    assert not records.match(keys, stats)[0].any()


@pytest.mark.parametrize("column", [0, 1, 2, 3])
def test_each_part_of_the_stat_counts(column: int) -> None:
    stats = np.array([[4, 5 * SECOND + 1, 6 * SECOND + 1, 7], [8, SECOND + 1, SECOND + 1, 2]], np.int64)
    keys = pa.array(["a", "b"], pa.string())
    records = StatRecords(keys, stats, np.ones((2, 32), np.uint8), settled_before_ns=10**18)
    other = stats.copy()
    other[0, column] += 1
    assert records.match(keys, other)[0].tolist() == [False, True]


def test_no_cache_trusts_nothing(tmp_path: Path, source: Path) -> None:
    cache = read_stat_records(tmp_path / "absent")
    found = walk([source])
    mask, ids = cache.match(found.keys, found.stats)
    assert len(cache) == 0
    assert not mask.any()
    assert ids.shape == (5, 32)


def test_an_empty_walk_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    found = walk([tmp_path / "src"])
    write_stat_records(
        tmp_path / "cache",
        StatRecords(found.keys, found.stats, np.empty((0, 32), np.uint8), settled_before_ns=1, stamp="x"),
    )
    assert read_stat_records(tmp_path / "cache").stamp == "x"


def test_a_damaged_cache_counts_as_none_at_every_flipped_byte_and_length(tmp_path: Path) -> None:
    stats = np.arange(12, dtype=np.int64).reshape(3, 4)
    keys = pa.array(["a", "bé", "ccc/d"], pa.string())
    ids = np.arange(96, dtype=np.uint8).reshape(3, 32)
    path = tmp_path / "cache"
    write_stat_records(path, StatRecords(keys, stats, ids, settled_before_ns=5, stamp="note"))
    whole = path.read_bytes()
    read = read_stat_records(path)
    assert read.keys.equals(keys)
    assert np.array_equal(read.stats, stats)
    assert np.array_equal(read.ids, ids)
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert len(read_stat_records(path)) == 0, position
        path.write_bytes(whole[:position])
        assert len(read_stat_records(path)) == 0, position
    path.write_bytes(whole + b"x")
    assert len(read_stat_records(path)) == 0


def test_a_cache_that_is_a_folder_counts_as_none(tmp_path: Path) -> None:
    assert len(read_stat_records(tmp_path)) == 0


def test_a_slice_of_keys_is_written_as_what_it_shows(tmp_path: Path) -> None:
    keys = pa.array(["skip", "a", "b", "skip"], pa.string())[1:3]
    stats = np.zeros((2, 4), np.int64)
    write_stat_records(tmp_path / "c", StatRecords(keys, stats, np.zeros((2, 32), np.uint8), settled_before_ns=0))
    assert read_stat_records(tmp_path / "c").keys.to_pylist() == ["a", "b"]


def test_a_device_that_no_mount_table_names_gets_the_margin_of_a_foreign_clock(tmp_path: Path) -> None:
    assert clock_margin_ns(frozenset({tmp_path.stat().st_dev})) < SECOND
    assert clock_margin_ns(frozenset({os.makedev(4000, 4000)})) >= 10 * SECOND
