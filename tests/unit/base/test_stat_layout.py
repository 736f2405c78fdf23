"""The file of stat records: the same records, or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

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


@pytest.mark.parametrize("length", [0, 7, 71, 72, 200, -1])
def test_a_file_that_was_cut_off_holds_nothing(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    assert len(read_stat_records(path)) == 0


def test_a_changed_byte_empties_it(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert len(read_stat_records(path)) == 0
