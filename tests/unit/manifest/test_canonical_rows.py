"""The canonical bytes of rows: RFC 8785, one row at a time and by columns."""

from __future__ import annotations

import datetime as dt
import json
import struct
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapin.base.errors import BadRows
from datapin.manifest.columns.canonical_rows import number_text, row_bytes, rows_as_bytes

# RFC 8785, appendix B: IEEE 754 bits and how they are written.
NUMBERS = """
0000000000000000 0
8000000000000000 0
0000000000000001 5e-324
8000000000000001 -5e-324
7fefffffffffffff 1.7976931348623157e+308
ffefffffffffffff -1.7976931348623157e+308
4340000000000000 9007199254740992
c340000000000000 -9007199254740992
4430000000000000 295147905179352830000
44b52d02c7e14af5 9.999999999999997e+22
44b52d02c7e14af6 1e+23
44b52d02c7e14af7 1.0000000000000001e+23
444b1ae4d6e2ef4e 999999999999999700000
444b1ae4d6e2ef4f 999999999999999900000
444b1ae4d6e2ef50 1e+21
3eb0c6f7a0b5ed8c 9.999999999999997e-7
3eb0c6f7a0b5ed8d 0.000001
41b3de4355555553 333333333.3333332
41b3de4355555557 333333333.33333343
becbf647612f3696 -0.0000033333333333333333
43143ff3c1cb0959 1424953923781206.2
"""
CELLS = st.dictionaries(
    st.text(min_size=1),
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    max_size=6,
)


@pytest.mark.parametrize(("bits", "text"), [line.split() for line in NUMBERS.split("\n") if line])
def test_numbers_are_written_as_the_rfc_says(bits: str, text: str) -> None:
    assert number_text(struct.unpack(">d", bytes.fromhex(bits))[0]) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_reads_back(number: float) -> None:
    assert float(number_text(number)) == number


def test_names_are_sorted_by_utf_16_and_text_has_least_escapes() -> None:
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]  # RFC 8785, 3.2.3
    assert list(json.loads(row_bytes(dict.fromkeys(names, 0)))) == [
        "\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33",
    ]  # fmt: skip
    assert row_bytes({"a": '"\\\b\f\n\r\t\x0f\x7f/é'}) == b'{"a":"\\"\\\\\\b\\f\\n\\r\\t\\u000f\x7f/\xc3\xa9"}'


@given(CELLS)
def test_a_row_alone_and_a_row_of_a_table_are_the_same(cells: dict[str, Any]) -> None:
    arrays = {}
    for name, value in cells.items():
        wide = isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 63
        kept = Decimal(value % 10**38) if wide else value
        arrays[name] = pa.array([kept, None], pa.decimal128(38, 0) if wide else None)
        cells = {**cells, name: int(kept) if wide else value}
    if not arrays:
        return
    one, other = rows_as_bytes(pa.table(arrays), "test")
    assert (one, other) == (row_bytes(cells), b"{}")
    kept = {name: value for name, value in cells.items() if value is not None and value == value}
    assert {name: type(kept[name])(value) for name, value in json.loads(one).items()} == kept


def test_what_json_does_not_have_has_one_spelling() -> None:
    moment = dt.datetime(2024, 2, 29, 16, 9, 0, 500000)
    table = pa.table(
        {
            "bytes": [b"\0\xff"], "date": [moment.date()], "decimal": [Decimal("-1.50")],
            "float": pa.array([0.1], pa.float32()), "huge": pa.array([2**64 - 1], pa.uint64()),
            "list": [[1, None, 2.0]], "moment": pa.array([moment], pa.timestamp("ns")), "no": [float("nan")],
            "pause": pa.array([5], pa.duration("s")), "struct": [{"b": "x", "a": None}],
            "time": pa.array([moment.time()], pa.time64("us")), "void": pa.nulls(1),
            "zoned": pa.array([moment], pa.timestamp("us", "Europe/Berlin")),
        }
    )  # fmt: skip
    expected = (
        b'{"bytes":"AP8=","date":"2024-02-29","decimal":-1.5,"float":0.10000000149011612,"huge":18446744073709551615,'
        b'"list":[1,null,2],"moment":"2024-02-29T16:09:00.5","pause":"5 s","struct":{"a":null,"b":"x"},'
        b'"time":"16:09:00.5","zoned":"2024-02-29T16:09:00.5Z"}'
    )
    assert rows_as_bytes(table, "test") == [expected]


def test_a_table_of_one_type_and_of_another_has_the_same_rows() -> None:
    floats, integers = pa.table({"a": [1.0, 2.0, None]}), pa.table({"a": [1, 2, None], "b": pa.nulls(3)})
    assert rows_as_bytes(floats, "test") == rows_as_bytes(integers, "test") == [b'{"a":1}', b'{"a":2}', b"{}"]


def test_an_infinite_number_is_refused() -> None:
    with pytest.raises(BadRows, match="column 'a' holds an infinite number"):
        rows_as_bytes(pa.table({"a": [1.0, float("-inf")]}), "t.csv")
    with pytest.raises(ValueError, match="infinite"):
        row_bytes({"a": float("inf")})
