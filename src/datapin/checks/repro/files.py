"""Reports, models and other files, pinned and made again: what differs first, and whether it is only numbers."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from datapin.base.documents import read_json
from datapin.base.errors import Damage, listed
from datapin.checks.repro.difference import CLOSE_REPORTS, GRADES, Difference, Grade, NumberGaps
from datapin.checks.repro.tables import compare_parquet
from datapin.manifest.columns.columns import shown
from datapin.pipeline.record.record import RECORD, parse_record

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?(?![\w.])")
_MOST_TEXT_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
_HASHES = ("environment", "outputs")  # of the run record: told of, and told from, elsewhere


def compare_files(before: Path, after: Path, name: str) -> Difference:
    """What differs between two files whose bytes differ. Raises what reading Parquet raises, and OSError."""
    if name.endswith(".parquet"):
        return compare_parquet(before, after, name)
    if max(before.stat().st_size, after.stat().st_size) > _MOST_TEXT_BYTES:
        return _bytes_differ(before, after)
    old, new = before.read_bytes(), after.read_bytes()
    if name.rpartition("/")[2] == RECORD:
        was, now = _record(old), _record(new)
        if was is not None and now is not None:
            return _compare_values(was, now, "only what it tells of the environment and of other outputs differs")
    if name.endswith(".json"):
        try:
            values = read_json(old, name), read_json(new, name)
            return _compare_values(*values, "the values are equal, written in another way")
        except ValueError:
            pass  # a file that only calls itself JSON: its text tells
    try:
        texts = old.decode("utf-8"), new.decode("utf-8")
    except UnicodeDecodeError:
        return _bytes_differ(before, after)
    if "\0" in texts[0] or "\0" in texts[1]:
        return _bytes_differ(before, after)
    return _compare_texts(*texts, _names(texts, name))


def widest_gap(before: Path, after: Path, name: str) -> tuple[float, str] | None:
    """By how much the figures in two JSON files differ at most, and which; None if anything but a figure does.

    Whole numbers count rows, and may not differ. Raises OSError; ValueError if one is no JSON.
    """
    widest, where = 0.0, ""
    for path, was, now in _differing(read_json(before.read_bytes(), name), read_json(after.read_bytes(), name), ""):
        if not (_is_number(was) and _is_number(now)) or (isinstance(was, int) and isinstance(now, int)):
            return None
        gap = abs(float(was) - float(now))
        widest, where = (gap, path) if gap >= widest else (widest, where)
    return widest, where


def compare_folders(before: Mapping[str, Path], after: Mapping[str, Path]) -> Difference:
    """What differs between two folders, given by the files in them. Raises as `compare_files`."""
    lost, new = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    if lost or new:
        kinds = ((lost, "missing"), (new, "new"))
        parts = [f"{len(names)} file(s) are {kind}: {listed(names, 3)}" for names, kind in kinds if names]
        return Difference("different", "; ".join(parts))
    names = [name for name in sorted(before) if before[name].read_bytes() != after[name].read_bytes()]
    if not names:
        return Difference("equal", "the files are equal, DVC's list of them is not")
    found = [(name, compare_files(before[name], after[name], name)) for name in names]
    name, worst = max(found, key=lambda one: GRADES.index(one[1].grade))
    return Difference(worst.grade, f"{len(names)} file(s) of {len(before)} differ, for example {name}: {worst.message}")


def _record(data: bytes) -> dict[str, Any] | None:
    """The run record without what only repeats the bytes of other files; None if it is none."""
    try:
        record = parse_record(data, RECORD)
    except Damage:
        return None
    kept = {name: value for name, value in record.items() if name not in _HASHES}
    model = kept.get("model")
    return {**kept, "model": model.get("path") if isinstance(model, dict) else model}


def _compare_values(before: Any, after: Any, equal: str) -> Difference:
    gaps = NumberGaps(CLOSE_REPORTS)
    differing, first = 0, ""
    for path, was, now in _differing(before, after, ""):
        differing += 1
        first = first or f"{path or 'all'} {_told(was)} → {_told(now)}"
        if _is_number(was) and _is_number(now):
            if isinstance(was, float) or isinstance(now, float):
                gaps.take(float(was), float(now), path)
            else:
                gaps.note(abs(was - now), path)
                gaps.are_close = False
        else:
            gaps.are_close = False
    if not differing:
        return Difference("equal", equal)
    grade: Grade = "close" if gaps.are_close else "different"
    return Difference(grade, f"{differing} value(s) differ, first {first}{gaps.text}")


def _differing(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """The leaves that differ: path, before, after; a name or place that one side lacks is None there."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            yield from _differing(before.get(name), after.get(name), f"{path}.{name}" if path else str(name))
    elif isinstance(before, list) and isinstance(after, list):
        for number, (was, now) in enumerate(zip_longest(before, after)):
            yield from _differing(was, now, f"{path}[{number}]")
    elif before != after or (type(before) is not type(after) and not (_is_number(before) and _is_number(after))):
        yield path, before, after


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _told(value: Any) -> str:
    return "nothing" if value is None else shown(json.dumps(value, ensure_ascii=False))[1:-1]


def _names(texts: tuple[str, str], name: str) -> tuple[list[str], str]:
    """The column names of a table in text, and what separates its columns; none for other text."""
    separator = {".csv": ",", ".tsv": "\t"}.get(name[-4:], "")
    heads = [next(csv.reader(io.StringIO(text), delimiter=separator), []) if separator else [] for text in texts]
    return (heads[0] if heads[0] == heads[1] else [], separator)


def _compare_texts(before: str, after: str, columns: tuple[list[str], str]) -> Difference:
    gaps = NumberGaps(CLOSE_REPORTS)
    differing, first = 0, ""
    for number, (was, now) in enumerate(zip_longest(before.splitlines(), after.splitlines()), start=1):
        if was == now:
            continue
        differing += 1
        first = first or f"line {number}{_cell(was, now, columns)}"
        if was is None or now is None or _NUMBER.sub("#", was) != _NUMBER.sub("#", now):
            gaps.are_close = False
            continue
        for one, other in zip(_NUMBER.findall(was), _NUMBER.findall(now), strict=True):
            if one == other:
                continue
            gaps.take(float(one), float(other), f"line {number}")
            gaps.are_close &= not (one.lstrip("+-").isdigit() and other.lstrip("+-").isdigit())
    if not differing:
        return Difference("equal", "the lines are equal, their ends are not")
    return Difference(
        "close" if gaps.are_close else "different", f"{differing} line(s) differ, first {first}{gaps.text}"
    )


def _cell(before: str | None, after: str | None, columns: tuple[list[str], str]) -> str:
    names, separator = columns
    if names and before is not None and after is not None:
        cells = [next(csv.reader([line], delimiter=separator), []) for line in (before, after)]
        if len(cells[0]) == len(cells[1]) == len(names):
            for name, was, now in zip(names, *cells, strict=True):
                if was != now:
                    return f", column {name}: {shown(was)} → {shown(now)}"
    return f": {'nothing' if before is None else shown(before)} → {'nothing' if after is None else shown(after)}"


def _bytes_differ(before: Path, after: Path) -> Difference:
    sizes = before.stat().st_size, after.stat().st_size
    text = f"{sizes[0]} bytes" if sizes[0] == sizes[1] else f"{sizes[0]} bytes are now {sizes[1]}"
    return Difference("opaque", f"{text}, the first other one at byte {_first_other(before, after)}")


def _first_other(before: Path, after: Path) -> int:
    start = 0
    with open(before, "rb") as one, open(after, "rb") as other:
        while True:
            was, now = one.read(_CHUNK_BYTES), other.read(_CHUNK_BYTES)
            if was != now or not was:
                short = min(len(was), len(now))
                return start + next((place for place in range(short) if was[place] != now[place]), short)
            start += len(was)
