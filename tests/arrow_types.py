"""One column of each Arrow type that Parquet, or a table in memory, can hold; three rows, the second one null."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa

_NS = 1_700_000_000_123_456_789
_YEAR_10000_US = 253_402_300_800_000_000 + 10**12
_DICTIONARY = pa.array(["a", "c"]).dictionary_encode()

COLUMNS: dict[str, pa.Array] = {
    "null": pa.nulls(3),
    "bool": pa.array([True, None, False]),
    "uint64": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "float16": pa.array([1.5, None, 2.25], pa.float16()),
    "float32": pa.array([1.5, None, 2.5], pa.float32()),
    "date32": pa.array([1, None, 4_000_000], pa.date32()),
    "date64": pa.array([86_400_000, None, 0], pa.date64()),
    "time32_s": pa.array([1, None, 3], pa.time32("s")),
    "time32_ms": pa.array([1, None, 3], pa.time32("ms")),
    "time64_us": pa.array([1, None, 3], pa.time64("us")),
    "time64_ns": pa.array([1, None, 3_600_000_000_007], pa.time64("ns")),
    "timestamp_s": pa.array([1, None, 3], pa.timestamp("s")),
    "timestamp_us_late": pa.array([1, None, _YEAR_10000_US], pa.timestamp("us")),
    "timestamp_ms_early": pa.array([-(10**14), None, 3], pa.timestamp("ms")),
    "timestamp_ns": pa.array([_NS, None, 3], pa.timestamp("ns")),
    "timestamp_ns_utc": pa.array([_NS, None, 3], pa.timestamp("ns", "UTC")),
    "timestamp_us_berlin": pa.array([1, None, _YEAR_10000_US], pa.timestamp("us", "Europe/Berlin")),
    "timestamp_us_offset": pa.array([1, None, 3], pa.timestamp("us", "+02:00")),
    "duration_s_long": pa.array([1, None, 10**15], pa.duration("s")),
    "duration_ms": pa.array([1, None, 3], pa.duration("ms")),
    "duration_us": pa.array([-1, None, 3 * 86_400_000_000], pa.duration("us")),
    "duration_ns": pa.array([1, None, 3000], pa.duration("ns")),
    "decimal32": pa.array([Decimal("1.5"), None, Decimal("2.25")], pa.decimal32(5, 2)),
    "decimal64": pa.array([Decimal("1.5"), None, Decimal("2.25")], pa.decimal64(15, 2)),
    "decimal128": pa.array([Decimal("1.5"), None, Decimal("2.25")], pa.decimal128(20, 2)),
    "decimal256": pa.array([Decimal("1.5"), None, Decimal("2.25")], pa.decimal256(50, 2)),
    "decimal256_wide": pa.array([Decimal("1" * 60), None, Decimal("2.25")], pa.decimal256(70, 2)),
    "string": pa.array(["a", None, "c"]),
    "large_string": pa.array(["a", None, "c"], pa.large_string()),
    "string_view": pa.array(["a", None, "c" * 30], pa.string_view()),
    "binary": pa.array([b"a", None, b"\xff"]),
    "large_binary": pa.array([b"a", None, b"\xff"], pa.large_binary()),
    "binary_view": pa.array([b"a", None, b"\xff"], pa.binary_view()),
    "fixed_binary": pa.array([b"ab", None, b"\xff\xfe"], pa.binary(2)),
    "dictionary_string": pa.array(["a", None, "c"]).dictionary_encode(),
    "dictionary_int": pa.array([1, None, 3]).dictionary_encode(),
    "dictionary_ns": pa.array([_NS, None, 3], pa.timestamp("ns")).dictionary_encode(),
    "list_string": pa.array([["a"], None, []]),
    "large_list": pa.array([["a"], None, []], pa.large_list(pa.string())),
    "list_of_views": pa.array([["a"], None, []], pa.list_(pa.string_view())),
    "list_view": pa.array([["a"], None, []], pa.list_view(pa.string())),
    "large_list_view": pa.array([["a"], None, []], pa.large_list_view(pa.string_view())),
    "list_ns": pa.array([[_NS], None, []], pa.list_(pa.timestamp("ns"))),
    "list_null": pa.array([[None], None, []], pa.list_(pa.null())),
    "list_float16": pa.array([[1.5], None, []], pa.list_(pa.float16())),
    "list_decimal256": pa.array([[Decimal("1.5")], None, []], pa.list_(pa.decimal256(50, 2))),
    "list_duration": pa.array([[1], None, []], pa.list_(pa.duration("ns"))),
    "list_struct": pa.array([[{"a": 1}], None, []]),
    "list_dictionary": pa.ListArray.from_arrays(pa.array([0, None, 1, 2], pa.int32()), _DICTIONARY),
    "vector": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
    "vector_float16": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float16(), 2)),
    "struct": pa.array(
        [{"a": _NS, "b": "x", "c": b"q", "d": 1}, None, {"a": None, "b": "y", "c": None, "d": 2}],
        pa.struct(
            [("a", pa.timestamp("ns")), ("b", pa.string_view()), ("c", pa.binary_view()), ("d", pa.time64("ns"))]
        ),
    ),
    "map": pa.array([[("a", _NS)], None, []], pa.map_(pa.string_view(), pa.timestamp("ns"))),
}
