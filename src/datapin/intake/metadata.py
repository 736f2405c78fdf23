"""Metadata tables: columns of the user's for files, from CSV, JSON Lines or Parquet, joined by key."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datapin.base.errors import BadRows, StorageFailed, Usage, listed

KEY_COLUMNS = ("key", "file_name")
OURS = ("asset_id", "size", "media_type", "parent", "parent_id", "operator")
TEXT_COLUMNS = ("key", "file_name", "label", "split", "group")

_CSV_SUFFIXES = {".csv": ",", ".tsv": "\t"}
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


class Joined(NamedTuple):
    """A metadata table beside files: `table` has one row per key, null where the file has no row, without the key."""

    table: pa.Table
    rows_without_file: list[str]
    files_without_row: list[str]


def read_metadata(path: Path) -> pa.Table:
    """The table in `path` (CSV, TSV, JSON Lines or Parquet), its key column named `key` and first.

    Columns named key, label, split or group are read as text from CSV, so that `0042` stays `0042`; others get the
    type that all their values allow. Raises Usage for a file that is not there or of another kind, BadRows for one that
    does not parse, lacks a key, repeats one, or sets a column that datapin computes.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise Usage(f"metadata file {path}: no such file", "check the path given to --metadata")
    try:
        if suffix in _CSV_SUFFIXES:
            table = _read_csv(path, _CSV_SUFFIXES[suffix])
        elif suffix in _JSON_SUFFIXES:
            table = _read_json(path)
        elif suffix == ".parquet":
            # ParquetFile reads this one file; `read_table` would look for partitions in the names of its folders.
            with pq.ParquetFile(path) as file:
                table = file.read()
        else:
            raise Usage(f"metadata file {path}: unknown kind {suffix!r}", "use .csv, .tsv, .jsonl or .parquet")
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise BadRows(str(path), f"cannot be read as {suffix[1:]}: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise StorageFailed("read", str(path), error.strerror or str(error)) from None
    return _with_key(table, path)


def join_metadata(
    keys: pa.StringArray, table: pa.Table, *, base: Path | None = None, roots: Sequence[str] = ()
) -> Joined:
    """`table` (from `read_metadata`) in the order of `keys`.

    Its names are keys, or paths relative to the folder `base` of the metadata file, which `roots` (the walked source
    folders) turn into keys. The reading that matches more files counts for the whole table: mixing the two could join
    a row to the wrong file.
    """
    names = table["key"].combine_chunks()
    readings = [names]
    if base is not None and roots:
        readings.append(_keys_of_paths(names, os.path.abspath(base), [os.path.abspath(root) for root in roots]))
    best = max(readings, key=lambda reading: pc.sum(pc.is_in(reading, value_set=keys)).as_py() or 0)
    position = pc.index_in(keys, value_set=best)
    columns = {name: table[name].combine_chunks().take(position) for name in table.column_names if name != "key"}
    return Joined(
        table=pa.table(columns),
        rows_without_file=names.filter(pc.invert(pc.is_in(best, value_set=keys))).to_pylist(),
        files_without_row=keys.filter(pc.is_null(position)).to_pylist(),
    )


def _read_csv(path: Path, delimiter: str) -> pa.Table:
    from pyarrow import csv

    parsing = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with csv.open_csv(path, parse_options=parsing) as first:
        names = first.schema.names
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise BadRows(str(path), f"column {listed(twice)} appears more than once")
    return csv.read_csv(
        path,
        parse_options=parsing,
        convert_options=csv.ConvertOptions(
            column_types={name: pa.string() for name in names if name in TEXT_COLUMNS},
            strings_can_be_null=True,
            null_values=[""],
            quoted_strings_can_be_null=False,
        ),
    )


def _read_json(path: Path) -> pa.Table:
    from pyarrow import json

    table = json.read_json(path)
    for number, name in enumerate(table.column_names):
        # Arrow takes text that looks like a time for one; a key or a label stays what was written.
        if name in TEXT_COLUMNS and pa.types.is_timestamp(table.schema.field(number).type):
            schema = pa.schema([pa.field(name, pa.string())])
            parsing = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
            table = table.set_column(number, name, json.read_json(path, parse_options=parsing)[name])
    return table


def _with_key(table: pa.Table, path: Path) -> pa.Table:
    here = [name for name in KEY_COLUMNS if name in table.column_names]
    if len(here) != 1:
        seen = "both key and file_name" if here else f"columns {listed(table.column_names)}"
        raise BadRows(str(path), f"needs one column named key or file_name, has {seen}")
    ours = [name for name in table.column_names if name in OURS]
    if ours:
        raise BadRows(str(path), f"column {listed(ours)} is computed by datapin and cannot be set; rename or drop it")
    keys = table[here[0]]
    if not (pa.types.is_string(keys.type) or pa.types.is_large_string(keys.type)):
        raise BadRows(str(path), f"column {here[0]} is {keys.type}, expected text")
    if keys.null_count:
        raise BadRows(str(path), f"column {here[0]} is empty in {keys.null_count} row(s)")
    plain = pc.replace_substring_regex(keys.cast(pa.string()), pattern=r"^(\./)+", replacement="")
    counts = pc.value_counts(plain)
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()
    if twice:
        raise BadRows(str(path), f"{len(twice)} name(s) appear in more than one row: {listed(twice, 5)}")
    rest = table.drop_columns(here[0])
    return rest.add_column(0, "key", plain)


def _keys_of_paths(names: pa.StringArray, base: str, roots: list[str]) -> pa.StringArray:
    """`names` as keys, if they are paths relative to the folder `base`."""
    keys = names
    for root in roots:
        below = os.path.relpath(base, root)
        if below == ".":
            continue
        if not below.startswith(".."):  # the metadata file lies in a folder of the source
            return pc.binary_join_element_wise(below, names, "/")
        above = os.path.relpath(root, base)
        if not above.startswith(".."):  # the source lies below the metadata file
            inside = pc.starts_with(names, f"{above}/")
            keys = pc.if_else(inside, pc.utf8_slice_codeunits(names, len(above) + 1), keys)
    return keys
