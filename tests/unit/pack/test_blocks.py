"""Blocks: whatever is appended in whatever pieces is the file, and its hash; a failed write is told."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from datapin.pack.blocks import BLOCK_BYTES, BlockWriter


def written(path: Path, pieces: Sequence[bytes], *, before: bytes = b"") -> str:
    """The hash that a BlockWriter gives for `pieces`, written after the bytes `before`."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        os.write(number, before)
        blocks = BlockWriter(number)
        for piece in pieces:
            blocks.append(piece)
        return blocks.finish().hexdigest()
    finally:
        os.close(number)


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [1],
        [BLOCK_BYTES - 1],
        [BLOCK_BYTES],
        [BLOCK_BYTES + 1],
        [BLOCK_BYTES - 1, 1],
        [BLOCK_BYTES - 1, 2, 5],
        [3, 4 * BLOCK_BYTES],
        [700_001] * 13,
    ],
)
def test_pieces_of_any_size_become_one_file_and_its_hash(tmp_path: Path, sizes: list[int]) -> None:
    pieces = [os.urandom(size) for size in sizes]
    digest = written(tmp_path / "file", pieces)
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)
    assert digest == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_what_cannot_be_written_past_the_page_cache_is_written_through_it(tmp_path: Path) -> None:
    # Behind seven bytes no block is aligned, so a file system that has rules refuses every direct write.
    pieces = [os.urandom(BLOCK_BYTES), os.urandom(BLOCK_BYTES + 10)]
    digest = written(tmp_path / "file", pieces, before=b"7 bytes")
    assert (tmp_path / "file").read_bytes() == b"7 bytes" + b"".join(pieces)
    assert digest == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_a_block_that_could_not_be_written_fails_what_comes_next() -> None:
    number = os.open("/dev/full", os.O_WRONLY)
    try:
        blocks = BlockWriter(number)
        blocks.append(bytes(BLOCK_BYTES))
        with pytest.raises(OSError) as refused:
            blocks.finish()
        assert refused.value.errno == errno.ENOSPC
        with pytest.raises(OSError):
            blocks.append(bytes(BLOCK_BYTES))
    finally:
        blocks.give_up()
        os.close(number)


def test_after_giving_up_nothing_more_is_written(tmp_path: Path) -> None:
    number = os.open(tmp_path / "given-up", os.O_WRONLY | os.O_CREAT)
    blocks = BlockWriter(number)
    blocks.append(bytes(BLOCK_BYTES))
    blocks.give_up()
    os.close(number)
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)  # gets the same number
    assert other == number
    os.close(other)
    assert (tmp_path / "given-up").stat().st_size == BLOCK_BYTES
    assert (tmp_path / "other").stat().st_size == 0
