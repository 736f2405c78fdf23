"""Types made from other types, leaf by leaf, through lists, structs and maps."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from pyarrow import types

Leaf = Callable[[pa.DataType], pa.DataType]


def mapped_type(kind: pa.DataType, leaf: Leaf) -> pa.DataType:
    """`kind` with `leaf` of each of its scalar types; a dictionary counts as its values."""
    if types.is_dictionary(kind):
        return mapped_type(kind.value_type, leaf)
    if types.is_struct(kind):
        return pa.struct([pa.field(field.name, mapped_type(field.type, leaf)) for field in kind])
    if types.is_map(kind):
        return pa.map_(mapped_type(kind.key_type, leaf), mapped_type(kind.item_type, leaf))
    if types.is_fixed_size_list(kind):
        return pa.list_(mapped_type(kind.value_type, leaf), kind.list_size)
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.list_(mapped_type(kind.value_type, leaf))
    return leaf(kind)
