"""A bit that flips in a memo, a root record or what is known of a remote is seen, never believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datapin.base.errors import DamagedPack
from datapin.pipeline.mapping.memo import OperatorMemo
from datapin.transfer.root_records import FINAL, RootRecord, decode_root, new_root_key

IDS = np.frombuffer(np.random.default_rng(1).bytes(32 * 20), dtype=np.uint8).reshape(-1, 32)
COPIES = np.arange(20, dtype=np.int64)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_flipped_bit_of_a_memo_drops_the_segment_and_nothing_else(tmp_path: Path) -> None:
    memo = OperatorMemo(tmp_path)
    memo.append(IDS, COPIES, [None] * 20, [bytes([number]) * 50 for number in range(20)])
    (segment,) = tmp_path.glob("*.parquet")
    data = segment.read_bytes()
    assert len(OperatorMemo(tmp_path)) == 20
    for bit in np.random.default_rng(2).choice(8 * len(data), 200, replace=False).tolist():
        segment.write_bytes(flipped(data, bit))
        assert len(OperatorMemo(tmp_path)) == 0, bit
        assert not segment.exists(), bit
    again = OperatorMemo(tmp_path)
    again.append(IDS, COPIES, [None] * 20, [b"x"] * 20)
    assert again.read(again.find(IDS, COPIES)).column("value").to_pylist() == [b"x"] * 20


def test_what_cannot_be_read_is_not_deleted(tmp_path: Path) -> None:
    place = tmp_path / f"{'a' * 32}.parquet"
    place.mkdir()  # root may read every file, but nobody reads a folder as one
    assert len(OperatorMemo(tmp_path)) == 0
    assert place.exists()


def test_every_flipped_bit_of_a_root_record_is_seen() -> None:
    record = RootRecord(FINAL, "data/raw", "ab" * 32, f"{'cd' * 16}.dir", ("ef" * 32,), ("01" * 32,), 17, True, "ann")
    key, data = new_root_key(record), record.encoded()
    assert decode_root(data, key, "lab") == record
    for bit in range(8 * len(data)):
        with pytest.raises(DamagedPack):
            decode_root(flipped(data, bit), key, "lab")
    for hostile in (b"[" * 100_000, b'{"packs":' * 100_000, b"[]", b"7"):
        with pytest.raises(DamagedPack):
            decode_root(hostile, key, "lab")
