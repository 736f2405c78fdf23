"""Which rows of two columns differ, for any stored type; no Python object per row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from datapin.base.id_columns import arrow_numbers, numbers
from datapin.manifest.columns.columns import Mask, decoded, flags


def rows_differ(before: pa.Array, after: pa.Array) -> Mask:
    """True where the values of two equally long arrays of one type differ; nulls are equal, floats compare as bits."""
    before, after = decoded(before), decoded(after)
    kind = before.type
    if types.is_null(kind):
        return np.zeros(len(before), dtype=bool)
    valid_before, valid_after = flags(pc.is_valid(before)), flags(pc.is_valid(after))
    either: Mask = valid_before != valid_after
    both = valid_before & valid_after
    if not both.any():
        return either
    if types.is_struct(kind):
        inner = np.zeros(len(before), dtype=bool)
        for one, other in zip(before.flatten(), after.flatten(), strict=True):
            inner |= rows_differ(one, other)
    elif types.is_map(kind):
        as_list = pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))
        inner = _lists_differ(before.cast(as_list), after.cast(as_list), both)
    elif types.is_list(kind) or types.is_fixed_size_list(kind):
        inner = _lists_differ(before, after, both)
    elif types.is_floating(kind):
        bits = {16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}[kind.bit_width]
        inner = _unequal(before.view(bits), after.view(bits))
    else:
        inner = _unequal(before, after)
    differing: Mask = either | (inner & both)
    return differing


def _unequal(before: pa.Array, after: pa.Array) -> Mask:
    return flags(pc.not_equal(before, after))


def _lists_differ(before: pa.Array, after: pa.Array, both: Mask) -> Mask:
    """Lists differ in length, or in an item; items are compared all at once and counted back to their rows."""
    result = np.zeros(len(before), dtype=bool)
    rows = np.flatnonzero(both)
    lengths_before = _lengths(before)[rows]
    same_length = lengths_before == _lengths(after)[rows]
    result[rows[~same_length]] = True
    alike = rows[same_length]
    places = arrow_numbers(alike)
    items = rows_differ(before.take(places).flatten(), after.take(places).flatten())
    owners = np.repeat(alike, lengths_before[same_length])
    result[owners[items]] = True
    return result


def _lengths(array: pa.Array) -> npt.NDArray[np.int64]:
    """The length of each list; what stands for a null is not defined."""
    return numbers(pc.list_value_length(array)).astype(np.int64)
