"""What a piece of SQL would touch, found from its syntax tree before it runs; anything but reading rows is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from datapin.base.errors import BadQuery

if TYPE_CHECKING:
    import duckdb

Node = dict[str, Any]

ROWS = "rows"  # what an expression's sub-selects call the rows that it is evaluated on

_MOST_SQL_CHARACTERS = 1 << 18

_QUERY_KINDS = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_SOURCE_KINDS = {"BASE_TABLE", "EMPTY", "JOIN", "SUBQUERY", "TABLE_FUNCTION", "EXPRESSION_LIST", "PIVOT"}
_TABLE_FUNCTIONS = {"unnest", "range", "generate_series", "json_each", "json_tree"}
# Scalar functions that look outside the rows, keep state between rows or wait.
_REFUSED_FUNCTIONS = {
    "currval",
    "current_query",
    "current_setting",
    "getenv",
    "getvariable",
    "json_execute_serialized_sql",
    "nextval",
    "pg_sleep",
    "query",
    "query_table",
    "set_config",
    "setseed",
    "setval",
    "sleep_ms",
    "write_log",
}
_REFUSED_PREFIXES = ("read_", "pragma_", "duckdb_", "parquet_", "http_", "sniff_")


@dataclass(frozen=True, slots=True)
class Reads:
    """What a query or expression reads. `columns` is None where the syntax does not tell: then it may be any."""

    tables: tuple[str, ...]
    columns: frozenset[str] | None  # case-folded; may hold names that are no columns
    is_cast: bool = False  # an expression that says its own type: `label::DOUBLE`


def check_query(connection: duckdb.DuckDBPyConnection, sql: str) -> Reads:
    """What one SELECT statement reads. Raises BadQuery if `sql` is anything else."""
    statements = _statements(connection, sql, sql)
    return _reads(statements[0]["node"], sql)


def check_expression(connection: duckdb.DuckDBPyConnection, expression: str) -> Reads:
    """What one SQL expression over the columns of a row reads. Raises BadQuery if it is more, or less, than that.

    It must be one expression in round brackets and one item in square ones: a text that closes the brackets around it,
    like `1=1) UNION SELECT …`, fits at most one of the two.
    """
    if not expression.strip():
        raise BadQuery(expression, "empty, expected an expression over the columns of a row")
    node = _statements(connection, wrapped(expression, "SELECT "), expression)[0]["node"]
    if not _is_bare(node) or not _is_one_item(connection, expression):
        raise BadQuery(expression, "not one expression over the columns of a row")
    reads = _reads(node, expression)
    strange = [name for name in reads.tables if name.casefold() != ROWS]
    if strange:
        raise BadQuery(expression, f"reads {strange[0]!r}; a sub-select may read {ROWS!r} only")
    return replace(reads, is_cast=node["select_list"][0]["class"] == "CAST")


def _is_bare(node: Node) -> bool:
    """Whether this is a SELECT of one expression and nothing else."""
    clauses = ("where_clause", "having", "qualify", "sample", "group_expressions", "group_sets", "modifiers")
    return (
        node["type"] == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["select_list"][0]["class"] != "STAR"
        and not node["select_list"][0]["alias"]
        and node["from_table"]["type"] == "EMPTY"
        and not node["cte_map"]["map"]
        and not any(node.get(clause) for clause in clauses)
    )


def _is_one_item(connection: duckdb.DuckDBPyConnection, expression: str) -> bool:
    try:
        node = _statements(connection, f"SELECT [\n{expression}\n]", expression)[0]["node"]
    except BadQuery:
        return False
    item = node["select_list"][0]
    return (
        _is_bare(node)
        and str(item.get("function_name")) == "list_value"
        and len(item.get("arguments") or item.get("children") or ()) == 1
    )


def wrapped(expression: str, before: str, after: str = "") -> str:
    """The expression in brackets; the line break keeps a trailing comment from swallowing what follows."""
    return f"{before}(\n{expression}\n){after}"


def _statements(connection: duckdb.DuckDBPyConnection, sql: str, given: str) -> list[Node]:
    if len(sql) > _MOST_SQL_CHARACTERS:
        raise BadQuery(given[:80], f"{len(sql)} characters long, at most {_MOST_SQL_CHARACTERS} are read")
    try:
        sql.encode("utf-8")
        rows = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
        answer = json.loads(rows[0][0])
    except (UnicodeEncodeError, RecursionError):
        raise BadQuery(given[:80], "not UTF-8 text, or nested too deeply") from None
    if answer["error"]:
        message = str(answer["error_message"])
        problem = "only one SELECT may be run" if "Only SELECT" in message else first_line(message)
        raise BadQuery(given, problem)
    statements: list[Node] = answer["statements"]
    if len(statements) != 1:
        raise BadQuery(given, f"{len(statements)} statements, expected one SELECT")
    return statements


def _reads(root: Node, sql: str) -> Reads:
    tables: dict[str, None] = {}
    named: set[str] = set()
    columns: set[str] = set()
    is_open = False
    for node in _nodes(root):
        _check_node(node, sql)
        kind = node.get("type")
        for entry in (node.get("cte_map") or {}).get("map", []):
            named.add(entry["key"].casefold())
        if kind == "RECURSIVE_CTE_NODE":
            named.add(str(node.get("cte_name") or node.get("ctename") or "").casefold())
        if _is_source(node) and kind == "BASE_TABLE":
            tables[node["table_name"]] = None
        if kind == "COLUMN_REF":
            columns.update(part.casefold() for part in node["column_names"])
        is_open = is_open or _may_read_any(node)
        columns.update(str(name).casefold() for name in node.get("using_columns") or ())
    held = tuple(name for name in tables if name.casefold() not in named)
    return Reads(held, None if is_open else frozenset(columns))


def _nodes(root: Node) -> Iterator[Node]:
    stack: list[Any] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _is_source(node: Node) -> bool:
    return "sample" in node and "alias" in node and "class" not in node


def _check_node(node: Node, sql: str) -> None:
    kind = node.get("type")
    if "modifiers" in node and "cte_map" in node and kind not in _QUERY_KINDS:
        raise BadQuery(sql, f"{kind} is not reading rows")
    if _is_source(node) and kind not in _SOURCE_KINDS:
        raise BadQuery(sql, f"{kind} is not reading rows")
    if kind == "BASE_TABLE" and (node.get("schema_name") or node.get("catalog_name") or node.get("at_clause")):
        raise BadQuery(sql, "names a schema or catalog; write FROM 'dataset@version'")
    if kind == "TABLE_FUNCTION":
        name = str(node["function"].get("function_name", "")).casefold()
        if name not in _TABLE_FUNCTIONS:
            raise BadQuery(sql, f"function {name!r} may not be read from")
    elif "function_name" in node:
        name = str(node["function_name"]).casefold()
        if name in _REFUSED_FUNCTIONS or name.startswith(_REFUSED_PREFIXES):
            raise BadQuery(sql, f"function {name!r} may not be used")


def _may_read_any(node: Node) -> bool:
    """Whether columns may be read that the syntax does not name."""
    return (
        node.get("class") == "STAR"
        or node.get("type") in ("PIVOT", "POSITIONAL_REFERENCE")
        or node.get("ref_type") in ("NATURAL", "POSITIONAL")
        or bool(node.get("column_name_alias"))
    )


def first_line(message: str) -> str:
    """DuckDB's message in one printable line: what is wrong, and what it proposes instead."""
    head = message.split("\n\nLINE", 1)[0]
    text = " ".join(part.strip() for part in head.splitlines() if part.strip())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)[:300]
