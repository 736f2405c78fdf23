"""Frames and lengths that claim more than there is: a fraction of it is ever held in memory."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from datapin.pack.codec import CodecError, decode
from datapin.pack.format import CODEC_ZSTD
from datapin.pack.reader import read_stored


def test_a_small_frame_of_an_asset_that_claims_gigabytes_takes_no_memory() -> None:
    size = 96 << 20
    frame = zstandard.compress(bytes(size))
    assert len(frame) < 10_000
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match="another asset's"):
            decode(CODEC_ZSTD, frame, size, hashlib.sha256(b"340 bytes").digest())
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    data = decode(CODEC_ZSTD, frame, size, hashlib.sha256(bytes(size)).digest())
    assert len(data) == size


def test_a_frame_of_more_than_is_ever_packed_is_refused_unread() -> None:
    compressor = zstandard.ZstdCompressor().compressobj(size=3 << 30)
    frame = compressor.compress(bytes(1000)) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    with pytest.raises(CodecError, match="claims 3221225472 bytes"):
        decode(CODEC_ZSTD, frame, 3 << 30, bytes(32))


def test_a_length_beyond_the_end_of_the_file_reserves_no_memory(tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(b"abc")
    number = os.open(tmp_path / "pack", os.O_RDONLY)
    try:
        assert read_stored(number, 1, 80 << 30) == b"bc"
        assert read_stored(number, 9, 80 << 30) == b""
    finally:
        os.close(number)
