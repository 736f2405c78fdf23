"""Columns as single contiguous arrays, and views of their buffers in NumPy; no Python object per row.

Arrow's own conversions from and to NumPy and Python values (`pa.array`, `to_numpy`, `pa.scalar`) import pandas, which
takes longer than reading a million rows; the ones here do not.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Column: TypeAlias = pa.Array | pa.ChunkedArray
Mask: TypeAlias = npt.NDArray[np.bool_]


def one_array(column: Column) -> pa.Array:
    """The column as one array. Raises ArrowInvalid if its text is too long for one (2 GiB)."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    if column.num_chunks == 0:
        return pa.nulls(0, column.type)
    return pa.concat_arrays(column.unify_dictionaries().chunks)


def decoded(array: pa.Array) -> pa.Array:
    """The array without dictionary encoding."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def flags(array: pa.BooleanArray) -> Mask:
    """The booleans of an array; a null is False."""
    validity, values = array.buffers()
    mask = unpacked_bits(values, array.offset, len(array))
    if array.null_count:
        mask = mask & unpacked_bits(validity, array.offset, len(array))
    return mask.view(np.bool_)


def unpacked_bits(bitmap: pa.Buffer | None, offset: int, count: int) -> npt.NDArray[np.uint8]:
    """`count` bits from `offset` on as zeros and ones."""
    if count == 0 or bitmap is None:
        return np.zeros(count, dtype=np.uint8)
    first = offset // 8
    window = np.frombuffer(bitmap, dtype=np.uint8)[first : (offset + count + 7) // 8]
    return np.unpackbits(window, bitorder="little")[offset - first * 8 :][:count]


def arrow_flags(mask: Mask) -> pa.BooleanArray:
    """A mask as an Arrow column."""
    bits = np.packbits(mask, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, pa.py_buffer(bits)])


def without_rows(schema: pa.Schema) -> pa.Table:
    """A table of these columns and no rows."""
    return pa.Table.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def text_bytes(array: pa.Array) -> tuple[npt.NDArray[np.int32], memoryview]:
    """Offsets [n + 1] and the bytes they point into, of a string or binary array."""
    if len(array) == 0:
        return np.zeros(1, dtype=np.int32), memoryview(b"")
    _, offsets, data = array.buffers()
    window = np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    return window, memoryview(data) if data is not None else memoryview(b"")


def text_at(array: pa.Array, number: int) -> str:
    """One value of a text column; bytes that are not UTF-8 show as escapes."""
    raw: bytes = array[number].as_buffer().to_pybytes()
    return raw.decode("utf-8", "backslashreplace")


def is_ascending(keys: pa.Array) -> bool:
    """Whether each key is less than the next, as bytes: sorted and without repeats."""
    if len(keys) < 2:
        return True
    return bool(pc.all(pc.less(keys.slice(0, len(keys) - 1), keys.slice(1))).as_py())


def first_descent(keys: pa.Array) -> int:
    """The first row whose key is not greater than the one before it."""
    rises = pc.less(keys.slice(0, len(keys) - 1), keys.slice(1))
    return int(np.flatnonzero(~flags(rises))[0]) + 1


def shown(value: object, most: int = 80) -> str:
    """A value for an error message: quoted, control and other unprintable characters escaped, cut after `most`."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    quoted = repr(text[:most] if isinstance(text, str) else text)
    return quoted + "…" if isinstance(text, str) and len(text) > most else quoted[: most + 2]
