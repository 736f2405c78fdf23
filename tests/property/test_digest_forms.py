"""One logical content, one digest: whatever the slices, chunks, encodings and layouts that hold it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from datapin.manifest.columns.schema import normalise
from datapin.manifest.comparing.compare import rows_differ
from datapin.manifest.files.digest import shard_digest

_TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
_INNER = pa.struct([("x", pa.int8()), ("y", pa.list_(pa.string()))])
KINDS: dict[pa.DataType, st.SearchStrategy[object]] = {
    pa.bool_(): st.booleans(),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): _TEXT,
    pa.binary(): st.binary(max_size=5),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.decimal128(8, 2): st.decimals(-99999, 99999, places=2),
    pa.list_(pa.int32()): st.lists(st.none() | st.integers(-9, 9), max_size=3),
    pa.list_(pa.list_(pa.string())): st.lists(st.none() | st.lists(_TEXT, max_size=2), max_size=3),
    pa.list_(pa.float32(), 2): st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2),
    _INNER: st.fixed_dictionaries({"x": st.none() | st.integers(-9, 9), "y": st.none() | st.lists(_TEXT, max_size=2)}),
    pa.map_(pa.string(), pa.int32()): st.lists(st.tuples(_TEXT, st.none() | st.integers(-9, 9)), max_size=2),
}
_LARGE = {
    pa.string(): (pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())),
    pa.binary(): (pa.large_binary(), pa.binary_view()),
    pa.list_(pa.int32()): (pa.large_list(pa.int32()),),
    pa.list_(pa.list_(pa.string())): (pa.large_list(pa.list_(pa.large_string())),),
}


@st.composite
def columns(draw: st.DrawFn) -> pa.Array:
    kind = draw(st.sampled_from(list(KINDS)))
    return pa.array(draw(st.lists(st.none() | KINDS[kind], min_size=1, max_size=20)), kind)


def _table(column: pa.Array | pa.ChunkedArray) -> pa.Table:
    count = len(column)
    return normalise(
        pa.table(
            {
                "key": [f"{number:03d}" for number in range(count)],
                "asset_id": ["0" * 64] * count,
                "size": pa.array([1] * count, pa.int64()),
                "user": column,
            }
        ),
        where="rows",
    )


def _digest(column: pa.Array | pa.ChunkedArray) -> str:
    return shard_digest(_table(column))


@given(columns(), st.integers(0, 9), st.integers(0, 9))
def test_a_slice_has_the_digest_of_a_copy(column: pa.Array, before: int, after: int) -> None:
    # Concatenation and slicing leave offsets that are no multiple of eight, and garbage on both sides.
    padded = pa.concat_arrays([column[:before], column, column[:after]])
    assert _digest(padded.slice(min(before, len(column)), len(column))) == _digest(column)


@given(columns(), st.integers(1, 5))
def test_chunks_do_not_change_the_digest(column: pa.Array, size: int) -> None:
    chunks = [column.slice(start, size) for start in range(0, len(column), size)]
    assert _digest(pa.chunked_array(chunks)) == _digest(column)


@given(columns())
def test_other_encodings_of_the_same_values_do_not_change_the_digest(column: pa.Array) -> None:
    for other in _LARGE.get(column.type, ()):
        assert _digest(pa.array(column.to_pylist(), other)) == _digest(column)


@given(columns(), st.data())
def test_what_lies_under_nulls_does_not_change_the_digest(column: pa.Array, data: st.DataObject) -> None:
    keep = pa.array(data.draw(st.lists(st.booleans(), min_size=len(column), max_size=len(column))))
    numbers = pa.array([row if kept.as_py() else None for row, kept in enumerate(keep)], pa.int64())
    garbage_below = pc.if_else(keep, column, pa.nulls(len(column), column.type))
    clean = pa.array([None if n is None else column[n].as_py() for n in numbers.to_pylist()], column.type)
    assert _digest(garbage_below) == _digest(clean)


@given(st.data())
def test_other_values_have_another_digest_and_differ_where_they_differ(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(KINDS)))
    values = st.lists(st.none() | KINDS[kind], min_size=4, max_size=4)
    one, other = pa.array(data.draw(values), kind), pa.array(data.draw(values), kind)
    expected = [_digest(one[row : row + 1]) != _digest(other[row : row + 1]) for row in range(4)]
    assert rows_differ(one, other).tolist() == expected
    assert (_digest(one) != _digest(other)) == any(expected)
