"""The canonical bytes of a row of a table, which are its asset: JSON with one spelling per value (docs/format.md).

RFC 8785 (JSON Canonicalization Scheme), but integers keep all their digits, and a cell without a value is left out.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import BadRows
from datapin.manifest.columns.columns import one_array, shown

MEDIA_TYPE = "application/json"
_TO_ESCAPE = r'["\\\x{00}-\x{1f}]'
_PLAIN_DIGITS = 21  # from here on ECMAScript writes an exponent
_ZEROS_BEFORE = -6  # and from here down


def row_bytes(cells: Mapping[str, Any]) -> bytes:
    """One row, whose values are those that JSON has. Raises ValueError for a number that is infinite."""
    parts = [
        f"{json.dumps(name, ensure_ascii=False)}:{_json(cells[name])}"
        for name in sorted(cells, key=_place)
        if not is_missing(cells[name])
    ]
    return f"{{{','.join(parts)}}}".encode()


def is_missing(value: object) -> bool:
    """Whether a cell has no value: null, or a float that is no number."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def rows_as_bytes(table: pa.Table, where: str) -> list[bytes]:
    """Each row of the table, in order; columns of any type that a manifest stores. Raises BadRows."""
    joined: list[pa.Array] = []
    for name in sorted(table.column_names, key=_place):
        column = one_array(table[name])
        try:
            start = pa.scalar(f",{json.dumps(name, ensure_ascii=False)}:")
            joined.append(pc.fill_null(pc.binary_join_element_wise(start, _texts(column), ""), ""))
        except ValueError as error:
            problem = f"column {shown(name)} holds {error}, which an asset cannot"
            raise BadRows(where, problem, "correct these cells, or leave the column out") from None
    if not joined:
        return [b"{}"] * table.num_rows
    # Not by null_handling="skip": Arrow 26 leaves out rows in which all parts are null.
    rows = pc.binary_join_element_wise(*joined, "")
    return [b"{%s}" % row[1:] for row in rows.cast(pa.binary()).to_pylist()]


def number_text(value: float) -> str:
    """The shortest digits that read back as this number, spelled as ECMAScript does (RFC 8785, 3.2.2.3).

    Raises ValueError if it is infinite.
    """
    if not math.isfinite(value):
        raise ValueError("an infinite number")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, power = f"{abs(value)!r}".partition("e")
    whole, _, rest = mantissa.partition(".")
    digits = (whole + rest).lstrip("0")
    point = len(whole) + int(power or 0) - (len(whole + rest) - len(digits))  # where it stands, from the first digit
    digits = digits.rstrip("0")
    if len(digits) <= point <= _PLAIN_DIGITS:
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if 0 < point <= _PLAIN_DIGITS:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _ZEROS_BEFORE < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"


def _place(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")


def _texts(column: pa.Array) -> pa.Array:
    """The cells as JSON, null where there is no value."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _texts(column.dictionary_decode())
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_boolean(kind):
        return pc.if_else(column, "true", "false")
    if pa.types.is_integer(kind):
        return column.cast(pa.string())
    if pa.types.is_string(kind):
        return _quoted(column)
    if pa.types.is_nested(kind):
        return pa.array([None if one is None else _json(_plain(one)) for one in column.to_pylist()], pa.string())
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind):
        return _quoted(_moments(column))
    encoded = column.dictionary_encode()  # each distinct value once: cells of tables repeat
    values = [None if is_missing(one) else _json(_plain(one)) for one in encoded.dictionary.to_pylist()]
    return pa.array(values, pa.string()).take(encoded.indices)


def _quoted(texts: pa.Array) -> pa.Array:
    plain = pc.binary_join_element_wise('"', texts, '"', "")
    odd = pc.fill_null(pc.match_substring_regex(texts, _TO_ESCAPE), False)
    if not pc.any(odd).as_py():
        return plain
    escaped = [json.dumps(one, ensure_ascii=False) for one in texts.filter(odd).to_pylist()]
    return pc.replace_with_mask(plain, odd, pa.array(escaped, pa.string()))


def _moments(column: pa.Array) -> pa.Array:
    """Times as ISO 8601 has them, without zeros at the end of the second; moments with a zone in UTC."""
    if pa.types.is_duration(column.type):
        return pc.binary_join_element_wise(column.cast(pa.int64()).cast(pa.string()), column.type.unit, " ")
    zone = ""
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column, zone = column.cast(pa.timestamp(column.type.unit)), "Z"
    texts = pc.replace_substring(column.cast(pa.string()), " ", "T")
    texts = pc.replace_substring_regex(texts, r"(\.\d*?)0+$", r"\1")
    return pc.binary_join_element_wise(pc.replace_substring_regex(texts, r"\.$", ""), zone, "")


def _json(value: object) -> str:
    """A value that JSON has."""
    if isinstance(value, float):
        return "null" if math.isnan(value) else number_text(value)
    if isinstance(value, dict):
        parts = [f"{json.dumps(str(key), ensure_ascii=False)}:{_json(value[key])}" for key in sorted(value, key=_place)]
        return f"{{{','.join(parts)}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(_json(one) for one in value)}]"
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, Decimal) else _decimal(value)


def _plain(value: object) -> object:
    """A value of Arrow's as one that JSON has."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return str(value) if not isinstance(value, str | int | float | bool | Decimal | None) else value


def _decimal(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
