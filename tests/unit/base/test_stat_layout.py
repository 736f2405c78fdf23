"""The file of stat records, read whole, by its heading and in part: the same records, or none."""

from __future__ import annotations

import dataclasses
from itertools import combinations_with_replacement, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datapin.trees.stat_layout import read_heading, read_range, read_sections
from datapin.trees.stat_records import StatRecords, read_stat_records, write_stat_records

KEYS = ["a", "b/ü", "b/c/d", "long/" + "x" * 300, "z"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    count = len(KEYS)
    stats = np.arange(4 * count, dtype=np.int64).reshape(-1, 4) * 10**17
    ids = np.arange(32 * count, dtype=np.uint8).reshape(-1, 32)
    records = StatRecords(pa.array(["no", *KEYS]).slice(1), stats, ids, settled_before_ns=7, stamp="of the writer")
    write_stat_records(tmp_path / "records", records)
    return tmp_path / "records"


def test_records_come_back_as_they_were_written(path: Path) -> None:
    records = read_stat_records(path)
    assert records.keys.to_pylist() == KEYS
    assert records.stats.tolist() == (np.arange(4 * len(KEYS)).reshape(-1, 4) * 10**17).tolist()
    assert (records.settled_before_ns, records.stamp) == (7, "of the writer")
    heading = read_heading(path)
    assert heading is not None
    assert records.checksum == heading.checksum


@pytest.mark.parametrize(("first", "last"), list(combinations_with_replacement(range(len(KEYS) + 1), 2)))
def test_a_range_holds_the_records_between(path: Path, first: int, last: int) -> None:
    heading = read_heading(path)
    assert heading is not None
    part = read_range(path, heading, first, last)
    assert part is not None
    ends = [0, *(end - part.start for end in part.ends)]
    assert [part.keys[a:b].decode() for a, b in pairwise(ends)] == KEYS[first:last]
    assert list(part.stats) == [n * 10**17 for n in range(4 * first, 4 * last)]


def test_a_range_of_a_file_that_was_replaced_is_none(path: Path) -> None:
    heading = read_heading(path)
    assert heading is not None
    assert read_range(path, dataclasses.replace(heading, checksum=bytes(32)), 0, 1) is None
    path.unlink()
    assert read_range(path, heading, 0, 1) is None
    assert read_heading(path) is None


@pytest.mark.parametrize("length", [0, 7, 71, 72, 200, -1])
def test_a_file_that_was_cut_off_holds_nothing(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    assert read_heading(path) is None
    assert read_sections(path) is None
    assert len(read_stat_records(path)) == 0


def test_a_changed_byte_empties_it(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert read_heading(path) is not None
    assert len(read_stat_records(path)) == 0
