"""Arrow types of columns: what a shard stores each one as, and the name each has in the digest."""

from __future__ import annotations

import json
from collections.abc import Callable

import pyarrow as pa
from pyarrow import types

_SCALARS: dict[pa.DataType, str] = {
    pa.null(): "null",
    pa.bool_(): "bool",
    pa.int8(): "int8",
    pa.int16(): "int16",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.uint8(): "uint8",
    pa.uint16(): "uint16",
    pa.uint32(): "uint32",
    pa.uint64(): "uint64",
    pa.float16(): "float16",
    pa.float32(): "float32",
    pa.float64(): "float64",
    pa.date32(): "date32",
    pa.string(): "string",
    pa.binary(): "binary",
}

# What a shard stores instead: the same values in the one type that Parquet gives back unchanged.
_REPLACED: dict[pa.DataType, pa.DataType] = {
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
    pa.time32("s"): pa.time32("ms"),
}

_LISTS = (types.is_list, types.is_large_list, types.is_list_view, types.is_large_list_view)


def storable_type(kind: pa.DataType) -> pa.DataType | None:
    """The type a shard stores for a column of type `kind`; None if it cannot hold such a column.

    Views and large forms become the plain form, dictionaries their values, seconds milliseconds, narrow decimals
    decimal128. Extension types, unions, intervals, run ends and structs without fields are not stored.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return None
    if kind in _REPLACED:
        return _REPLACED[kind]
    if kind in _SCALARS or types.is_fixed_size_binary(kind) or types.is_duration(kind):
        return kind
    if types.is_time(kind):
        return kind
    if types.is_timestamp(kind):
        return pa.timestamp("ms", kind.tz) if kind.unit == "s" else kind
    if types.is_decimal(kind):
        return kind if types.is_decimal256(kind) else pa.decimal128(kind.precision, kind.scale)
    if types.is_dictionary(kind):
        return storable_type(kind.value_type)
    return _storable_nested(kind)


def _storable_nested(kind: pa.DataType) -> pa.DataType | None:
    if types.is_struct(kind):
        parts = [(field.name, storable_type(field.type)) for field in kind]
        names = {name for name, _ in parts}
        if not parts or len(names) != len(parts) or any(part is None for _, part in parts):
            return None
        return pa.struct([pa.field(name, part) for name, part in parts])
    if types.is_map(kind):
        key, item = storable_type(kind.key_type), storable_type(kind.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if types.is_fixed_size_list(kind):
        value = storable_type(kind.value_type)
        return None if value is None or kind.list_size == 0 else pa.list_(value, kind.list_size)
    if any(matches(kind) for matches in _LISTS):
        value = storable_type(kind.value_type)
        return None if value is None else pa.list_(value)
    return None


def type_text(kind: pa.DataType) -> str:
    """The name of a stored type in the digest, see docs/format.md#digest; the same under any pyarrow version."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    for matches, text in _PARAMETRIC:
        if matches(kind):
            return text(kind)
    raise AssertionError(f"{kind} is not a stored type")  # storable_type lets no other pass


def _timestamp_text(kind: pa.DataType) -> str:
    return f"timestamp[{kind.unit}]" if kind.tz is None else f"timestamp[{kind.unit}, tz={kind.tz}]"


def _struct_text(kind: pa.DataType) -> str:
    fields = (f"{json.dumps(field.name, ensure_ascii=False)}: {type_text(field.type)}" for field in kind)
    return f"struct<{', '.join(fields)}>"


_PARAMETRIC: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], str]], ...] = (
    (types.is_dictionary, lambda kind: type_text(kind.value_type)),
    (types.is_timestamp, _timestamp_text),
    (types.is_time32, lambda kind: f"time32[{kind.unit}]"),
    (types.is_time64, lambda kind: f"time64[{kind.unit}]"),
    (types.is_duration, lambda kind: f"duration[{kind.unit}]"),
    (types.is_decimal128, lambda kind: f"decimal128({kind.precision}, {kind.scale})"),
    (types.is_decimal256, lambda kind: f"decimal256({kind.precision}, {kind.scale})"),
    (types.is_fixed_size_binary, lambda kind: f"fixed_size_binary[{kind.byte_width}]"),
    (types.is_struct, _struct_text),
    (types.is_map, lambda kind: f"map<{type_text(kind.key_type)}, {type_text(kind.item_type)}>"),
    (types.is_fixed_size_list, lambda kind: f"fixed_size_list<{type_text(kind.value_type)}>[{kind.list_size}]"),
    (types.is_list, lambda kind: f"list<{type_text(kind.value_type)}>"),
)
