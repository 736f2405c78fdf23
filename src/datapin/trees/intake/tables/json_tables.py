"""JSON as columns: objects one after the other (JSON Lines, or laid out in any way), or one array of them.

Text stays text, also where it looks like a time; integers keep all their digits; nested values are no exception.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from datapin.base.errors import BadRows

_SPACE = re.compile(r"[ \t\r\n]*")
_BETWEEN = re.compile(r"[ \t\r\n,]*")
_DIGITS = 38


def read_json(path: Path, data: bytes, as_text: Collection[str]) -> pa.Table:
    """The table in `data` (UTF-8), one row for each object, null where one lacks a field.

    The columns `as_text` take any value, as it is written. Raises BadRows.
    """
    columns: dict[str, list[Any]] = {}
    count = 0
    for row in _objects(path, data.decode("utf-8")):
        for name, value in row.items():
            column = columns.setdefault(name, [])
            if len(column) < count:
                column.extend([None] * (count - len(column)))
            column.append(value)
        count += 1
    if not columns:
        raise BadRows(
            str(path), "cannot be read as json: it has no rows", "write one object a line, or an array of them"
        )
    arrays = {}
    for name, values in columns.items():
        values.extend([None] * (count - len(values)))
        arrays[name] = _column(path, name, values, as_text=name in as_text)
    return pa.table(arrays)


def _objects(path: Path, text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite)
    place = _behind(_SPACE, text, 0)
    is_array = text.startswith("[", place)
    place += is_array
    while True:
        place = _behind(_BETWEEN if is_array else _SPACE, text, place)
        if place == len(text) or (is_array and text[place] == "]"):
            break
        try:
            found, end = decoder.raw_decode(text, place)
        except ValueError as error:
            line = text.count("\n", 0, getattr(error, "pos", place)) + 1
            problem = f"cannot be read as json: line {line}: {getattr(error, 'msg', error)}"
            raise BadRows(str(path), problem, f"correct this line of {path}") from None
        except RecursionError:
            raise BadRows(str(path), "cannot be read as json: nested too deeply", f"flatten {path}") from None
        if not isinstance(found, dict):
            line = text.count("\n", 0, place) + 1
            problem = f"cannot be read as json: line {line} holds {type(found).__name__}, expected an object"
            raise BadRows(str(path), problem, "write one object a line, or an array of objects")
        yield found
        place = end
    if is_array and (place == len(text) or text[place + 1 :].strip()):
        raise BadRows(str(path), "cannot be read as json: its array does not end", f"is {path} whole?")


def _behind(pattern: re.Pattern[str], text: str, place: int) -> int:
    found = pattern.match(text, place)
    return found.end() if found is not None else place


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"field {next(n for n in names if names.count(n) > 1)!r} appears more than once")
    return found


def _column(path: Path, name: str, values: list[Any], *, as_text: bool) -> pa.Array:
    if as_text:
        values = [one if one is None or isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in values]
    try:
        try:
            return pa.array(values)
        except OverflowError:  # integers of more than 63 bits
            return pa.array(values, _wide_kind(values))
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        problem = f"column {name!r} has no one type: {str(error).splitlines()[0][:120]}"
        advice = f"repeat with `--types {shlex.quote(name)}=text`, which keeps each value as it is written"
        raise BadRows(str(path), problem, advice) from None


def _wide_kind(values: list[Any]) -> pa.DataType:
    """The type of values with integers beyond 63 bits in them: unsigned, or decimal, which keeps up to 38 digits."""
    given = [one for one in values if one is not None]
    if given and all(isinstance(one, dict) for one in given):
        names = dict.fromkeys(name for one in given for name in one)
        return pa.struct([(name, _wide_kind([one.get(name) for one in given])) for name in names])
    if given and all(isinstance(one, list) for one in given):
        return pa.list_(_wide_kind([item for one in given for item in one]))
    if given and all(type(one) is int for one in given) and max(map(abs, given)) >= 1 << 63:
        is_unsigned = min(given) >= 0 and max(given) < 1 << 64
        return pa.uint64() if is_unsigned else pa.decimal128(_DIGITS, 0)
    return pa.infer_type(given)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is larger than any number that a float holds")
    return value
