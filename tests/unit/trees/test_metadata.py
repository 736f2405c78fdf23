"""Metadata tables: kinds of files, what is refused, and how rows find their files."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapin.base.errors import BadRows, Usage
from datapin.trees.intake.metadata import join_metadata, read_metadata

KEYS = pa.array(["a/1.png", "a/2.png", "b/3.png"], pa.string())


def table_of(tmp_path: Path, text: str, name: str = "m.csv") -> pa.Table:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_metadata(path).table


def test_a_csv_keeps_text_where_numbers_would_lose_it(tmp_path: Path) -> None:
    table = table_of(tmp_path, "key,label,split,group,age\n007,0042,01,1e5,3\n008,0043,02,2020-01-01,4\n")
    assert table.to_pydict() == {
        "key": ["007", "008"],
        "label": ["0042", "0043"],
        "split": ["01", "02"],
        "group": ["1e5", "2020-01-01"],
        "age": [3, 4],
    }


def test_an_empty_cell_is_null_and_quoted_emptiness_is_text(tmp_path: Path) -> None:
    table = table_of(tmp_path, 'key,label,note\na,,\nb,"",x\n')
    assert table["label"].to_pylist() == [None, ""]
    assert table["note"].to_pylist() == [None, "x"]


def test_quotes_commas_and_line_breaks_in_cells_are_data(tmp_path: Path) -> None:
    table = table_of(tmp_path, 'file_name,note\n"a,b.png","two\nlines ""here"""\n')
    assert table.to_pydict() == {"key": ["a,b.png"], "note": ['two\nlines "here"']}


def test_json_lines_and_parquet_say_the_same(tmp_path: Path) -> None:
    rows = [{"file_name": "a/1.png", "label": "x", "w": 1.5}, {"file_name": "b/3.png", "label": "y", "w": None}]
    from_json = table_of(tmp_path, "\n".join(map(json.dumps, rows)), "m.jsonl")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    assert from_json.to_pydict() == read_metadata(tmp_path / "m.parquet").table.to_pydict()
    assert from_json.column_names == ["key", "label", "w"]


def test_a_label_that_looks_like_a_date_stays_text_in_json(tmp_path: Path) -> None:
    table = table_of(tmp_path, '{"key": "a", "label": "2020-01-01"}\n{"key": "b", "label": "2020-01-02"}\n', "m.jsonl")
    assert table["label"].to_pylist() == ["2020-01-01", "2020-01-02"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,label\na,b\n", "key or file_name"),
        ("key,file_name\na,b\n", "both"),
        ("key,size\na,1\n", "size"),
        ("key,asset_id\na,1\n", "asset_id"),
        ("key,label\na,1\nb,2\na,3\n", "1 name(s) appear in more than one row: a"),
        ("key,label\na,1\n./a,3\n", "more than one row"),
        ("key,label\na,1\n,2\n", "empty in 1 row"),
        ("key,label,label\na,1,2\n", "more than once"),
        ("key,label\na,1,2\n", "cannot be read as csv"),
        ("", "cannot be read as csv"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadRows, match=r"m\.csv") as caught:
        table_of(tmp_path, text)
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("name", "text"), [("m.jsonl", '{"key": "a"'), ("m.jsonl", '{"key": 1}'), ("m.parquet", "PAR1")]
)
def test_broken_files_are_one_clear_error(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(BadRows, match=name):
        table_of(tmp_path, text, name)


def test_an_unknown_kind_and_an_absent_file_are_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="no such file"):
        read_metadata(tmp_path / "absent.csv")
    with pytest.raises(Usage, match="unknown kind"):
        table_of(tmp_path, "x", "m.xlsx")


def test_rows_are_put_in_the_order_of_keys_and_what_is_left_over_is_named(tmp_path: Path) -> None:
    table = table_of(tmp_path, "key,label\nb/3.png,three\ngone.png,lost\n./a/1.png,one\n")
    joined = join_metadata(KEYS, table)
    assert joined.table.to_pydict() == {"label": ["one", None, "three"]}
    assert joined.rows_without_file == ["gone.png"]
    assert joined.files_without_row == ["a/2.png"]


def test_names_may_be_paths_from_the_metadata_file_above_the_source(tmp_path: Path) -> None:
    table = table_of(tmp_path, "file_name,label\nimg/a/1.png,one\nimg/b/3.png,three\nother/x.png,no\n")
    joined = join_metadata(KEYS, table, folders=[tmp_path], roots=[f"{tmp_path}/img/"])
    assert joined.table["label"].to_pylist() == ["one", None, "three"]
    assert joined.rows_without_file == ["other/x.png"]


def test_names_may_be_relative_to_a_metadata_file_inside_the_source(tmp_path: Path) -> None:
    table = table_of(tmp_path, "file_name,label\n1.png,one\n2.png,two\n")
    joined = join_metadata(KEYS, table, folders=[tmp_path / "img" / "a"], roots=[str(tmp_path / "img")])
    assert joined.table["label"].to_pylist() == ["one", "two", None]


def test_names_that_are_keys_win_where_they_match_more(tmp_path: Path) -> None:
    table = table_of(tmp_path, "key,label\na/1.png,one\na/2.png,two\n")
    joined = join_metadata(KEYS, table, folders=[tmp_path], roots=[f"{tmp_path}/img/"])
    assert joined.table["label"].to_pylist() == ["one", "two", None]


def test_a_table_of_keys_alone_joins_to_no_columns(tmp_path: Path) -> None:
    joined = join_metadata(KEYS, table_of(tmp_path, "key\na/1.png\n"))
    assert joined.table.column_names == []
    assert joined.files_without_row == ["a/2.png", "b/3.png"]
