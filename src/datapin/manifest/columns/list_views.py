"""List views as plain lists: Arrow's own cast (26.0) leaves offsets that are too short where a row is null."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

_LISTS = (types.is_list, types.is_large_list, types.is_list_view, types.is_large_list_view)


def has_list_views(kind: pa.DataType) -> bool:
    """Whether there are any in a type, at any depth."""
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        return True
    return any(has_list_views(kind.field(number).type) for number in range(kind.num_fields))


def without_list_views(array: pa.Array) -> pa.Array:
    """The same values in lists. Raises ArrowNotImplementedError for views within maps and fixed-size lists."""
    kind = array.type
    if not has_list_views(kind):
        return array
    if types.is_struct(kind):
        children = [without_list_views(child) for child in array.flatten()]
        return pa.StructArray.from_arrays(children, [field.name for field in kind], mask=array.is_null())
    if any(matches(kind) for matches in _LISTS):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])).cast(pa.int32())
        return pa.ListArray.from_arrays(offsets, without_list_views(array.flatten()), mask=array.is_null())
    raise pa.ArrowNotImplementedError(f"{kind} is not turned into lists")
