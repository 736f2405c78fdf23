"""Digests over the logical content of rows: independent of Parquet, of file cut, of slices and of chunks.

The byte layout is normative and written down in docs/format.md#digest; golden digests in tests/golden hold it still.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from datapin.base.id_columns import arrow_numbers, numbers
from datapin.manifest.columns.columns import decoded, one_array, text_bytes, unpacked_bits
from datapin.manifest.columns.types import type_text

Feed = Callable[[Any], None]  # bytes, or anything else that is a buffer

_SHARD_MAGIC = b"DPS1"
_MANIFEST_MAGIC = b"DPM1"


def shard_digest(table: pa.Table) -> str:
    """The digest (64 hex) of these rows; columns must be stored types, in canonical order, as `normalise` gives."""
    digest = hashlib.sha256()
    digest.update(_SHARD_MAGIC + struct.pack("<QQ", table.num_rows, table.num_columns))
    for field, column in zip(table.schema, table.columns, strict=True):
        digest.update(_field_bytes(field))
        _feed_array(decoded(one_array(column)), digest.update)
    return digest.hexdigest()


def manifest_digest(schema: pa.Schema, block_digests: Sequence[str]) -> str:
    """The digest of a manifest (`sha256:<hex>`): its canonical schema and its blocks' digests in order."""
    digest = hashlib.sha256(_MANIFEST_MAGIC + struct.pack("<Q", len(schema)))
    for field in schema:
        digest.update(_field_bytes(field))
    digest.update(struct.pack("<Q", len(block_digests)))
    for block in block_digests:
        digest.update(bytes.fromhex(block))
    return f"sha256:{digest.hexdigest()}"


def _field_bytes(field: pa.Field) -> bytes:
    name: bytes = field.name.encode("utf-8")
    kind = type_text(field.type).encode("utf-8")
    return struct.pack("<Q", len(name)) + name + struct.pack("<Q", len(kind)) + kind


def _feed_array(array: pa.Array, feed: Feed) -> None:
    """Validity bits, then values, of one array and of its children in depth-first order."""
    kind = array.type
    valid = _valid_mask(array)
    feed(_validity_bits(array, valid))
    if types.is_null(kind):
        return
    if types.is_boolean(kind):
        bits = unpacked_bits(array.buffers()[1], array.offset, len(array))
        feed(np.packbits(bits if valid is None else bits & valid, bitorder="little"))
    elif types.is_string(kind) or types.is_binary(kind):
        _feed_text(array, valid, feed)
    elif types.is_struct(kind):
        for child in array.flatten():  # the parent's nulls are the children's, too
            _feed_array(child, feed)
    elif types.is_map(kind):
        _feed_list(array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))), valid, feed)
    elif types.is_list(kind):
        _feed_list(array, valid, feed)
    elif types.is_fixed_size_list(kind):
        _feed_array(array.flatten(), feed)  # items of the rows that are not null
    else:
        _feed_fixed_width(array, valid, feed)


def _feed_text(array: pa.Array, valid: npt.NDArray[np.uint8] | None, feed: Feed) -> None:
    offsets, data = text_bytes(array)
    lengths = np.diff(offsets.astype("<i8"))
    if valid is not None and (lengths * (1 - valid)).any():  # bytes that lie under nulls
        array = array.take(arrow_numbers(np.arange(len(array))))
        offsets, data = text_bytes(array)
        lengths = np.diff(offsets.astype("<i8"))
    feed(_bytes_of(lengths))
    feed(data[int(offsets[0]) : int(offsets[-1])])


def _feed_list(array: pa.Array, valid: npt.NDArray[np.uint8] | None, feed: Feed) -> None:
    lengths = numbers(pc.list_value_length(array)).astype(np.int64)
    feed(_bytes_of(lengths if valid is None else lengths * valid))
    _feed_array(array.flatten(), feed)  # items of the rows that are not null


def _feed_fixed_width(array: pa.Array, valid: npt.NDArray[np.uint8] | None, feed: Feed) -> None:
    if len(array) == 0:
        return
    width = array.type.bit_width // 8
    begin = array.offset * width
    data = np.frombuffer(array.buffers()[1], dtype=np.uint8)[begin : begin + len(array) * width]
    if valid is not None:
        data = data.reshape(len(array), width) * valid[:, None]  # nulls zeroed
    feed(np.ascontiguousarray(data).reshape(-1))


def _valid_mask(array: pa.Array) -> npt.NDArray[np.uint8] | None:
    """1 where a row is not null; None if none is null."""
    if array.null_count == 0:
        return None
    if types.is_null(array.type):
        return np.zeros(len(array), dtype=np.uint8)
    return unpacked_bits(array.buffers()[0], array.offset, len(array))


def _validity_bits(array: pa.Array, valid: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
    if valid is None:
        valid = np.ones(len(array), dtype=np.uint8)
    return np.packbits(valid, bitorder="little")


def _bytes_of(lengths: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(lengths, dtype="<i8").view(np.uint8)
