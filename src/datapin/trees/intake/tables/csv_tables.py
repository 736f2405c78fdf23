"""CSV files as columns of text: the delimiter seen or given, cut-off and overlong rows mended where nothing is lost."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import BadRows, Usage, listed

if TYPE_CHECKING:
    from pyarrow.csv import InvalidRow, ParseOptions

DELIMITERS = (",", ";", "\t", "|")
_SPELLED = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_EXCEL_LINE = re.compile(rb'"?sep=(.)"?\r?\n', re.IGNORECASE)
_INDEX_NAME = re.compile(r"Unnamed: \d+")
_INTEGER = r"^\d+$"
_MOST_BLOCK = (1 << 31) - 1


def delimiter_named(given: str) -> str:
    """The character that `--csv-delimiter` means. Raises Usage."""
    found = _SPELLED.get(given.lower(), given)
    if len(found) != 1 or not found.isascii() or found in '"\r\n':
        raise Usage(f"--csv-delimiter {given!r}: expected one character", "for example ';' or tab")
    return found


def read_csv(path: Path, data: bytes, delimiter: str | None, key_names: Collection[str]) -> tuple[pa.Table, list[str]]:
    """The table in `data` (UTF-8), all of it text, empty cells null; and notes on what was left out.

    `key_names` are what the column of names may be called: the delimiter that shows one of them in the header is the
    right one. Raises BadRows.
    """
    if delimiter is None and (excel := _EXCEL_LINE.match(data)):
        delimiter, data = excel[1].decode(), data[excel.end() :]
    data = data if data.endswith((b"\n", b"\r")) else data + b"\n"
    chosen = delimiter or _seen_delimiter(path, data, key_names)
    names = _header(data, chosen)
    _check_names(path, names)
    table = _parsed(path, data, chosen, names)
    if table.num_columns != len(names):
        raise BadRows(str(path), "cannot be read as csv: its header cannot be split", "see --csv-delimiter")
    _check_quotes(path, data, table)
    if table.num_rows:
        empty = [column.is_null() for column in table.columns]
        says_nothing = empty[0]
        for one in empty[1:]:
            says_nothing = pc.and_(says_nothing, one)
        table = table.filter(pc.invert(says_nothing))
    return _named_columns(path, table, names)


def _seen_delimiter(path: Path, data: bytes, key_names: Collection[str]) -> str:
    order = ("\t", *DELIMITERS) if path.suffix.lower() == ".tsv" else DELIMITERS
    headers = {one: _header(data, one) for one in dict.fromkeys(order)}
    with_key = [one for one, names in headers.items() if set(names) & set(key_names)]
    wide = [one for one in with_key if len(headers[one]) > 1]
    if len(wide) > 1:
        raise BadRows(
            str(path),
            f"its header can be split by {listed([repr(one) for one in wide])}",
            f"repeat with `--csv-delimiter '{wide[0]}'`",
        )
    if with_key:
        return (wide or with_key)[0]
    return max(headers, key=lambda one: len(headers[one]))


def _header(data: bytes, delimiter: str) -> list[str]:
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")
    try:
        return next((names for names in csv.reader(lines, delimiter=delimiter) if names), [])
    except csv.Error:
        return []


def _check_names(path: Path, names: list[str]) -> None:
    if not names:
        raise BadRows(
            str(path), "cannot be read as csv: it has no header", "write the columns' names in its first line"
        )
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise BadRows(
            str(path), f"column {listed(twice)} appears more than once", f"name the columns of {path} differently"
        )


def _parsed(path: Path, data: bytes, delimiter: str, names: list[str]) -> pa.Table:
    from pyarrow import csv as arrow_csv

    parsing = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    try:
        return _read(data, parsing, names)
    except pa.ArrowInvalid as error:
        if "Expected" not in str(error) or "columns" not in str(error):
            raise
    mended = _Mended(path, names, delimiter)
    parsing = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=mended.take)
    whole = _read(data, parsing, names, use_threads=False)
    if mended.problem:
        problem = f"cannot be read as csv: {mended.problem}"
        raise BadRows(str(path), problem, f"correct this row of {path}, or see --csv-delimiter")
    rest = "\n".join([delimiter.join(mended.header), *mended.rows]).encode("utf-8")
    plain = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    return pa.concat_tables([whole, _read(rest, plain, mended.header)])


def _read(data: bytes, parsing: ParseOptions, names: list[str], *, use_threads: bool = True) -> pa.Table:
    from pyarrow import csv as arrow_csv

    converting = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
        quoted_strings_can_be_null=False,
    )
    reading = arrow_csv.ReadOptions(use_threads=use_threads)
    try:
        table = arrow_csv.read_csv(pa.BufferReader(data), reading, parsing, converting)
    except pa.ArrowInvalid as error:
        if "block" not in str(error):
            raise
        reading.block_size = min(len(data), _MOST_BLOCK)  # one cell is longer than a block
        table = arrow_csv.read_csv(pa.BufferReader(data), reading, parsing, converting)
    return table.rename_columns([str(number) for number in range(table.num_columns)])


def _check_quotes(path: Path, data: bytes, table: pa.Table) -> None:
    """A quote that is opened and never closed takes all rows that follow into one cell."""
    if data.count(b'"') % 2 and table.num_rows:
        last = [column[table.num_rows - 1].as_py() for column in table.columns]
        if any(cell and "\n" in cell for cell in last):
            problem = f"cannot be read as csv: a quote is not closed in its last row, {str(last[0])[:40]!r}"
            raise BadRows(str(path), problem, f'close it in {path}; within quotes, write a quote as ""')


class _Mended:
    """Rows with other than the header's number of cells: those that only have empty cells too many, or too few."""

    def __init__(self, path: Path, names: list[str], delimiter: str) -> None:
        self._delimiter = delimiter
        self._width = len(names)
        self._named = max((number + 1 for number, name in enumerate(names) if name), default=0)
        self.header = [f"c{number}" for number in range(len(names))]
        self.rows: list[str] = []
        self.problem = ""

    def take(self, row: InvalidRow) -> str:
        """Keep a row that can be mended; the first that cannot is told."""
        text, surplus = row.text.rstrip("\r\n"), row.actual_columns - row.expected_columns
        if surplus > 0 and text.endswith(self._delimiter * surplus):
            self.rows.append(text[:-surplus])
        elif surplus < 0 and row.actual_columns >= self._named:
            self.rows.append(text + self._delimiter * -surplus)
        elif not self.problem:
            self.problem = (
                f"row {row.number} has {row.actual_columns} cells, the header {self._width} "
                f"(delimiter {self._delimiter!r}): {text[:60]!r}"
            )
        return "skip"


def _named_columns(path: Path, table: pa.Table, names: list[str]) -> tuple[pa.Table, list[str]]:
    kept, notes = [], []
    for number, name in enumerate(names):
        column = table.column(number)
        if number == 0 and (not name or _INDEX_NAME.fullmatch(name)) and len(names) > 1 and _is_index(column):
            notes.append(f"column 1 ({name or 'without a name'}) holds row numbers: left out")
        elif name or number == 0:
            kept.append((name, column))
        elif column.null_count < len(column):
            value = column.drop_null()[0].as_py()
            raise BadRows(
                str(path),
                f"column {number + 1} has no name in the header, but values: {value[:40]!r}",
                f"name it in the first line of {path}",
            )
    return pa.table([column for _, column in kept], names=[name for name, _ in kept]), notes


def _is_index(column: pa.ChunkedArray) -> bool:
    return bool(
        not column.null_count
        and pc.all(pc.match_substring_regex(column, _INTEGER)).as_py() is not False
        and len(pc.unique(column)) == len(column)
    )
