"""Cells as Python values, for any stored type: what Python cannot hold exactly becomes the text that shows it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from datapin.manifest.columns.columns import Column, decoded, one_array
from datapin.manifest.columns.mapped_types import mapped_type


def python_values(column: Column) -> list[Any]:
    """The values of a column, None for nulls.

    Times finer than a microsecond, or outside of Python's years 1 to 9999, make the whole column text; so do durations
    that Python cannot hold, with their unit: `5 ns`.
    """
    kind = column.type
    if not (types.is_temporal(kind) or types.is_nested(kind) or types.is_dictionary(kind)):
        values: list[Any] = column.to_pylist()
        return values
    array = decoded(one_array(column))
    if types.is_interval(kind):
        return [None if found is None else _interval_text(found) for found in array.to_pylist()]
    try:
        # A safe cast: it raises where nanoseconds would be lost.
        values = array.cast(mapped_type(array.type, _microseconds)).to_pylist()
    except (pa.ArrowException, OverflowError, ValueError):
        values = _texts(array)
    return values


def python_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table, each from column names to `python_values`."""
    columns = [python_values(column) for column in table.columns]
    return [dict(zip(table.column_names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _microseconds(kind: pa.DataType) -> pa.DataType:
    if types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if types.is_time64(kind):
        return pa.time64("us")
    return pa.duration("us") if types.is_duration(kind) and kind.unit == "ns" else kind


def _texts(array: pa.Array) -> list[Any]:
    if types.is_duration(array.type):
        return pc.binary_join_element_wise(array.cast(pa.string()), array.type.unit, " ").to_pylist()  # type: ignore[no-any-return]
    try:
        return array.cast(mapped_type(array.type, _text)).to_pylist()  # type: ignore[no-any-return]
    except pa.ArrowException:  # a time zone that this machine does not know
        return array.cast(mapped_type(array.type, _in_utc)).cast(mapped_type(array.type, _text)).to_pylist()  # type: ignore[no-any-return]


def _text(kind: pa.DataType) -> pa.DataType:
    return pa.string() if types.is_temporal(kind) else kind


def _in_utc(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp(kind.unit, "UTC") if types.is_timestamp(kind) and kind.tz is not None else kind


def _interval_text(found: Any) -> str:
    months, days, nanoseconds = found
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    parts = [f"{count} {unit}" for count, unit in ((months, "months"), (days, "days")) if count]
    if nanoseconds or not parts:
        parts.append(f"{seconds}.{rest:09}".rstrip("0").rstrip(".") + " s")
    return " ".join(parts)
