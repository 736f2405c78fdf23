"""Rows to Parquet files and back. The settings are part of the format: the same rows give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from datapin.base import failpoints
from datapin.base.errors import BadRows, DamagedManifest
from datapin.base.files import fsync_path
from datapin.base.id_columns import numbers
from datapin.manifest.columns.columns import decoded, one_array, shown, text_bytes
from datapin.manifest.columns.schema import REQUIRED, canonical_schema, normalise
from datapin.manifest.files.digest import shard_digest
from datapin.manifest.files.footers import (
    BYTES_MARK,
    DIGEST_MARK,
    FORMAT,
    FORMAT_MARK,
    ROW_GROUP_ROWS,
    Footer,
    open_parquet,
    read_footer,
    readable,
)

COMPRESSION_LEVEL = 3
_SAMPLED_ROWS = 4096
_DISTINCT_SHARE = 4  # a text column is dictionary-encoded if at most one in four sampled values is new
_NEVER_DICTIONARY = ("key", "asset_id")
_MOST_EXPANDED_BYTES = 1 << 30

Properties = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One shard of a manifest: a file of ours, or a cut of rows that lie in memory (`path` is None)."""

    path: Path | None
    rows: int
    bytes: int  # of the assets that its rows name
    digest: str  # 64 hex
    first_key: str
    last_key: str
    properties: Properties = ()


def sealed(table: pa.Table) -> pa.Table:
    """Sorted canonical rows in the one chunk and dictionary order that a shard has.

    Raises BadRows if the text of one column is too long for one chunk (2 GiB).
    """
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        try:
            array = one_array(column)
        except pa.ArrowInvalid:
            raise BadRows("a shard", f"column {shown(field.name)} holds more than 2 GiB of text") from None
        if types.is_dictionary(field.type):
            array = decoded(array).dictionary_encode()
        columns.append(array)
    return pa.Table.from_arrays(columns, schema=table.schema)


def entry_of(table: pa.Table, path: Path | None = None, properties: Properties = ()) -> ShardEntry:
    """The entry for a sealed table that has rows or, at most once in a manifest, none; it hashes the rows."""
    keys = one_array(table.column("key"))
    count = len(keys)
    first, last = (keys[0].as_py(), keys[count - 1].as_py()) if count else ("", "")
    return ShardEntry(path, count, _total(table.column("size")), shard_digest(table), first, last, properties)


def write_shard(table: pa.Table, entry: ShardEntry) -> None:
    """Write a sealed table durably to the path of its entry."""
    assert entry.path is not None
    path = entry.path
    marks = {FORMAT_MARK: FORMAT, DIGEST_MARK: entry.digest.encode(), BYTES_MARK: str(entry.bytes).encode()}
    marks |= {name.encode(): value.encode() for name, value in entry.properties}
    pq.write_table(
        table.replace_schema_metadata(marks),
        path,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=_dictionary_columns(table),
        column_encoding=_split_columns(table.schema),
        write_statistics=["key"],
        write_page_checksum=True,
        store_schema=True,
    )
    failpoints.hit("manifest.shard.written")
    fsync_path(path)


def _total(sizes: pa.ChunkedArray) -> int:
    """The sum of the sizes, also beyond 64 bits."""
    values = numbers(one_array(sizes))
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def _dictionary_columns(table: pa.Table) -> list[str]:
    chosen = []
    for field, column in zip(table.schema, table.columns, strict=True):
        if types.is_dictionary(field.type):
            chosen.append(field.name)
        elif types.is_string(field.type) and field.name not in _NEVER_DICTIONARY:
            sample = column.slice(0, _SAMPLED_ROWS)
            if pc.count_distinct(sample).as_py() * _DISTINCT_SHARE <= len(sample):
                chosen.append(field.name)
    return chosen


def _split_columns(schema: pa.Schema) -> dict[str, str]:
    """Feature vectors: bytes of equal significance lie together, which zstd packs a third smaller."""
    return {
        f"{field.name}.list.element": "BYTE_STREAM_SPLIT"
        for field in schema
        if types.is_fixed_size_list(field.type) and types.is_floating(field.type.value_type)
    }


def read_rows(path: Path, shown_path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one file in canonical form, in the file's order, every rule checked that its columns let check.

    Raises DamagedManifest, BadRows, BadKeys, ManifestMissing or StorageFailed.
    """
    footer = read_footer(path, shown_path)
    canonical = canonical_schema(footer.schema, where=shown_path)  # refuses what could not be stored before it is read
    wanted = [name for name in canonical.names if columns is None or name in columns]
    dictionaries = _dictionary_encoded(footer, wanted)
    with readable(path, shown_path), open_parquet(path, dictionaries) as file:
        table = file.read(columns=wanted, use_threads=True)
    if table.num_rows != footer.rows:
        raise DamagedManifest(path=shown_path, problem=f"holds {table.num_rows} rows, claims {footer.rows}")
    _check_expansion(table, shown_path)
    return normalise(table, where=shown_path, required=[name for name in wanted if name in REQUIRED])


def _dictionary_encoded(footer: Footer, wanted: list[str]) -> list[str]:
    """Text columns that are to be read as dictionaries: a few bytes may repeat one long text a billion times."""
    encoded = {chunk.path[0] for group in footer.groups for chunk in group.chunks if chunk.has_dictionary}
    text = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return [
        field.name
        for field in footer.schema
        if field.name in wanted and field.name in encoded and any(matches(field.type) for matches in text)
    ]


def _check_expansion(table: pa.Table, shown_path: str) -> None:
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not types.is_dictionary(column.type):
            continue
        total = 0
        for chunk in column.chunks:
            offsets, _ = text_bytes(chunk.dictionary.cast(pa.binary()))
            indices = numbers(chunk.indices.drop_null())
            if len(indices) and not 0 <= indices.min() <= indices.max() < len(chunk.dictionary):
                raise DamagedManifest(path=shown_path, problem=f"column {shown(name)} names values that are not there")
            uses = np.bincount(indices, minlength=len(chunk.dictionary))
            total += int(np.dot(uses, np.diff(offsets.astype(np.int64))))
        if total > _MOST_EXPANDED_BYTES:
            raise DamagedManifest(path=shown_path, problem=f"column {shown(name)} unpacks to {total} bytes of text")
