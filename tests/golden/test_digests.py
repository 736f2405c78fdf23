"""Digests hold still: hashes that were written down once, and an encoder written from docs/format.md alone."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datapin.manifest.columns.schema import normalise
from datapin.manifest.files.digest import manifest_digest, shard_digest

_IDS = [hashlib.sha256(key.encode()).hexdigest() for key in ("a", "b", "ü/c")]


def plain_rows() -> pa.Table:
    return pa.table({"key": ["a", "b", "ü/c"], "asset_id": _IDS, "size": [0, 1, 2**40]})


def labelled_rows() -> pa.Table:
    rows = plain_rows().append_column("media_type", pa.array(["image/png", None, "image/png"]).dictionary_encode())
    rows = rows.append_column("label", pa.array(["cat", "", None]))
    return rows.append_column("split", pa.array(["train", "val", "test"]))


def every_type() -> pa.Table:
    """One column of each storable kind, each with a null, an empty value or an edge where there is one."""
    rows = plain_rows()
    struct_type = pa.struct([("x", pa.int8()), ("y", pa.list_(pa.string()))])
    columns: dict[str, pa.Array] = {
        "t_bool": pa.array([True, None, False]),
        "t_null": pa.nulls(3),
        **{f"t_int{bits}": pa.array([-1, None, 2 ** (bits - 1) - 1], f"int{bits}") for bits in (8, 16, 32, 64)},
        **{f"t_uint{bits}": pa.array([0, None, 2**bits - 1], f"uint{bits}") for bits in (8, 16, 32, 64)},
        "t_half": pa.array(np.array([0.5, -0.0, np.inf], dtype=np.float16)),
        "t_float": pa.array([1.5, None, -0.0], pa.float32()),
        "t_double": pa.array([float("nan"), None, 1e300], pa.float64()),
        "t_date": pa.array([date(1970, 1, 1), None, date(2024, 2, 29)]),
        "t_time32": pa.array([time(1, 2, 3), None, time(0)], pa.time32("ms")),
        "t_time64": pa.array([time(1, 2, 3, 4), None, time(0)], pa.time64("us")),
        "t_stamp": pa.array([datetime(2024, 1, 1), None, datetime(1969, 1, 1)], pa.timestamp("us")),
        "t_zoned": pa.array([datetime(2024, 1, 1, tzinfo=UTC), None, None], pa.timestamp("ns", "UTC")),
        "t_duration": pa.array([timedelta(seconds=1), None, timedelta(0)], pa.duration("us")),
        "t_decimal": pa.array([Decimal("1.25"), None, Decimal("-3.00")], pa.decimal128(10, 2)),
        "t_wide": pa.array([Decimal("1.25"), None, Decimal("-3.00")], pa.decimal256(50, 2)),
        "t_text": pa.array(["", None, "ü\U0001f600"]),
        "t_binary": pa.array([b"", None, b"\x00\xff"]),
        "t_fixed": pa.array([b"ab", None, b"\x00\x00"], pa.binary(2)),
        "t_list": pa.array([[1, None], None, []], pa.list_(pa.int16())),
        "t_nested": pa.array([[["a"], []], None, [None]], pa.list_(pa.list_(pa.string()))),
        "t_vector": pa.array([[1.0, 2.0], None, [None, -0.0]], pa.list_(pa.float32(), 2)),
        "t_struct": pa.array([{"x": 1, "y": ["p"]}, None, {"x": None, "y": None}], struct_type),
        "t_map": pa.array([[("a", 1), ("b", None)], None, []], pa.map_(pa.string(), pa.int32())),
    }
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    return rows


GOLDEN = {
    "plain": "3b58b9a444e5bbf09228404f25cff1a450e910ab0996c64841df88970a28cc1b",
    "labelled": "2ab2a024272a8697660d2f80217adf9f47a157ff0f1c89d9a72938b0f6dab81d",
    "every": "a972855232ccf4613dd13b04ba5817b6e0cc6e6c2d1dd5086922e54f0b17c67f",
    "empty": "fe44b6fe941a6142e8c72a702ebdb8a00dba1100ce2e55e22389a756039ecaf1",
}
TABLES: dict[str, Callable[[], pa.Table]] = {
    "plain": plain_rows,
    "labelled": labelled_rows,
    "every": every_type,
    "empty": lambda: plain_rows().slice(0, 0),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_shard_digest_is_the_one_written_down(name: str) -> None:
    assert shard_digest(normalise(TABLES[name](), where="rows")) == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_a_shard_digest_follows_from_the_format_page(name: str) -> None:
    table = normalise(TABLES[name](), where="rows")
    assert shard_digest(table) == hashlib.sha256(_encode_table(table)).hexdigest()


def test_a_manifest_digest_is_the_one_written_down() -> None:
    schema = normalise(labelled_rows(), where="rows").schema
    blocks = [GOLDEN["labelled"], GOLDEN["plain"]]
    expected = b"DPM1" + struct.pack("<Q", 6)
    for name, kind in [(field.name, "int64" if field.name == "size" else "string") for field in schema]:
        expected += _text(name) + _text(kind)
    expected += struct.pack("<Q", 2) + b"".join(bytes.fromhex(block) for block in blocks)
    assert manifest_digest(schema, blocks) == f"sha256:{hashlib.sha256(expected).hexdigest()}"
    assert manifest_digest(schema, blocks) == "sha256:8dc355477da714d4bed42cffeaf59a1b23c8db83aa38399aeac2eafc91a052a4"


# --- an encoder over Python values, as docs/format.md#digest describes it -------------------------------------------


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _encode_table(table: pa.Table) -> bytes:
    names = {
        "halffloat": "float16",
        "float": "float32",
        "double": "float64",
        "date32[day]": "date32",
        "fixed_size_list<item: float>[2]": "fixed_size_list<float32>[2]",
        "list<item: int16>": "list<int16>",
        "list<item: list<item: string>>": "list<list<string>>",
        "struct<x: int8, y: list<item: string>>": 'struct<"x": int8, "y": list<string>>',
        "map<string, int32>": "map<string, int32>",
        "dictionary<values=string, indices=int32, ordered=0>": "string",
    }
    result = b"DPS1" + struct.pack("<QQ", table.num_rows, table.num_columns)
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        result += _text(field.name) + _text(names.get(str(field.type), str(field.type)))
        result += _encode(kind, _values(column.combine_chunks()))
    return result


def _values(array: pa.Array) -> list[Any]:
    if pa.types.is_temporal(array.type):  # as the integers they are stored as
        array = array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64())
    return list(array.to_pylist())


def _bits(flags: list[bool]) -> bytes:
    result = bytearray((len(flags) + 7) // 8)
    for row, flag in enumerate(flags):
        result[row // 8] |= flag << (row % 8)
    return bytes(result)


_STRUCT_CODES = {
    **{f"int{bits}": code for bits, code in ((8, "b"), (16, "h"), (32, "i"), (64, "q"))},
    **{f"uint{bits}": code for bits, code in ((8, "B"), (16, "H"), (32, "I"), (64, "Q"))},
    "halffloat": "e",
    "float": "f",
    "double": "d",
}


def _encode(kind: pa.DataType, values: list[Any]) -> bytes:
    result = _bits([value is not None for value in values])
    present = [value for value in values if value is not None]
    if pa.types.is_null(kind):
        return result
    if pa.types.is_boolean(kind):
        return result + _bits([bool(value) for value in values])
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        raw = [value.encode() if isinstance(value, str) else value or b"" for value in (v or b"" for v in values)]
        return result + struct.pack(f"<{len(raw)}q", *map(len, raw)) + b"".join(raw)
    if pa.types.is_struct(kind):
        for field in kind:
            result += _encode(field.type, [None if value is None else value[field.name] for value in values])
        return result
    if pa.types.is_map(kind):
        pairs = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        as_lists = [None if v is None else [{"key": key, "value": item} for key, item in v] for v in values]
        return _encode(pa.list_(pairs), as_lists)
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        if pa.types.is_list(kind):
            result += struct.pack(f"<{len(values)}q", *(len(value or ()) for value in values))
        return result + _encode(kind.value_type, [item for value in present for item in value])
    return result + b"".join(_scalar(kind, value) for value in values)


def _scalar(kind: pa.DataType, value: Any) -> bytes:
    width = kind.bit_width // 8
    if value is None:
        return bytes(width)
    if pa.types.is_fixed_size_binary(kind):
        return bytes(value)
    if pa.types.is_decimal(kind):
        return int(value.scaleb(kind.scale)).to_bytes(width, "little", signed=True)
    if pa.types.is_temporal(kind):
        return int(value).to_bytes(width, "little", signed=True)
    return struct.pack("<" + _STRUCT_CODES[str(kind)], value)
