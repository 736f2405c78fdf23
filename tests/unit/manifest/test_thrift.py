"""The decoder of Parquet footers, against pyarrow on whole files and against noise."""

from __future__ import annotations

import io
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapin.manifest.files.thrift import BrokenThrift, decode_struct


def _footer() -> tuple[bytes, pq.FileMetaData]:
    sink = io.BytesIO()
    table = pa.table({"key": [f"{n:04d}" for n in range(1000)], "list": [[n, None] for n in range(1000)]})
    pq.write_table(table.replace_schema_metadata({"a": "b"}), sink, row_group_size=300)
    data = sink.getvalue()
    length = int.from_bytes(data[-8:-4], "little")
    return data[-8 - length : -8], pq.read_metadata(io.BytesIO(data))


def test_a_footer_is_decoded_as_pyarrow_decodes_it() -> None:
    data, expected = _footer()
    fields = decode_struct(data)
    assert fields[3] == expected.num_rows == 1000
    assert [group[3] for group in fields[4]] == [300, 300, 300, 100]
    for number, group in enumerate(fields[4]):
        assert group[2] == expected.row_group(number).total_byte_size
        for column, chunk in enumerate(group[1]):
            seen = expected.row_group(number).column(column)
            assert b".".join(chunk[3][3]).decode() == seen.path_in_schema
            assert chunk[3][6] == seen.total_uncompressed_size
    assert fields[4][1][1][0][3][12][6] == b"0300"
    assert {pair[1]: pair[2] for pair in fields[5]}[b"a"] == b"b"


@given(st.binary(max_size=200))
def test_noise_is_decoded_or_refused_in_short_time(data: bytes) -> None:
    with suppress(BrokenThrift):
        decode_struct(data)


@given(st.data())
def test_a_footer_with_changed_bytes_is_decoded_or_refused(data: st.DataObject) -> None:
    broken = bytearray(_FOOTER)
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BrokenThrift):
        decode_struct(bytes(broken))


_FOOTER = _footer()[0]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ends in the middle"),
        (b"\x18\xff\xff\xff\xff\x0fa", "claims a text of 4294967295 bytes"),
        (b"\x19\xf5\xff\xff\xff\xff\x0f", "claims a list of 4294967295 values"),
        (b"\x1c" * 1000, "nested too deeply"),
        (b"\x19" * 1000, "nested too deeply"),
        (b"\x16" + b"\xff" * 20, "more than 64 bits"),
        (b"\x1e", "unknown type 14"),
    ],
)
def test_a_hostile_footer_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(BrokenThrift, match=says):
        decode_struct(data)
