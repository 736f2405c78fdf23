"""Columns of asset ids, hex strings in Arrow, raw bytes in NumPy `uint8 [n, 32]`, and of integers; no object per row.

Arrow's own conversions from and to NumPy (`to_numpy`, `pa.array`) import pandas, see `manifest.columns.columns`.
"""

from __future__ import annotations

import binascii
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base.errors import BadAssetId
from datapin.base.ids import RAW_ID_BYTES

IdMatrix = npt.NDArray[np.uint8]

_SMALL = np.uint64(0x2020202020202020)
_HEX_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def ids_from_hex(column: pa.Array | pa.ChunkedArray) -> IdMatrix:
    """Ids given as text, as a matrix `uint8 [n, 32]`.

    Raises BadAssetId if one is null or not 64 lower-case hex digits.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.ChunkedArray):  # an empty column combines to zero chunks
        return np.empty((0, RAW_ID_BYTES), dtype=np.uint8)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    column = column.cast(pa.string())
    count = len(column)
    if count == 0:
        return np.empty((0, RAW_ID_BYTES), dtype=np.uint8)
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int32)[column.offset : column.offset + count + 1]
    lengths = np.diff(offsets)
    if column.null_count or (lengths != 2 * RAW_ID_BYTES).any():
        raise BadAssetId(seen=_first_bad(column))
    text = memoryview(column.buffers()[2])[offsets[0] : offsets[-1]]
    words = np.frombuffer(text, dtype=np.uint64)  # eight digits each
    # Letters have the bit 0x40, small ones 0x20 too; `unhexlify` takes capitals.
    if ((words >> np.uint64(1)) & ~words & _SMALL).any():
        raise BadAssetId(seen=_first_bad(column))
    try:
        raw = bytearray(binascii.unhexlify(text))
    except binascii.Error:
        raise BadAssetId(seen=_first_bad(column)) from None
    return np.frombuffer(raw, dtype=np.uint8).reshape(count, RAW_ID_BYTES)


def ids_to_hex(ids: IdMatrix) -> pa.StringArray:
    """A matrix of ids `uint8 [n, 32]` as an Arrow column of hex strings."""
    count = len(ids)
    flat = np.ascontiguousarray(ids).reshape(-1)
    text = np.empty((flat.size, 2), dtype=np.uint8)
    text[:, 0] = _HEX_DIGITS[flat >> 4]
    text[:, 1] = _HEX_DIGITS[flat & 15]
    offsets = np.arange(count + 1, dtype=np.int32) * (2 * RAW_ID_BYTES)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def numbers(array: pa.Array) -> npt.NDArray[Any]:
    """The integers of an array; what stands for a null is not defined."""
    if len(array) == 0:
        return np.zeros(0, dtype=np.int64)
    sign = "u" if pa.types.is_unsigned_integer(array.type) else ""
    values = np.frombuffer(array.buffers()[1], dtype=f"{sign}int{array.type.bit_width}")
    return values[array.offset : array.offset + len(array)]


def arrow_numbers(values: npt.NDArray[np.int64]) -> pa.Int64Array:
    """Integers as an Arrow column."""
    held = np.ascontiguousarray(values, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(held), [None, pa.py_buffer(held)])


def ids_from_raw(raw: bytes) -> IdMatrix:
    """Concatenated raw ids (32 bytes each) as a matrix."""
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, RAW_ID_BYTES)


def id_prefixes(ids: IdMatrix) -> npt.NDArray[np.uint64]:
    """The first eight bytes of each id as big-endian numbers: they sort as the ids do, up to equal prefixes."""
    return np.ascontiguousarray(ids[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


def _first_bad(column: pa.Array) -> str:
    for value in column.to_pylist():
        if value is None or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            return str(value)[:80]
    return ""
