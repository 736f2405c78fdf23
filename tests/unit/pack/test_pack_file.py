"""Packs: what is written reads back; every kind of damage is seen."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from datapin.base.errors import DamagedPack
from datapin.pack.codec import decode
from datapin.pack.format import CODEC_RAW, CODEC_ZSTD, MAGIC, RECORD, encode_trailer
from datapin.pack.reader import Span, coalesce, read_stored
from datapin.pack.table import Table, read_table, read_table_of_file
from datapin.pack.writer import PackWriter, SealedPack

ASSETS = [
    b"",
    b"a",
    b"text that repeats itself " * 200,
    os.urandom(5000),
    bytes(100_000),
    b"DPK1" + b"x" * 50 + b"DPKT",
]


def raw_id(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def write_pack(path: Path, assets: Sequence[bytes] = ASSETS) -> SealedPack:
    writer = PackWriter(path)
    for data in assets:
        writer.append(raw_id(data), data)
    return writer.seal()


def table_of_bytes(data: bytes) -> Table:
    return read_table(lambda offset, length: data[offset : offset + length], len(data), "p")


def test_what_is_written_reads_back_through_the_trailer(tmp_path: Path) -> None:
    sealed = write_pack(tmp_path / "p")
    table = read_table_of_file(tmp_path / "p")
    number = os.open(tmp_path / "p", os.O_RDONLY)
    back = [
        decode(int(r["codec"]), read_stored(number, int(r["offset"]), int(r["stored"])), int(r["raw"]), b"")
        for r in table
    ]
    os.close(number)
    assert back == ASSETS
    assert [bytes(r["id"]) for r in table] == [raw_id(data) for data in ASSETS]
    assert sealed.table == table.tobytes()


def test_a_pack_is_named_by_the_hash_of_the_whole_file(tmp_path: Path) -> None:
    sealed = write_pack(tmp_path / "p")
    data = (tmp_path / "p").read_bytes()
    assert hashlib.sha256(data).hexdigest() == sealed.pack_id
    assert len(data) == sealed.size_bytes


def test_assets_keep_their_order_and_lie_side_by_side(tmp_path: Path) -> None:
    table = table_of_bytes_of(tmp_path)
    assert int(table["offset"][0]) == len(MAGIC)
    assert (table["offset"][1:] == table["offset"][:-1] + table["stored"][:-1]).all()


def table_of_bytes_of(tmp_path: Path) -> Table:
    write_pack(tmp_path / "p")
    return read_table_of_file(tmp_path / "p")


def test_zstd_is_used_only_where_it_saves_a_tenth(tmp_path: Path) -> None:
    codecs = table_of_bytes_of(tmp_path)["codec"].tolist()
    assert codecs == [CODEC_RAW, CODEC_RAW, CODEC_ZSTD, CODEC_RAW, CODEC_ZSTD, CODEC_RAW]


def test_an_empty_pack_has_an_empty_table(tmp_path: Path) -> None:
    write_pack(tmp_path / "p", [])
    assert len(read_table_of_file(tmp_path / "p")) == 0


def test_a_pack_cut_off_at_any_length_is_refused(tmp_path: Path) -> None:
    write_pack(tmp_path / "p", [b"one", b"two" * 40, b"three"])
    data = (tmp_path / "p").read_bytes()
    for length in range(len(data)):
        with pytest.raises(DamagedPack):
            table_of_bytes(data[:length])


def test_a_flipped_bit_anywhere_but_in_payload_is_refused(tmp_path: Path) -> None:
    assets = [b"one", os.urandom(100), b"three"]
    write_pack(tmp_path / "p", assets)
    data = bytearray((tmp_path / "p").read_bytes())
    payload = range(len(MAGIC), len(MAGIC) + sum(map(len, assets)))
    for place in range(len(data)):
        for bit in (0, 7):
            data[place] ^= 1 << bit
            if place in payload:
                assert len(table_of_bytes(bytes(data))) == 3
            else:
                with pytest.raises(DamagedPack):
                    table_of_bytes(bytes(data))
            data[place] ^= 1 << bit


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([(4, 10, 10, 0), (13, 10, 10, 0)], "overlap"),
        ([(20, 10, 10, 0), (4, 10, 10, 0)], "overlap"),
        ([(0, 4, 4, 0)], "outside"),
        ([(4, 2**64 - 1, 2**64 - 1, 0)], "outside"),
        ([(2**64 - 4, 8, 8, 0)], "outside"),
        ([(60, 60, 60, 0)], "into the table"),
        ([(4, 10, 11, 0)], "two lengths"),
        ([(4, 10, 11, 2)], "unknown codec"),
    ],
)
def test_a_table_with_a_right_hash_but_impossible_records_is_refused(
    records: list[tuple[int, int, int, int]], problem: str
) -> None:
    table = b"".join(RECORD.pack(b"i" * 32, *record) for record in records)
    data = MAGIC + bytes(96) + table + encode_trailer(table, 100)
    with pytest.raises(DamagedPack, match=problem):
        table_of_bytes(data)


def test_a_count_that_would_overflow_is_refused() -> None:
    table = RECORD.pack(b"i" * 32, 4, 0, 0, 0)
    trailer = bytearray(encode_trailer(table, 4))
    trailer[:8] = (2**58 + 1).to_bytes(8, "little")
    with pytest.raises(DamagedPack, match="does not fit"):
        table_of_bytes(MAGIC + table + bytes(trailer))


def test_an_asset_that_is_a_whole_pack_does_not_confuse_the_reader(tmp_path: Path) -> None:
    inner = (tmp_path / "inner", tmp_path / "outer")
    write_pack(inner[0], [b"one"])
    fake = inner[0].read_bytes()
    write_pack(inner[1], [fake, b"two"])
    assert [bytes(r["id"]) for r in read_table_of_file(inner[1])] == [raw_id(fake), raw_id(b"two")]


def test_a_discarded_pack_leaves_no_file(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path / "p")
    writer.append(raw_id(b"x"), b"x")
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_read_past_the_end_returns_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    number = os.open(tmp_path / "f", os.O_RDONLY)
    assert read_stored(number, 8, 5) == b"89"
    assert read_stored(number, 20, 5) == b""
    os.close(number)


def test_pieces_with_small_gaps_share_a_span_up_to_the_limit() -> None:
    offsets, lengths = [0, 10, 25, 100, 105, 400], [10, 10, 5, 5, 5, 500]
    assert coalesce(offsets, lengths, gap=5, most=50) == [
        Span(0, 30, 0, 2),
        Span(100, 10, 3, 4),
        Span(400, 500, 5, 5),
    ]
    assert coalesce(offsets, lengths, gap=1000, most=12) == [
        Span(0, 10, 0, 0),
        Span(10, 10, 1, 1),
        Span(25, 5, 2, 2),
        Span(100, 10, 3, 4),
        Span(400, 500, 5, 5),
    ]
    assert coalesce([], [], gap=1, most=1) == []
    assert coalesce([7], [0], gap=0, most=1) == [Span(7, 0, 0, 0)]
