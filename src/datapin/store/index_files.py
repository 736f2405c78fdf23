"""Index files: Parquet, named by the SHA-256 of their bytes, which is checked before the parser sees them."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datapin.base.errors import DamagedPack
from datapin.base.id_columns import numbers
from datapin.base.ids import RAW_ID_BYTES
from datapin.store.index import IN_LOOSE_FILE, Entries, Index, Int64s, join_entries
from datapin.store.layout import INDEX, INDEX_SUFFIX, index_key

_ID = pa.binary(RAW_ID_BYTES)
SCHEMA = pa.schema(
    [
        pa.field("asset_id", _ID, nullable=False),
        pa.field("pack", _ID),
        pa.field("offset", pa.uint64(), nullable=False),
        pa.field("length", pa.uint64(), nullable=False),
        pa.field("raw_length", pa.uint64(), nullable=False),
        pa.field("codec", pa.uint8(), nullable=False),
    ]
)
_COLUMNS = [(field.name, field.type) for field in SCHEMA]  # a foreign writer may leave out `not null`
_ROW_GROUP_ROWS = 1 << 20
_MERGE_FROM = 8
_FILE_NAME = re.compile(r"([0-9a-f]{64})" + re.escape(INDEX_SUFFIX))


def encode_index(entries: Entries) -> bytes:
    """Sorted `entries` as a Parquet file; the same entries give the same bytes under one pyarrow version."""
    packs = pa.FixedSizeBinaryArray.from_buffers(_ID, len(entries.packs), [None, pa.py_buffer(b"".join(entries.packs))])
    in_pack = entries.pack != IN_LOOSE_FILE
    numbers = pa.array(np.where(in_pack, entries.pack, 0), mask=~in_pack, type=pa.int32())
    ids = np.ascontiguousarray(entries.ids)
    columns = [
        pa.FixedSizeBinaryArray.from_buffers(_ID, len(entries), [None, pa.py_buffer(ids)]),
        packs.take(numbers),
        pa.array(entries.offset.astype(np.uint64)),
        pa.array(entries.length.astype(np.uint64)),
        pa.array(entries.raw_length.astype(np.uint64)),
        pa.array(entries.codec),
    ]
    sink = io.BytesIO()
    pq.write_table(
        pa.table(columns, schema=SCHEMA),
        sink,
        row_group_size=_ROW_GROUP_ROWS,
        use_dictionary=["pack", "codec"],
        compression={"asset_id": "NONE", **dict.fromkeys(SCHEMA.names[1:], "ZSTD")},
        compression_level=dict.fromkeys(SCHEMA.names[1:], 1),
        column_encoding=dict.fromkeys(("offset", "length", "raw_length"), "BYTE_STREAM_SPLIT"),
        write_statistics=False,
        store_schema=False,
    )
    return sink.getvalue()


def index_file_name(data: bytes) -> str:
    """The name of an index file with these bytes."""
    return hashlib.sha256(data).hexdigest()


def decode_index(name: str, data: bytes, path: str) -> Entries:
    """The entries of the index file `name`, in file order.

    Raises DamagedPack unless `data` hashes to `name` and holds what the format says.
    """
    if index_file_name(data) != name:
        raise DamagedPack(path, "its bytes do not hash to its name")
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        if [(field.name, field.type) for field in file.schema_arrow] != _COLUMNS:
            raise DamagedPack(path, f"its columns are {', '.join(file.schema_arrow.names)}, or of other types")
        # Arrow's threads gain nothing here (30 ms for a million rows), and one that still lets go of `data` while the
        # process ends aborts it: seen once, at the end of an interrupted fetch.
        table = file.read(use_threads=False).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise DamagedPack(path, f"not a Parquet file: {error}") from None
    return _entries_of(table, path)


def read_index(names: Sequence[str], read: Callable[[str], bytes], where: str) -> Index:
    """The joined index of the files `names`; `read` gives the bytes for a key of the store."""
    keys = [index_key(name) for name in names]
    parts = [decode_index(name, read(key), f"{where}/{key}") for name, key in zip(names, keys, strict=True)]
    return Index(join_entries(parts))


def list_index_files(root: str) -> list[str]:
    """Names of the index files of the store at `root`, sorted. Raises OSError."""
    try:
        found = os.listdir(f"{root}/{INDEX}")
    except FileNotFoundError:
        return []
    return sorted(match[1] for match in map(_FILE_NAME.fullmatch, found) if match)


def choose_merge(rows: Sequence[int]) -> list[int]:
    """Which of the index files with so many rows each should become one: positions, or none.

    Files within a factor of eight stand on one tier; a tier of eight is merged, with all smaller files. So a row is
    rewritten a number of times that grows with the logarithm of the store only.
    """
    tiers = [(count.bit_length() + 2) // 3 for count in rows]
    for tier in sorted(set(tiers)):
        if tiers.count(tier) >= _MERGE_FROM:
            return [number for number, other in enumerate(tiers) if other <= tier]
    return []


def _entries_of(table: pa.Table, path: str) -> Entries:
    if any(table[name].null_count for name in SCHEMA.names if name != "pack"):
        raise DamagedPack(path, "a value is missing")
    places = {name: _bounded(table[name], path) for name in ("offset", "length", "raw_length")}
    packs, pack = _packs_of(table["pack"])
    return Entries(
        ids=_raw_ids(table["asset_id"]),
        pack=pack,
        offset=places["offset"],
        length=places["length"],
        raw_length=places["raw_length"],
        codec=numbers(_one(table["codec"])).astype(np.uint8, copy=False),
        packs=packs,
    )


def _raw_ids(column: pa.ChunkedArray) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    if not len(column):
        return np.empty((0, RAW_ID_BYTES), dtype=np.uint8)
    array = _one(column)
    raw = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    return raw[array.offset * RAW_ID_BYTES : (array.offset + len(array)) * RAW_ID_BYTES].reshape(-1, RAW_ID_BYTES)


def _bounded(column: pa.ChunkedArray, path: str) -> Int64s:
    values: Int64s = numbers(_one(column)).astype(np.int64)
    if (values < 0).any():
        raise DamagedPack(path, "an offset or length is beyond all bounds")
    return values


def _packs_of(column: pa.ChunkedArray) -> tuple[tuple[bytes, ...], np.ndarray[tuple[int], np.dtype[np.int32]]]:
    """The distinct packs, sorted, and each row's number among them."""
    if not len(column):
        return (), np.empty(0, dtype=np.int32)
    encoded = _one(column).dictionary_encode(null_encoding="encode")
    seen = encoded.dictionary.to_pylist()
    packs = tuple(sorted(pack for pack in seen if pack is not None))
    places = {None: IN_LOOSE_FILE, **{pack: number for number, pack in enumerate(packs)}}
    new_numbers = np.array([places[pack] for pack in seen], dtype=np.int32)
    return packs, new_numbers[numbers(encoded.indices)]


def _one(column: pa.ChunkedArray) -> pa.Array:
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return array if isinstance(array, pa.Array) else pa.nulls(0, column.type)
