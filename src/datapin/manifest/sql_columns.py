"""Columns on their way into SQL and back: DuckDB lacks half floats, wide decimals and fine or long durations."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from datapin.base.id_columns import arrow_numbers
from datapin.manifest.columns.columns import decoded, one_array
from datapin.manifest.columns.mapped_types import mapped_type

_SQL_DIGITS = 38
_INTERVAL = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
_DAY_MICROSECONDS = 86_400_000_000


def for_sql(table: pa.Table) -> pa.Table:
    """The table with the types that DuckDB reads: half floats as floats, decimals of more than 38 digits as text.

    Durations are intervals where microseconds hold them; if not, they are whole numbers of their unit.
    """
    for number, field in enumerate(table.schema):
        wanted = mapped_type(field.type, _readable_within if types.is_nested(field.type) else _readable)
        if wanted != mapped_type(field.type, _same):
            table = table.set_column(number, field.name, _readable_column(table.column(number), wanted))
    return table


def from_interval(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Intervals without months as a duration, since nothing stores intervals; with months as they are."""
    array = one_array(column)
    if not len(array):
        return column.cast(pa.null()).cast(pa.duration("us"))
    raw = np.frombuffer(array.buffers()[1], _INTERVAL)[array.offset : array.offset + len(array)]
    validity = array.is_valid()
    months = np.where(validity.to_numpy(zero_copy_only=False), raw["months"], 0)
    if months.any():
        return column
    total = raw["days"].astype(np.int64) * _DAY_MICROSECONDS + raw["nanoseconds"] // 1000
    spans = arrow_numbers(total).cast(pa.duration("us"))
    return pa.chunked_array([pc.if_else(validity, spans, pa.scalar(None, spans.type))])


def into_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """What SQL gave as the stored type `kind`. Raises ArrowInvalid where it does not fit."""
    if types.is_interval(column.type):
        column = from_interval(column)
    return column.cast(kind)


def _same(kind: pa.DataType) -> pa.DataType:
    return kind


def _readable(kind: pa.DataType) -> pa.DataType:
    if types.is_float16(kind):
        return pa.float32()
    if types.is_decimal256(kind):
        return pa.decimal128(_SQL_DIGITS, kind.scale) if kind.scale <= _SQL_DIGITS else pa.string()
    return pa.duration("us") if types.is_duration(kind) else kind


def _readable_within(kind: pa.DataType) -> pa.DataType:
    # Intervals within lists would not come back: Arrow casts none of them.
    return pa.int64() if types.is_duration(kind) else _readable(kind)


def _plainest(kind: pa.DataType) -> pa.DataType:
    if types.is_decimal256(kind):
        return pa.string()
    return pa.int64() if types.is_duration(kind) else _readable(kind)


def _readable_column(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    array = decoded(one_array(column))
    try:
        return pa.chunked_array([array.cast(wanted)])
    except pa.ArrowInvalid:
        return pa.chunked_array([array.cast(mapped_type(array.type, _plainest))])
