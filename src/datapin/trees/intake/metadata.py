"""Metadata tables: columns of the user's for files, from CSV, JSON or Parquet, joined by the files' names."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datapin.base.errors import BadRows, StorageFailed, Usage, listed
from datapin.manifest.columns.columns import one_array
from datapin.trees.intake.tables.column_kinds import Before, ColumnTypes, stored
from datapin.trees.intake.tables.column_names import KEY_COLUMNS, check_names, key_name, renamed
from datapin.trees.intake.tables.csv_tables import delimiter_named, read_csv
from datapin.trees.intake.tables.json_tables import read_json
from datapin.trees.intake.tables.table_rules import TableRules
from datapin.trees.intake.tables.text_files import read_utf8

_CSV_SUFFIXES = (".csv", ".tsv")
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_AS_WRITTEN = TableRules()


@dataclass(frozen=True, slots=True)
class Metadata:
    """A metadata file, its column of names called `key` and first; `notes` tell what was left out or kept as text."""

    table: pa.Table
    notes: tuple[str, ...] = ()


class Joined(NamedTuple):
    """A metadata table beside files: `table` has one row per key, null where the file has no row, without the key."""

    table: pa.Table
    rows_without_file: list[str]
    files_without_row: list[str]


def read_metadata(
    path: Path, rules: TableRules = _AS_WRITTEN, before: Before | None = None, *, are_rows: bool = False
) -> Metadata:
    """The table in `path` (CSV, TSV, JSON or Parquet) with the types that a manifest stores.

    Text of a CSV becomes another type only where nothing is lost (`typed_text`), names, labels, groups and splits
    never; the types of `before`, the dataset that the rows go to, come first. Raises Usage for a file that is not there
    or of another kind, BadRows for one that does not parse, lacks a name, repeats one, or has a column that cannot be
    kept, or not without a question. With `are_rows` the names are not those of files: they stay as they are written,
    and integers may be names, too.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise Usage(f"{'table' if are_rows else 'metadata file'} {path}: no such file", "check the path given to add")
    notes: list[str] = []
    try:
        if suffix in _CSV_SUFFIXES:
            table = _from_csv(path, rules, notes)
        elif suffix in _JSON_SUFFIXES:
            table = _from_json(path, rules)
        elif suffix == ".parquet":
            table = _from_parquet(path, rules)
        else:
            what = "table" if are_rows else "metadata file"
            raise Usage(f"{what} {path}: unknown kind {suffix!r}", "use .csv, .tsv, .json, .jsonl or .parquet")
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise BadRows(str(path), f"cannot be read as {suffix[1:]}: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise StorageFailed("read", str(path), error.strerror or str(error)) from None
    table = _with_key(table, rules, path, are_rows=are_rows)
    types = ColumnTypes(str(path), rules.kinds, before, is_csv=suffix in _CSV_SUFFIXES, notes=notes)
    types.check_asked(table.column_names[1:])
    columns = {name: types.typed(name, one_array(table[name])) for name in table.column_names}
    return Metadata(pa.table(columns), tuple(notes))


def join_metadata(
    keys: pa.StringArray, table: pa.Table, *, folders: Sequence[Path] = (), roots: Sequence[str] = ()
) -> Joined:
    """`table` (from `read_metadata`) in the order of `keys`.

    Its names are keys, or paths relative to one of `folders`, or absolute ones, which `roots` (the walked source
    folders) turn into keys. Raises BadRows if two rows mean one file.
    """
    names = one_array(table["key"])
    found = keys_of_names(names, keys, folders=folders, roots=roots)
    _check_once(found.drop_null(), "the metadata file")
    position = pc.index_in(keys, value_set=found)
    columns = {name: one_array(table[name]).take(position) for name in table.column_names if name != "key"}
    return Joined(
        table=pa.table(columns),
        rows_without_file=names.filter(pc.is_null(found)).to_pylist(),
        files_without_row=keys.filter(pc.is_null(position)).to_pylist(),
    )


def _from_csv(path: Path, rules: TableRules, notes: list[str]) -> pa.Table:
    delimiter = None if rules.delimiter is None else delimiter_named(rules.delimiter)
    key_names = {*KEY_COLUMNS} if rules.key_column is None else {rules.key_column}
    key_names |= {old for old, new in rules.renames.items() if new in key_names}
    table, left_out = read_csv(path, read_utf8(path, rules.encoding), delimiter, key_names)
    notes.extend(left_out)
    return table


def _from_json(path: Path, rules: TableRules) -> pa.Table:
    if rules.delimiter is not None:
        raise Usage(f"--csv-delimiter: {path} is JSON, which has none", "leave --csv-delimiter out")
    as_text = {name for name, kind in rules.kinds.items() if kind == pa.string()}
    as_text |= {old for old, new in rules.renames.items() if new in as_text}
    return read_json(path, read_utf8(path, rules.encoding), as_text)


def _from_parquet(path: Path, rules: TableRules) -> pa.Table:
    for option, given in (("--csv-delimiter", rules.delimiter), ("--csv-encoding", rules.encoding)):
        if given is not None:
            raise Usage(f"{option}: {path} is Parquet, which has none", f"leave {option} out")
    # ParquetFile reads this one file; `read_table` would look for partitions in the names of its folders.
    with pq.ParquetFile(path) as file:
        return file.read()


def _with_key(table: pa.Table, rules: TableRules, path: Path, *, are_rows: bool) -> pa.Table:
    where = str(path)
    if len(set(table.column_names)) < len(table.column_names):
        raise BadRows(where, "several of its columns have the same name", f"name the columns of {path} differently")
    table = table.rename_columns(renamed(table.column_names, rules.renames, where))
    key_column = rules.key_column if rules.key_column is None else rules.renames.get(rules.key_column, rules.key_column)
    key = key_name(table.column_names, key_column, where)
    check_names(table.column_names, key, rules.renames, where)
    rest = table.drop_columns(key)
    names = stored(one_array(table[key]), key, where)
    if pa.types.is_null(names.type) or (are_rows and pa.types.is_integer(names.type)):
        names = names.cast(pa.string())
    if not pa.types.is_string(names.type):
        raise BadRows(where, f"column {key} is {names.type}, expected text", f"write the names in {path} as text")
    if names.null_count:
        raise BadRows(where, f"column {key} is empty in {names.null_count} row(s)", f"complete these rows of {path}")
    names = names if are_rows else spelled_plainly(names)
    _check_once(names, where, "key" if are_rows else "name")
    return rest.add_column(0, "key", names)


def _check_once(names: pa.StringArray, where: str, what: str = "name") -> None:
    counts = pc.value_counts(names)
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()
    if twice:
        problem = f"{len(twice)} {what}(s) appear in more than one row: {listed(twice, 5)}"
        raise BadRows(where, problem, f"keep one row for each {'file' if what == 'name' else what}")


# Which file each row of a metadata file means: its key, or a path to it in one of the usual spellings.


_TO_MEND = r"\\|//|^/|(?:^|/)\.{1,2}(?:/|$)|/$"


def spelled_plainly(names: pa.StringArray) -> pa.StringArray:
    """Names in Unicode form NFC, with `/` between folders and without `.`, `//` or, inside, `..`."""
    names = pc.utf8_normalize(names, "NFC")
    to_mend = pc.match_substring_regex(names, _TO_MEND)
    if not pc.any(to_mend).as_py():
        return names
    mended = [_mended(name) for name in names.filter(to_mend).to_pylist()]
    return pc.replace_with_mask(names, to_mend, pa.array(mended, pa.string()))


def keys_of_names(
    names: pa.StringArray, keys: pa.StringArray, *, folders: Sequence[Path], roots: Sequence[str]
) -> pa.StringArray:
    """The key that each name means, null where it means none of `keys`.

    A name is a key, or a path from one of `folders`; `roots` are the folders that the keys start from. The reading that
    finds most files counts for the whole table: mixing two could join a row to the wrong file. An absolute path, which
    has one reading, is read in all of them.
    """
    best, most = names, -1
    for reading in _readings(names, folders, roots):
        found = pc.sum(pc.is_in(reading, value_set=keys)).as_py() or 0
        if found > most:
            best, most = reading, found
        if most == len(names):
            break
    return pc.if_else(pc.is_in(best, value_set=keys), best, pa.scalar(None, pa.string()))


def _mended(name: str) -> str:
    return posixpath.normpath(name.replace("\\", "/"))


def _readings(names: pa.StringArray, folders: Sequence[Path], roots: Sequence[str]) -> Iterator[pa.StringArray]:
    tops = sorted({top for root in roots if root for top in _spellings(root)}, key=len, reverse=True)
    is_absolute = pc.starts_with(names, "/")
    if not pc.any(is_absolute).as_py():
        yield names
    texts = names.to_pylist() if tops else []
    for folder in [None, *dict.fromkeys(_spelling for one in folders for _spelling in _spellings(str(one)))]:
        if tops:
            yield pa.array([_key_of(text, folder, tops) for text in texts], pa.string())


def _spellings(folder: str) -> list[str]:
    """The folder's absolute path, and the one without links."""
    found = dict.fromkeys([os.path.abspath(folder), os.path.realpath(folder)])
    return [unicodedata.normalize("NFC", one) for one in found if one.isprintable() or _is_text(one)]


def _is_text(path: str) -> bool:
    return all(not 0xD800 <= ord(letter) < 0xE000 for letter in path)


def _key_of(name: str, folder: str | None, tops: Sequence[str]) -> str | None:
    if folder is None and not name.startswith("/"):
        return name
    path = posixpath.normpath(posixpath.join(folder or "/", name))
    top = next((one for one in tops if path.startswith(f"{one.rstrip('/')}/")), None)
    return None if top is None else path[len(top.rstrip("/")) + 1 :]
