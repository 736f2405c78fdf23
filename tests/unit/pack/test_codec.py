"""The codec decides by bytes alone and refuses frames that lie."""

from __future__ import annotations

import os
import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from datapin.pack.codec import CodecError, decode, encode
from datapin.pack.format import CODEC_RAW, CODEC_ZSTD

TEXT = b"the quick brown fox jumps over the lazy dog; " * 400


@given(
    st.binary(max_size=300) | st.builds(lambda unit, times: unit * times, st.binary(min_size=1), st.integers(1, 999))
)
def test_what_is_encoded_decodes_to_itself_the_same_way_each_time(data: bytes) -> None:
    codec, stored = encode(data)
    assert decode(codec, stored, len(data), b"") == data
    assert encode(data) == (codec, stored)
    assert codec == CODEC_RAW or len(stored) * 10 <= len(data) * 9


def test_text_is_compressed_and_noise_is_not() -> None:
    assert encode(TEXT)[0] == CODEC_ZSTD
    assert encode(random.Random(1).randbytes(20_000)) == (CODEC_RAW, random.Random(1).randbytes(20_000))


@pytest.mark.parametrize(
    "magic",
    [
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"\x00\x00\x00\x18ftypmp42",
    ],
)
def test_compressed_media_are_kept_raw_without_trying(magic: bytes) -> None:
    assert encode(magic + TEXT) == (CODEC_RAW, magic + TEXT)


def test_a_text_header_before_noise_does_not_cost_a_full_compression() -> None:
    data = TEXT[:1024] + random.Random(2).randbytes(50_000)
    assert encode(data)[0] == CODEC_RAW


@pytest.mark.parametrize(
    ("codec", "stored", "raw_length", "problem"),
    [
        (CODEC_RAW, b"abc", 4, "3 bytes, expected 4"),
        (2, b"abc", 3, "codec 2 is unknown"),
        (CODEC_ZSTD, b"not a frame", 3, "zstd"),
        (CODEC_ZSTD, zstandard.compress(TEXT), len(TEXT) - 1, "not one of"),
        (CODEC_ZSTD, zstandard.compress(TEXT)[:-5], len(TEXT), "zstd"),
        (CODEC_ZSTD, zstandard.ZstdCompressor(write_content_size=False).compress(TEXT), len(TEXT), "not one of"),
    ],
)
def test_stored_bytes_that_do_not_match_their_record_are_refused(
    codec: int, stored: bytes, raw_length: int, problem: str
) -> None:
    with pytest.raises(CodecError, match=problem):
        decode(codec, stored, raw_length, b"")


def test_a_bomb_is_refused_before_memory_is_spent() -> None:
    bomb = zstandard.compress(bytes(50 << 20))
    with pytest.raises(CodecError, match="not one of"):
        decode(CODEC_ZSTD, bomb, 1000, b"")


def test_encoding_from_many_threads_gives_the_same_bytes() -> None:
    from concurrent.futures import ThreadPoolExecutor

    inputs = [TEXT[i:] + os.urandom(10) for i in range(200)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(encode, inputs)) == [encode(data) for data in inputs]
