"""From text to numbers, truth values, dates and times, where nothing is lost: `007` is not 7, nor `1.10` 1.1.

A column gets a type other than text only if every value is written exactly as that type writes it. So the text could be
made again from the values, whatever they meant.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_INTEGER = r"^(?:0|-?[1-9][0-9]{0,18})$"
_FLOAT = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[-+][0-9]{2,3})?$|^-?inf$|^nan$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$"
_TRUTHS = (("true", "false"), ("True", "False"))


def typed(texts: pa.StringArray) -> pa.Array:
    """The column in the first type that writes its values as they are: integer, float, truth, date, time; or text.

    A column without any value is of type null.
    """
    if texts.null_count == len(texts):
        return pa.nulls(len(texts))
    for attempt in (_integers, _floats, _truths, _dates, _times):
        found = attempt(texts)
        if found is not None:
            return found
    return texts


def mixed_numbers(texts: pa.StringArray) -> pa.Array | None:
    """The numbers of a column that writes some of them as whole numbers and some not: `1` and `1.5`; None if not so.

    No type writes all of them as they are, so that they stay text unless the user, or the dataset, says otherwise.
    """
    if texts.null_count == len(texts) or not _all(pc.match_substring_regex(texts, _FLOAT)):
        return None
    is_whole = pc.match_substring_regex(texts, _INTEGER)
    found = _cast(texts, pa.float64())
    if found is None or not _all(pc.or_(is_whole, pc.equal(_written(found), texts))):
        return None
    is_exact = pc.or_(pc.invert(is_whole), pc.less_equal(pc.abs(found), float(1 << 53)))
    return found if _all(is_exact) else None


def _all(mask: pa.Array) -> bool:
    return pc.all(mask).as_py() is not False


def _integers(texts: pa.StringArray) -> pa.Array | None:
    return _cast(texts, pa.int64()) if _all(pc.match_substring_regex(texts, _INTEGER)) else None


def _floats(texts: pa.StringArray) -> pa.Array | None:
    if not _all(pc.match_substring_regex(texts, _FLOAT)) or not pc.any(pc.match_substring(texts, ".")).as_py():
        return None
    found = _cast(texts, pa.float64())
    return found if found is not None and _all(pc.equal(_written(found), texts)) else None


def _written(values: pa.DoubleArray) -> pa.StringArray:
    """As Python, JSON and pandas write floats; Arrow leaves `.0` away and takes another turn to exponents."""
    distinct = values.dictionary_encode()
    return pa.array([repr(value) for value in distinct.dictionary.to_pylist()], pa.string()).take(distinct.indices)


def _truths(texts: pa.StringArray) -> pa.Array | None:
    for words in _TRUTHS:
        if _all(pc.is_in(texts.drop_null(), value_set=pa.array(words))):
            return pc.if_else(pc.is_valid(texts), pc.equal(texts, words[0]), pa.scalar(None, pa.bool_()))
    return None


def _dates(texts: pa.StringArray) -> pa.Array | None:
    return _cast(texts, pa.date32()) if _all(pc.match_substring_regex(texts, _DATE)) else None


def _times(texts: pa.StringArray) -> pa.Array | None:
    return _cast(texts, pa.timestamp("s")) if _all(pc.match_substring_regex(texts, _TIME)) else None


def _cast(texts: pa.StringArray, kind: pa.DataType) -> pa.Array | None:
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        return None
