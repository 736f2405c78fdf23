"""SQL: what it answers, and everything that it must not do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from datapin.base.errors import BadQuery, UnknownDataset
from datapin.manifest.files.shards import CutRules
from datapin.manifest.manifest import Manifest
from datapin.manifest.query import evaluate, run_query, select_rows
from datapin.manifest.write import write_manifest

RowsOf = Callable[..., pa.Table]


@pytest.fixture
def table(rows_of: RowsOf) -> pa.Table:
    return rows_of(
        ["a.png", "b.png", "c.png", "d.png"],
        label=pa.array(["cat", "dog", None, "it's"]),
        split=pa.array(["train", "train", "val", "test"]),
        media_type=pa.array(["image/png"] * 4).dictionary_encode(),
        score=pa.array([0.5, None, 2.5, -1.0]),
    )


@pytest.fixture
def resolve(table: pa.Table) -> Callable[[str], pa.Table]:
    def find(name: str) -> pa.Table:
        if name in ("data/raw@v1", "data/raw", "t"):
            return table
        raise UnknownDataset(name, ("data/raw",))

    return find


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("label = 'cat'", [0]),
        ("label IS NULL", [2]),
        ("label = 'it''s'", [3]),
        ("LABEL = 'cat' OR Split = 'val'", [0, 2]),
        ("score > 0", [0, 2]),
        ("score", [0, 2, 3]),
        ("media_type LIKE 'image/%' AND size = 5", [0, 1, 2, 3]),
        ("key IN (SELECT max(key) FROM rows GROUP BY split)", [1, 2, 3]),
        ("(SELECT count(*) FROM rows) = 4", [0, 1, 2, 3]),
        ("true -- everything", [0, 1, 2, 3]),
        ("false /* nothing */", []),
        ("regexp_matches(key, '^[ab]')", [0, 1]),
        ("list_contains(['cat', 'dog'], label)", [0, 1]),
        ("key = 'a.png' AND EXISTS (WITH x AS (SELECT 1 AS y) SELECT * FROM x)", [0]),
    ],
)
def test_a_condition_selects_rows_in_order(where: str, expected: list[int], table: pa.Table) -> None:
    assert select_rows(table, where).to_pylist() == expected
    assert select_rows(table, where).type == pa.int64()


def test_a_condition_on_a_manifest_reads_only_the_columns_it_names(table: pa.Table, tmp_path: Path) -> None:
    manifest = write_manifest(table, tmp_path / "m", rules=CutRules(2, 3, 2))
    asked: list[object] = []

    class Watched(Manifest):
        __slots__ = ()

        def to_table(self, columns: Sequence[str] | None = None) -> pa.Table:
            asked.append(columns)
            return super().to_table(columns)

    watched = Watched.open(manifest.directory, rules=manifest.rules)
    assert select_rows(watched, "label = 'dog' AND score IS NULL").to_pylist() == [1]
    assert select_rows(watched, "true").to_pylist() == [0, 1, 2, 3]
    assert run_query("SELECT count(*) AS n, max(split) AS s FROM m", lambda _: watched).num_rows == 1
    assert asked == [["label", "score"], ["key"], ["split"]]
    assert run_query("SELECT * FROM m", lambda _: watched).column_names == manifest.schema.names
    assert run_query("SELECT m.key FROM m NATURAL JOIN m AS n", lambda _: watched).num_rows == 2


def test_a_query_reads_versions_by_name(resolve: Callable[[str], pa.Table]) -> None:
    rows = run_query("SELECT split, count(*) AS n FROM 'data/raw@v1' GROUP BY split ORDER BY split", resolve)
    assert rows.to_pylist() == [{"split": "test", "n": 1}, {"split": "train", "n": 2}, {"split": "val", "n": 1}]
    joined = run_query("SELECT n.key FROM 'data/raw' o JOIN 'data/raw@v1' n USING (key) ORDER BY 1 DESC", resolve)
    assert joined["key"].to_pylist() == ["d.png", "c.png", "b.png", "a.png"]


def test_sums_of_integers_stay_integers(resolve: Callable[[str], pa.Table]) -> None:
    assert run_query("SELECT sum(size) AS bytes FROM t", resolve).schema.field("bytes").type == pa.int64()


@pytest.mark.parametrize(
    "sql",
    [
        "FROM t",
        "SELECT t FROM t",
        "VALUES (1)",
        "WITH x AS (FROM t) SELECT * FROM x",
        "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 4) SELECT * FROM r",
        "SELECT * FROM t UNION ALL SELECT * FROM t LIMIT 4",
        "SELECT row_number() OVER (ORDER BY size), * FROM t",
        "SELECT x.key FROM (FROM t) AS x",
        "SELECT unnest([1, 2])",
        "SELECT * FROM range(3)",
        "FROM t SELECT key;",
    ],
)
def test_the_ways_to_write_a_select_all_work(sql: str, resolve: Callable[[str], pa.Table]) -> None:
    assert run_query(sql, resolve).num_rows in (1, 2, 3, 4)


def test_the_order_of_rows_is_the_same_every_time(resolve: Callable[[str], pa.Table]) -> None:
    sql = "SELECT split, label, count(*) AS n FROM t GROUP BY ALL"
    assert len({str(run_query(sql, resolve).to_pylist()) for _ in range(5)}) == 1


def test_an_unknown_dataset_is_said_to_be_one(resolve: Callable[[str], pa.Table]) -> None:
    for name in ("data/other@v9", "duckdb_settings", "sqlite_master", "pg_class", "x.parquet", "rows"):
        with pytest.raises(UnknownDataset, match="no dataset"):
            run_query(f"SELECT * FROM '{name}'", resolve)


# --- hostile SQL ----------------------------------------------------------------------------------------------------

_FILE, _OUT = "{secret}", "{out}"

_STATEMENTS = [
    f"COPY t TO '{_OUT}'",
    f"COPY (SELECT 1) TO '{_OUT}' (FORMAT csv)",
    f"COPY t FROM '{_FILE}'",
    f"EXPORT DATABASE '{_OUT}'",
    f"IMPORT DATABASE '{_FILE}'",
    f"ATTACH '{_OUT}'",
    f"ATTACH '{_OUT}' AS x (TYPE sqlite)",
    "DETACH memory",
    "INSTALL httpfs",
    "FORCE INSTALL httpfs FROM community",
    "LOAD httpfs",
    f"LOAD '{_OUT}'",
    "PRAGMA version",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "SET threads = 1",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "SET python_enable_replacements = true",
    "RESET lock_configuration",
    f"SET temp_directory = '{_OUT}'",
    f"SET log_query_path = '{_OUT}'",
    "SET VARIABLE x = 1",
    "CREATE TABLE x AS SELECT 1",
    "CREATE VIEW x AS SELECT 1",
    "CREATE MACRO x() AS 1",
    f"CREATE MACRO x() AS TABLE FROM read_text('{_FILE}')",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "CREATE TYPE x AS INTEGER",
    "CREATE SCHEMA x",
    "CREATE SEQUENCE x",
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET label = 'x'",
    "DELETE FROM t",
    "TRUNCATE t",
    "DROP VIEW t",
    "ALTER TABLE t ADD COLUMN x INT",
    "MERGE INTO t USING t ON true WHEN MATCHED THEN DELETE",
    "VACUUM",
    "CHECKPOINT",
    "ANALYZE",
    "BEGIN TRANSACTION",
    "COMMIT",
    "PREPARE q AS SELECT 1",
    "EXECUTE q",
    "CALL pragma_version()",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "DESCRIBE t",
    "SUMMARIZE t",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "USE memory",
    "COMMENT ON VIEW t IS 'x'",
    "SELECT 1; SELECT 2",
    f"SELECT 1; COPY t TO '{_OUT}'",
    f"SELECT 1;;;COPY t TO '{_OUT}';--",
    f"SELECT 1 /* */; ATTACH '{_OUT}'",
    f"WITH x AS (COPY t TO '{_OUT}') SELECT 1",
    "WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
    "",
    ";",
    "-- nothing",
    "select",
    "not sql",
    "SELECT * FROM",
    "\x00",
    "SELECT '\ud800'",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    "SELECT " + "NOT " * 5000 + "true",
    "SELECT '" + "x" * 300_000 + "'",
]

_READERS = [
    "read_csv",
    "read_csv_auto",
    "READ_CSV",
    "read_parquet",
    "parquet_scan",
    "read_json",
    "read_json_auto",
    "read_ndjson",
    "read_json_objects",
    "read_text",
    "read_blob",
    "glob",
    "sniff_csv",
    "parquet_metadata",
    "parquet_schema",
    "parquet_file_metadata",
    "parquet_kv_metadata",
    "read_duckdb",
    "system.main.read_text",
    "main.read_text",
    '"read_text"',
    "st_read",
    "sqlite_scan",
    "iceberg_scan",
    "delta_scan",
    "read_xlsx",
    "read_avro",
]

_SOURCES = [
    *(f"{name}('{_FILE}')" for name in _READERS),
    f"read_text(['{_FILE}'])",
    "read_text('/proc/self/environ')",
    "read_csv('https://example.com/x.csv')",
    "read_parquet('s3://bucket/x.parquet')",
    "postgres_scan('host=x', 'public', 't')",
    "duckdb_settings()",
    "duckdb_secrets()",
    "duckdb_functions()",
    "duckdb_extensions()",
    "duckdb_logs()",
    "duckdb_temporary_files()",
    "pragma_version()",
    "pragma_user_agent()",
    "pragma_storage_info('t')",
    "which_secret('s3://x', 's3')",
    "query('SELECT 1')",
    f"query('FROM read_text(''{_FILE}'')')",
    "query_table('t')",
    "json_execute_serialized_sql('{}')",
    "arrow_scan(1, 2, 3)",
    "pandas_scan(1)",
    "python_map_function()",
    "seq_scan('t')",
    "checkpoint()",
    "force_checkpoint()",
    "enable_logging()",
    "test_all_types()",
    "histogram('t', size)",
    "repeat_row(1, num_rows = 10)",
    "main.t",
    "memory.main.t",
    "information_schema.tables",
    "pg_catalog.pg_class",
    "(DESCRIBE t)",
    "(SHOW TABLES)",
    "(SUMMARIZE t)",
    "t AT (VERSION => 1)",
]

_EXPRESSIONS = [
    "getenv('HOME')",
    "current_setting('home_directory')",
    "\"current_setting\"('threads')",
    "main.current_setting('threads')",
    "getvariable('x')",
    "nextval('x')",
    "setseed(0.5)",
    "write_log('x')",
    "sleep_ms(1)",
    "pg_sleep(1)",
    "set_config('threads', '1', false)",
    f"read_text('{_FILE}')",
]

_CONDITIONS = [
    f"1=1) ; COPY rows TO '{_OUT}'; --",
    f"1=1); COPY (SELECT 1) TO '{_OUT}'; SELECT (1=1",
    f"1=1; COPY rows TO '{_OUT}'",
    "1=1) OR (1=1",
    "1=1) --",
    "1=1 --\n) ; SELECT (1",
    "1=1)/*",
    "1=1) UNION SELECT 1 WHERE (1=1",
    f"1=1) UNION SELECT content FROM read_text('{_FILE}') WHERE (1=1",
    "1) FROM rows WHERE (1",
    "1) AS x, (SELECT 2",
    "1, 2",
    "1 AS x",
    "1=1) ORDER BY (1",
    "1=1) LIMIT (1",
    "1=1) GROUP BY (1",
    "1=1) HAVING (1=1",
    "1=1) QUALIFY (1=1",
    "1=1) WINDOW w AS (ORDER BY 1",
    "*",
    "COLUMNS(*)",
    "rows.*",
    "count(*) > 0",
    "row_number() OVER () = 1",
    "unnest([true])",
    "",
    " ",
    "--",
    "WHERE true",
    "SELECT true",
    "unknown = 1",
    "label = cat",
    'label = "cat"',
    "label",
    "size = 'x'",
    "?",
    "$1",
    "EXISTS (FROM t)",
    f"EXISTS (FROM '{_FILE}')",
    f"key IN (SELECT content FROM read_text('{_FILE}'))",
    "EXISTS (FROM duckdb_settings())",
    "EXISTS (FROM information_schema.tables)",
    "EXISTS (INSERT INTO rows VALUES (1))",
    "(SELECT true FROM rows)",
    *(f"{expression} IS NOT NULL" for expression in _EXPRESSIONS),
    *(f"EXISTS (FROM {source})" for source in _SOURCES[:12]),
]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Fills the paths into hostile SQL: a file that must not be read, a place where nothing must be written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret.csv").write_text("canary\n")

    def fill(sql: str) -> str:
        return sql.replace("{secret}", str(tmp_path / "secret.csv")).replace("{out}", str(tmp_path / "out"))

    return fill


def _refused(run: Callable[[], object], folder: Path) -> None:
    with pytest.raises(BadQuery) as caught:
        run()
    assert "canary" not in str(caught.value)
    assert caught.value.problem.isprintable()
    assert os.listdir(folder) == ["secret.csv"]
    assert (folder / "secret.csv").read_text() == "canary\n"


@pytest.mark.parametrize("sql", _STATEMENTS, ids=lambda sql: ascii(sql[:60]))
def test_anything_but_one_select_is_refused(
    sql: str, outside: Callable[[str], str], resolve: Callable[[str], pa.Table], tmp_path: Path
) -> None:
    _refused(lambda: run_query(outside(sql), resolve), tmp_path)


@pytest.mark.parametrize("source", _SOURCES, ids=ascii)
def test_a_select_from_anything_but_rows_is_refused_wherever_it_hides(
    source: str, outside: Callable[[str], str], resolve: Callable[[str], pa.Table], tmp_path: Path
) -> None:
    for sql in (
        f"SELECT * FROM {source}",
        f"WITH x AS (SELECT 1) SELECT 1 FROM t JOIN x ON EXISTS (FROM {source}) ORDER BY 1",
    ):
        _refused(partial(run_query, outside(sql), resolve), tmp_path)


@pytest.mark.parametrize("expression", _EXPRESSIONS, ids=ascii)
def test_functions_that_look_outside_are_refused(
    expression: str, outside: Callable[[str], str], resolve: Callable[[str], pa.Table], tmp_path: Path
) -> None:
    for sql in (f"SELECT {expression}", f"SELECT 1 FROM t WHERE {expression} IS NULL", f"SELECT [{expression}] FROM t"):
        _refused(partial(run_query, outside(sql), resolve), tmp_path)


@pytest.mark.parametrize("where", _CONDITIONS, ids=ascii)
def test_a_condition_that_is_more_or_less_than_one_is_refused(
    where: str, outside: Callable[[str], str], table: pa.Table, tmp_path: Path
) -> None:
    _refused(lambda: evaluate(table, {"label": "'x'"}, outside(where)), tmp_path)


@pytest.mark.parametrize("where", _CONDITIONS[:12], ids=ascii)
def test_a_selection_with_such_a_condition_is_refused(
    where: str, outside: Callable[[str], str], table: pa.Table, tmp_path: Path
) -> None:
    _refused(lambda: select_rows(table, outside(where)), tmp_path)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "secret.csv", "*.csv", "s3://b/k.parquet", "https://example.com/x.csv"]
)
def test_a_path_in_the_place_of_a_dataset_is_an_unknown_dataset(
    name: str, outside: Callable[[str], str], resolve: Callable[[str], pa.Table]
) -> None:
    with pytest.raises(UnknownDataset):
        run_query(f"SELECT * FROM '{name}'", resolve)


def test_variables_of_the_program_are_not_tables(resolve: Callable[[str], pa.Table]) -> None:
    secret_frame = pa.table({"x": [1]})
    with pytest.raises(UnknownDataset):
        run_query("SELECT * FROM secret_frame", resolve)
    assert secret_frame.num_rows == 1


# --- new values -----------------------------------------------------------------------------------------------------


def test_values_for_a_column_that_exists_take_its_type(table: pa.Table) -> None:
    numbers, values = evaluate(table, {"label": "7", "score": "'1.5'", "media_type": "'x/y'"}, "split = 'train'")
    assert numbers.to_pylist() == [0, 1]
    assert values.to_pydict() == {"label": ["7", "7"], "score": [1.5, 1.5], "media_type": ["x/y", "x/y"]}
    assert [values.schema.field(name).type for name in values.column_names] == [
        table.schema.field(name).type for name in values.column_names
    ]


def test_a_new_column_has_the_type_of_its_values_and_a_standard_one_its_own(table: pa.Table) -> None:
    expressions = {"area": "size * 2", "group": "size", "note": "NULL", "tags": "[label]"}
    numbers, values = evaluate(table, expressions)
    assert numbers.to_pylist() == [0, 1, 2, 3]
    assert values.schema.types == [pa.int64(), pa.string(), pa.null(), pa.list_(pa.string())]
    assert values["group"].to_pylist() == ["5"] * 4


def test_an_expression_may_use_the_row_and_other_rows(table: pa.Table) -> None:
    _, values = evaluate(table, {"share": "size / (SELECT sum(size) FROM rows)", "label": "upper(label)"}, "size > 0")
    assert values["share"].to_pylist() == [0.25] * 4
    assert values["label"].to_pylist() == ["CAT", "DOG", None, "IT'S"]


@pytest.mark.parametrize(
    ("name", "expression", "says"),
    [
        ("key", "'x'", "column key names the asset and cannot be set"),
        ("asset_id", "'x'", "cannot be set"),
        ("size", "1", "cannot be set"),
        ("Label", "'x'", "no column 'Label'; there is 'label'"),
        ("KEY", "'x'", "no column 'KEY'; there is 'key'"),
        ("bad\nname", "1", "must be printable"),
        ("", "1", "must be printable"),
        ("score", "'cat'", "does not fit column 'score' of type double"),
        ("score", "[1]", "does not fit"),
        ("label", "count(*)", "GROUP BY"),
        ("label", "1, 2", "not one expression"),
        ("label", "1) AS x, (2", "not one expression"),
        ("label", "unknown", "not found"),
        ("label", "read_text('x')", "may not be used"),
        ("label", "(SELECT content FROM read_text('x'))", "may not be read from"),
        ("label", "", "empty"),
    ],
)
def test_a_value_that_cannot_be_set_says_why(name: str, expression: str, says: str, table: pa.Table) -> None:
    with pytest.raises(BadQuery) as caught:
        evaluate(table, {name: expression})
    assert says in caught.value.problem
