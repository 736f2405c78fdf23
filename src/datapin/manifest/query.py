"""SQL over rows, by DuckDB in memory: it reaches the rows it is given, and no file, network or setting."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from datapin.base.errors import BadQuery
from datapin.base.id_columns import arrow_numbers
from datapin.manifest.columns.schema import REQUIRED, STANDARD, canonical_schema
from datapin.manifest.manifest import Manifest
from datapin.manifest.query_bounds import bounded_table, memory_bytes, refusals
from datapin.manifest.sql import ROWS, Reads, check_expression, check_query, wrapped
from datapin.manifest.sql_columns import for_sql, from_interval, into_type

if TYPE_CHECKING:
    import duckdb

_MOST_THREADS = 4
_ROW_NUMBER = "datapin row number"  # with spaces: no user's column looks like it

Rows: TypeAlias = pa.Table | Manifest


def select_rows(rows: Rows, where: str) -> pa.Array:
    """The numbers (int64, ascending) of the rows for which the SQL expression `where` is true.

    Raises BadQuery if it is not one expression over the rows' columns.
    """
    with _connection(threads=_most_threads()) as connection, refusals(connection, where):
        reads = check_expression(connection, where)
        connection.register(ROWS, _numbered(rows, [reads]))
        sql = _over_rows(f'"{_ROW_NUMBER}"', where)
        return bounded_table(connection.sql(sql), where).column(0).combine_chunks()


def evaluate(rows: Rows, expressions: Mapping[str, str], where: str | None = None) -> tuple[pa.Array, pa.Table]:
    """New values for columns in the rows where `where` is true: their numbers, ascending, and one column for each name.

    Values of a column that exists take its type (label = 7 in a text column is '7'), unless every row is set and the
    expression is a cast, which says the column's new type; a new column has DuckDB's type, or the one that its standard
    name has. Raises BadQuery for `key`, `asset_id` and `size`, which name the asset itself.
    """
    schema = rows.schema
    for name, expression in expressions.items():
        _check_settable(name, schema, expression)
    condition = "true" if where is None else where
    with _connection(threads=_most_threads()) as connection:
        reads = []
        for expression in [*expressions.values(), condition]:
            with refusals(connection, expression):
                reads.append(check_expression(connection, expression))
        connection.register(ROWS, _numbered(rows, reads))
        values = ", ".join(wrapped(text, "", f" AS v{number}") for number, text in enumerate(expressions.values()))
        sql = _over_rows(f'"{_ROW_NUMBER}", {values}', condition)
        given = "; ".join([*expressions.values(), condition])
        with refusals(connection, given):
            found = _plain(connection.sql(sql), given)
    columns = {}
    for number, (name, expression) in enumerate(expressions.items()):
        kind = schema.field(name).type if name in schema.names else pa.null()
        is_new = pa.types.is_null(kind) or (where is None and reads[number].is_cast)
        columns[name] = _typed(found.column(number + 1), name, None if is_new else kind, expression)
    return found.column(0).combine_chunks(), pa.table(columns)


def run_query(sql: str, resolve: Callable[[str], Rows]) -> pa.Table:
    """The rows that one SELECT gives. `resolve` finds the rows of each name that it reads: FROM 'data/raw@v1'.

    One thread, so that the order of the rows is the same every time. Raises BadQuery, and what `resolve` raises.
    """
    with _connection(threads=1) as connection, refusals(connection, sql):
        reads = check_query(connection, sql)
        for name in reads.tables:
            connection.register(name, _readable(resolve(name), [reads]))
        return _plain(connection.sql(sql), sql)


@contextmanager
def _connection(threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_unsigned_extensions": "false",
        "allow_persistent_secrets": "false",
        "python_enable_replacements": "false",
        "memory_limit": f"{memory_bytes() >> 20}MiB",
        "max_temp_directory_size": "0KB",
        "threads": str(threads),
        "preserve_insertion_order": "true",
    }
    connection = duckdb.connect(":memory:", config=settings)
    try:
        connection.execute("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()


def _over_rows(values: str, condition: str) -> str:
    """A query over the rows; `values` and `condition` have passed `check_expression`."""
    return wrapped(condition, f"SELECT {values} FROM {ROWS} WHERE ", f' ORDER BY "{_ROW_NUMBER}"')  # noqa: S608


def _most_threads() -> int:
    return min(_MOST_THREADS, os.cpu_count() or 1)


def _readable(rows: Rows, reads: list[Reads]) -> pa.Table:
    """The rows with the columns that are read, as far as that is known."""
    names = rows.schema.names
    if any(read.columns is None for read in reads):
        wanted = list(names)
    else:
        asked = frozenset().union(*(read.columns or () for read in reads))
        held = {name.casefold() for name in names}
        # A name that is no column may be the table's own: then it means whole rows.
        wanted = [n for n in names if n.casefold() in asked] if asked <= held else list(names)
    wanted = wanted or ["key"]
    return for_sql(rows.select(wanted) if isinstance(rows, pa.Table) else rows.to_table(wanted))


def _numbered(rows: Rows, reads: list[Reads]) -> pa.Table:
    table = _readable(rows, reads)
    return table.append_column(_ROW_NUMBER, arrow_numbers(np.arange(table.num_rows)))


def _check_settable(name: str, schema: pa.Schema, expression: str) -> None:
    if name in REQUIRED:
        raise BadQuery(f"{name} = {expression}", f"column {name} names the asset and cannot be set; use `datapin add`")
    twin = next((n for n in schema.names if n != name and n.casefold() == name.casefold()), None)
    if twin is not None:
        raise BadQuery(f"{name} = {expression}", f"no column {name!r}; there is {twin!r}")
    if not name.isprintable() or not name:
        raise BadQuery(f"{name} = {expression}", "a column name must be printable and not empty")


def _typed(column: pa.ChunkedArray, name: str, kind: pa.DataType | None, expression: str) -> pa.ChunkedArray:
    if kind is not None:
        pass
    elif name in STANDARD and name != "label":
        kind = pa.string()
    else:
        plain = canonical_schema(pa.schema([pa.field(name, column.type)]), where=name, required=())
        kind = plain.field(0).type
    text = kind.value_type if pa.types.is_dictionary(kind) else kind
    try:
        column = into_type(column, text)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise BadQuery(expression, f"gives {column.type}, which does not fit column {name!r} of type {kind}") from None
    return column.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else column


def _plain(relation: duckdb.DuckDBPyRelation, sql: str) -> pa.Table:
    """The result in plain Arrow types: sums of integers, which DuckDB counts in 128 bits, as int64 where they fit."""
    table = bounded_table(relation, sql)
    for number, kind in enumerate(relation.types):
        column, name = table.column(number), table.schema.field(number).name
        if str(kind) in ("HUGEINT", "UHUGEINT"):
            try:
                table = table.set_column(number, name, column.cast(pa.decimal128(38, 0)).cast(pa.int64()))
            except pa.ArrowInvalid:
                continue
        elif pa.types.is_interval(column.type):
            table = table.set_column(number, name, from_interval(column))
        elif isinstance(column.type, pa.BaseExtensionType):
            table = table.set_column(number, name, column.cast(column.type.storage_type))
    return table
