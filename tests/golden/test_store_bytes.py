"""A store written by the first release: its bytes are checked in and never made again; it must stay readable for ever.

The pack was taken apart by hand here, with nothing but the standard library and zstandard, as a foreign reader would.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

from datapin.base.ids import AssetId
from datapin.base.settings import StoreSettings
from datapin.pack.table import read_table_of_file
from datapin.pack.writer import PackWriter
from datapin.store.store import Store

GOLDEN = Path(__file__).parent / "store"
PACK = "4fcd03a85db935749adf871c10125870df5ed25b31d89cc8e20edb83131f1f29"
INDEX = "648d6c5ca81fbc104166440ee5c9d8f6033eeb26605db48f11d8521d49480024"
SMALL = [b"", b"a", b"hello, pack\n", b"the same text again and again, " * 20]
LARGE = bytes(range(256)) * 16
SETTINGS = StoreSettings(large_asset=4096)

pack_path = GOLDEN / "packs" / PACK[:2] / f"{PACK}.pack"


def asset_id(data: bytes) -> AssetId:
    return AssetId(hashlib.sha256(data).hexdigest())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(Path(shutil.copytree(GOLDEN, tmp_path / "store")), SETTINGS)


def test_the_store_opens_and_every_asset_reads_back(store: Store) -> None:
    assert [store.read(asset_id(data)) for data in [*SMALL, LARGE]] == [*SMALL, LARGE]
    assert store.check() == []


def test_files_are_named_by_their_bytes() -> None:
    assert hashlib.sha256(pack_path.read_bytes()).hexdigest() == PACK
    assert hashlib.sha256((GOLDEN / "index" / f"{INDEX}.parquet").read_bytes()).hexdigest() == INDEX
    assert (GOLDEN / "assets" / asset_id(LARGE)[:2] / asset_id(LARGE)).read_bytes() == LARGE
    assert (GOLDEN / "format.json").read_bytes() == b'{"format": 1}'


def test_a_foreign_reader_finds_every_asset_by_the_format_page() -> None:
    data = pack_path.read_bytes()
    assert data[:4] == b"DPK1"
    count, table_offset, table_hash, magic = struct.unpack("<QQ32s4s", data[-52:])
    assert magic == b"DPKT"
    table = data[table_offset : table_offset + 64 * count]
    assert hashlib.sha256(table).digest() == table_hash
    found = []
    for raw_id, offset, stored, raw, codec, padding in struct.iter_unpack("<32sQQQB7s", table):
        content = data[offset : offset + stored]
        content = zstandard.decompress(content) if codec == 1 else content
        assert (len(content), hashlib.sha256(content).digest(), padding) == (raw, raw_id, bytes(7))
        found.append(content)
    assert found == SMALL


def test_the_index_is_a_plain_parquet_file() -> None:
    rows = pq.read_table(GOLDEN / "index" / f"{INDEX}.parquet").to_pylist()
    assert [row["asset_id"].hex() for row in rows] == sorted(asset_id(data) for data in [*SMALL, LARGE])
    by_id = {row["asset_id"].hex(): row for row in rows}
    assert by_id[asset_id(LARGE)]["pack"] is None
    assert {by_id[asset_id(data)]["pack"].hex() for data in SMALL} == {PACK}
    table = read_table_of_file(pack_path)
    for record in table:
        row = by_id[bytes(record["id"]).hex()]
        seen = (row["offset"], row["length"], row["raw_length"], row["codec"])
        assert seen == tuple(int(record[name]) for name in ("offset", "stored", "raw", "codec"))


def test_the_writer_still_lays_packs_out_the_same_way(tmp_path: Path) -> None:
    """Only the raw part: zstd frames may change with the library, and then the pack has another name."""
    assets = [data for data in SMALL if len(data) < 64]
    writer = PackWriter(tmp_path / "pack")
    for data in assets:
        writer.append(bytes.fromhex(asset_id(data)), data)
    assert writer.seal().pack_id == "e5250c209dc7e030f341a8a515a7e6881d434c9ccc316ecbd09761bec55ff980"


def test_the_index_can_be_made_anew_from_the_pack(store: Store) -> None:
    (store.root / "index" / f"{INDEX}.parquet").unlink()
    assert store.rebuild_index().assets == 5
    assert [store.read(asset_id(data)) for data in [*SMALL, LARGE]] == [*SMALL, LARGE]
