"""What a metadata file holds is what the rows hold: text, encodings, delimiters, odd layouts, names and types."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapin.base.errors import BadRows, Usage, YourError
from datapin.base.near_names import near_standard_name
from datapin.cli.options import pairs
from datapin.trees.intake.metadata import Metadata, join_metadata, read_metadata
from datapin.trees.intake.tables.column_kinds import Before
from datapin.trees.intake.tables.table_rules import TableRules, type_named

BIG = 2**63


def read(
    tmp_path: Path, text: str | bytes, name: str = "m.csv", before: Before | None = None, **rules: Any
) -> Metadata:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_metadata(path, TableRules(**rules), before)


def column(tmp_path: Path, values: list[str], **rules: Any) -> pa.ChunkedArray:
    text = "key,v\n" + "".join(f"{number},{value}\n" for number, value in enumerate(values))
    return read(tmp_path, text, **rules).table["v"]


@pytest.mark.parametrize(
    "values",
    [
        ["007", "8"],
        ["01067", "10115"],
        ["1e5", "100000"],
        ["1.10", "1.1"],
        ["1.", "2.0"],
        [".5", "1.5"],
        ["1", "1.5"],
        ["1.0", "1"],
        ["+4912", "7"],
        ["-0", "1"],
        ["0x10", "0xff"],
        ["1_000", "2000"],
        ['"1,000"', "5"],
        ["16:09", "17:30"],
        ["16:09:00", "17:30:00"],
        [str(BIG), "1"],
        [str(-BIG - 1), "1"],
        ["0.1234567890123456789", "0.5"],
        ["1e999", "2.5"],
        ["NA", "1"],
        ["nan", "NaN"],
        ["inf", "nan"],
        [" 7", "8"],
        ["7 ", "8"],
        ["\u0663", "4"],
        ["TRUE", "FALSE"],
        ["true", "True"],
        ["yes", "no"],
        ["null", "None"],
        ["2020-01-01T10:00:00", "2020-01-02T10:00:00"],
        ["2020-01-01 10:00:00+02:00", "2020-01-01 08:00:00Z"],
        ["2020-01-01 10:00", "2020-01-02 11:00"],
        ["2020-1-1", "2020-01-02"],
        ["2020-02-30", "2020-02-28"],
        ["01/02/2020", "02/01/2020"],
        ["20200101", "020200102"],
    ],
)
def test_text_that_a_type_would_not_write_back_stays_text(tmp_path: Path, values: list[str]) -> None:
    found = column(tmp_path, values)
    assert found.type == pa.string()
    assert found.to_pylist() == [value.strip('"') for value in values]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["7", "-8", ""], pa.int64()),
        ([str(BIG - 1), str(-BIG)], pa.int64()),
        (["1.5", "-2.0", "1e-05"], pa.float64()),
        (["nan", "0.5", "-inf"], pa.float64()),
        (["true", "false"], pa.bool_()),
        (["True", "False"], pa.bool_()),
        (["2020-02-29", "9999-12-31"], pa.date32()),
        (["2020-01-01 10:00:00", "1969-12-31 23:59:59"], pa.timestamp("ms")),
        (["", ""], pa.null()),
    ],
)
def test_values_that_are_written_back_exactly_get_their_type(
    tmp_path: Path, values: list[str], kind: pa.DataType
) -> None:
    assert read(tmp_path, "key,v\n" + "".join(f"{n},{v}\n" for n, v in enumerate(values))).table["v"].type in (
        kind,
        pa.timestamp("s") if pa.types.is_timestamp(kind) else kind,
    )


def test_numbers_in_two_spellings_stay_text_and_a_note_says_how_to_read_them(tmp_path: Path) -> None:
    text = "key,w\na,1\nb,1.5\n"
    found = read(tmp_path, text)
    assert found.table["w"].to_pylist() == ["1", "1.5"]
    assert "--types w=double" in found.notes[0]
    assert read(tmp_path, text, types={"w": "double"}).table["w"].to_pylist() == [1.0, 1.5]


@pytest.mark.parametrize("nested", [False, True])
def test_json_keeps_text_and_every_digit(tmp_path: Path, nested: bool) -> None:
    values: list[Any] = ["2020-01-01", "2020-01-01T10:00:00+02:00", "007", "16:09"]
    numbers: list[list[Any]] = [[BIG, 1], [-1, BIG], [2**70, 1], [2**53 + 1, 5], [1.5, 2]]
    cases: list[list[Any]] = [*([value, value] for value in values), *numbers]
    for case in cases:
        rows = [{"key": str(n), "v": {"a": [v]} if nested else v} for n, v in enumerate(case)]
        found = read(tmp_path, "\n".join(map(json.dumps, rows)), "m.jsonl").table["v"].to_pylist()
        assert [one["a"][0] if nested else one for one in found] == case, case


@pytest.mark.parametrize(
    "text",
    [
        '{"key": "a", "v": 1}\n{"key": "b"}\n',
        '[{"key": "a", "v": 1}, {"key": "b"}]',
        '\ufeff[\n  {"key": "a",\n   "v": 1},\n  {"key": "b"}\n]\n',
        '{"key": "a",\n "v": 1}\n\n{"key": "b"}',
    ],
)
def test_json_may_be_lines_an_array_or_laid_out(tmp_path: Path, text: str) -> None:
    for name in ("m.json", "m.jsonl"):
        assert read(tmp_path, text, name).table.to_pydict() == {"key": ["a", "b"], "v": [1, None]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"key": "a", "v": 1, "v": 2}', "more than once"),
        ('[{"key": "a"}', "array does not end"),
        ('[{"key": "a"}] x', "array does not end"),
        ('"a"', "expected an object"),
        ('{"key": "a", "v": 1e999}', "1e999"),
        ('{"key": "a", "v": ' + "[" * 100_000 + "]" * 100_000 + "}", "too deeply"),
        ('{"key": "a", "v": ' + "[" * 200 + "]" * 200 + "}", "cannot be stored"),
        ('{"key": "a", "v": 1}\n{"key": "b", "v": "x"}', "--types v=text"),
        ('{"key": "a", "v": "\\ud800"}', "no one type"),
        ("", "no rows"),
    ],
)
def test_json_that_would_lose_something_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadRows) as caught:
        read(tmp_path, text, "m.jsonl")
    assert told in f"{caught.value.message} {caught.value.hint}"


def test_a_json_column_of_several_kinds_is_text_where_asked(tmp_path: Path) -> None:
    text = '{"key": "a", "v": 1}\n{"key": "b", "v": "x"}\n{"key": "c", "v": [1, "ü"]}'
    assert read(tmp_path, text, "m.jsonl", types={"v": "text"}).table["v"].to_pylist() == ["1", "x", '[1, "ü"]']


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\0\0\xfe\xff"])
def test_an_encoding_with_a_mark_is_read(tmp_path: Path, mark: bytes) -> None:
    names = {3: "utf-8", 2: f"utf-16-{'le' if mark[0] == 255 else 'be'}", 4: f"utf-32-{'le' if mark[0] else 'be'}"}
    text = mark + "file_name,city\na.png,Köln 北京\n".encode(names[len(mark)])
    assert read(tmp_path, text).table["city"].to_pylist() == ["Köln 北京"]


def test_an_encoding_without_a_mark_is_declared_or_refused(tmp_path: Path) -> None:
    text = "file_name,city\na.png,Köln\n"
    with pytest.raises(BadRows, match=r"line 2 is not utf-8: byte 0xf6") as caught:
        read(tmp_path, text.encode("cp1252"))
    assert "`--csv-encoding cp1252`, where 'a.png,Köln' is right" in caught.value.hint
    assert read(tmp_path, text.encode("cp1252"), encoding="cp1252").table["city"].to_pylist() == ["Köln"]
    with pytest.raises(BadRows, match="zero bytes") as caught:
        read(tmp_path, text.encode("utf-16-be"))
    assert "--csv-encoding utf-16-be" in caught.value.hint
    assert read(tmp_path, text.encode("utf-16-be"), encoding="utf-16-be").table["city"].to_pylist() == ["Köln"]
    row = json.dumps({"key": "a", "city": "Köln"}, ensure_ascii=False)
    assert read(tmp_path, row.encode("cp1252"), "m.jsonl", encoding="latin-1").table["city"].to_pylist() == ["Köln"]
    for name, told in (("nonsense", "no such encoding"), ("base64", "no such encoding"), ("utf-16", "mark of utf-8")):
        with pytest.raises(Usage, match=told):
            read(tmp_path, b"\xef\xbb\xbf" + text.encode(), encoding=name)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_delimiter_is_seen_in_the_header(tmp_path: Path, delimiter: str) -> None:
    text = f'file_name{delimiter}"a{delimiter}b"{delimiter}w\nx.png{delimiter}"1{delimiter}5"{delimiter}2\n'
    for name in ("m.csv", "m.tsv"):
        found = read(tmp_path, text, name).table
        assert found.to_pydict() == {"key": ["x.png"], f"a{delimiter}b": [f"1{delimiter}5"], "w": [2]}


def test_a_delimiter_may_be_named_by_an_option_or_by_excel(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {"file_name:w\na:1\n": {"delimiter": ":"}, "sep=;\r\nfile_name;w\r\na;1\r\n": {}}
    for text, rules in cases.items():
        assert read(tmp_path, text, **rules).table.to_pydict() == {"key": ["a"], "w": [1]}
    assert read(tmp_path, "file_name\tw\na\t1\n", delimiter="\\t").table["w"].to_pylist() == [1]
    assert read(tmp_path, "file_name;w\na;1,5\n").table["w"].to_pylist() == ["1,5"]
    with pytest.raises(Usage, match="expected one character"):
        read(tmp_path, "a", delimiter="--")
    with pytest.raises(BadRows, match="can be split by") as caught:
        read(tmp_path, "key,label;file_name\na,b;c\n")
    assert "--csv-delimiter ','" in caught.value.hint


def test_what_programs_leave_in_a_csv_is_no_column_and_no_row(tmp_path: Path) -> None:
    expected = {"key": ["a", "b"], "w": [1, 2]}
    for text in (
        ",file_name,w\n0,a,1\n1,b,2\n",
        "Unnamed: 0,file_name,w\n3,a,1\n7,b,2\n",
        "file_name,w,,\na,1,,\nb,2,,\n",
        "file_name,w\na,1,\nb,2,\n",
        "file_name,w,\na,1\nb,2\n",
        "\n\nfile_name,w\na,1\n,\n\nb,2\n,\n",
        "file_name,w\ra,1\rb,2\r",
    ):
        assert read(tmp_path, text).table.to_pydict() == expected, text
    assert "row numbers" in read(tmp_path, ",file_name,w\n0,a,1\n").notes[0]
    assert read(tmp_path, ",w\na.png,1\n", key_column="").table.to_pydict() == {"key": ["a.png"], "w": [1]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file_name,w\na,1,x\n", "row 2 has 3 cells, the header 2"),
        ("file_name,w,x\na,1\n", "row 2 has 2 cells"),
        ("file_name,w,\na,1,x\n", "column 3 has no name"),
        ('file_name,w\na,"1\nb,2\n', "a quote is not closed"),
    ],
)
def test_a_csv_that_cannot_be_mended_without_loss_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadRows) as caught:
        read(tmp_path, text)
    assert told in caught.value.message


def test_a_header_that_is_nearly_a_standard_name_is_a_question_with_its_answers(tmp_path: Path) -> None:
    for header, near in ((" label", "label"), ("Group", "group"), ("splits", "split"), ("gruop ", "group")):
        for name in ("m.csv", "m.parquet"):
            path = tmp_path / name
            if name == "m.csv":
                path.write_text(f"file_name,{header}\na,x\n")
            else:
                pq.write_table(pa.table({"file_name": ["a"], header: ["x"]}), path)
            with pytest.raises(BadRows, match=f"{header!r} is nearly called {near!r}") as caught:
                read_metadata(path)
            assert f"{header}={near}" in caught.value.hint
            answered = read_metadata(path, TableRules(renames={header: near}))
            assert answered.table.column_names == ["key", near]
            assert read_metadata(path, TableRules(renames={header: header})).table.column_names == ["key", header]
    assert read(tmp_path, "file_name,label,labels\na,x,y\n").table.column_names == ["key", "label", "labels"]


def test_the_column_of_names_may_be_any_that_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRows) as caught:
        read(tmp_path, "Filename,w\na,1\n")
    assert "`--key-column Filename`" in caught.value.hint
    assert read(tmp_path, "Filename,w\na,1\n", key_column="Filename").table.column_names == ["key", "w"]
    both = "key,file_name\n1,a.png\n"
    with pytest.raises(BadRows, match="both") as caught:
        read(tmp_path, both)
    assert "`--key-column file_name --rename key=id`" in caught.value.hint
    found = read(tmp_path, both, key_column="file_name", renames={"key": "id"}).table
    assert found.to_pydict() == {"key": ["a.png"], "id": [1]}
    assert read(tmp_path, both, key_column="key").table.column_names == ["key", "file_name"]
    for rules in ({"key_column": "x"}, {"renames": {"x": "y"}}, {"renames": {"key": "file_name"}}):
        with pytest.raises(YourError):
            read(tmp_path, both, **rules)
    with pytest.raises(BadRows, match="computed by datapin") as caught:
        read(tmp_path, "key,size\na,1\n")
    assert "--rename size=my_size" in caught.value.hint


def test_names_near_the_standard_ones() -> None:
    for near in ("LABEL", "labels", "lable", "labl", "label_", "label\u00a0", "\ufefflabel"):
        assert near_standard_name(near) == "label", near
    for near in ("filename", "File Name", "file-name", "fileName", "filenames"):
        assert near_standard_name(near) == "file_name", near
    for own in ("label", "my_label", "label_id", "level", "table", "groups_of", "profile_name", "id", "patient"):
        assert near_standard_name(own) is None, own


def test_types_are_what_is_asked(tmp_path: Path) -> None:
    text = "key,label,code,price,day,when\na,7.5,007,1.10,2020-01-01,2020-01-01T10:00:00Z\n"
    kinds = {"label": "double", "code": "int", "price": "decimal(10,2)", "day": "text", "when": "timestamptz"}
    table = read(tmp_path, text, types=kinds).table
    assert [str(field.type) for field in table.schema][1:] == [
        "double", "int64", "decimal128(10, 2)", "string", "timestamp[us, tz=UTC]",
    ]  # fmt: skip
    assert table["label"].to_pylist() == [7.5]
    assert table["code"].to_pylist() == [7]
    for types, told in (
        ({"x": "int"}, "no column 'x'"),
        ({"code": "colour"}, "no type"),
        ({"group": "int"}, "is text"),
    ):
        with pytest.raises(Usage, match=told):
            read(tmp_path, text, types=types)
    with pytest.raises(BadRows, match="cannot be read as int64"):
        read(tmp_path, text, types={"price": "int"})
    assert pairs("--types", ["a=b=int"]) == {"a=b": "int"}
    with pytest.raises(Usage):
        pairs("--types", ["label"])
    with pytest.raises(Usage):
        type_named("decimal(50,2)", "--types x")
    assert type_named("float", "--types x") == pa.float64(), "as in Python, not as in Arrow"


def test_a_dataset_of_short_floats_is_told_as_such(tmp_path: Path) -> None:
    before = Before("data/raw", pa.schema({"x": pa.float32()}))
    with pytest.raises(BadRows, match="data/raw has float") as caught:
        read(tmp_path, "key,x\na,007\n", before=before)
    assert "--types x=float32" in caught.value.hint
    assert read(tmp_path, "key,x\na,007\n", before=before, types={"x": "float32"}).table["x"].type == pa.float32()


def test_the_datasets_types_come_first(tmp_path: Path) -> None:
    schema = pa.schema({"code": pa.string(), "w": pa.float64(), "n": pa.int64(), "p": pa.decimal128(10, 2)})
    before = Before("data/raw", schema)
    found = read(tmp_path, "key,code,w,n,p\na,7,1,2,1.10\nb,8,1.5,3,2.25\n", before=before).table
    assert found.schema.types[1:] == schema.types
    with pytest.raises(BadRows, match="data/raw has int64") as caught:
        read(tmp_path, "key,n\na,007\n", before=before)
    assert "--types n=int64" in caught.value.hint
    assert read(tmp_path, "key,n\na,007\n", before=before, types={"n": "int64"}).table["n"].to_pylist() == [7]
    with pytest.raises(BadRows) as caught:
        read(tmp_path, "key,n\na,x\n", before=before)
    assert "datapin update data/raw --set" in caught.value.hint


NAMES = ["café/a.png", "café/b c.png"]


@pytest.mark.parametrize(
    "spelled",
    [
        NAMES,
        [unicodedata.normalize("NFD", name) for name in NAMES],
        [name.replace("/", "\\") for name in NAMES],
        [f"./{name}" for name in NAMES],
        [name.replace("/", "//") for name in NAMES],
        [name.replace("/", "/./") for name in NAMES],
        [f"x/../{name}" for name in NAMES],
        [f"../img/{name}" for name in NAMES],
        [f"..\\img\\{name}" for name in NAMES],
        [f"img/{name}" for name in NAMES],
        ["ABSOLUTE/café/a.png", "café/b c.png"],
        ["ABSOLUTE//café/./a.png", "ABSOLUTE/café/b c.png"],
    ],
)
def test_a_name_may_be_spelled_in_any_usual_way(tmp_path: Path, spelled: list[str]) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "img").mkdir()
    (tmp_path / "elsewhere").symlink_to("img")
    lines = [json.dumps({"file_name": n.replace("ABSOLUTE", f"{tmp_path}/img"), "v": n}) for n in spelled]
    table = read(tmp_path, "\n".join(lines), "m/m.jsonl").table
    for root in ("img", "elsewhere"):
        joined = join_metadata(
            pa.array(NAMES), table, folders=[tmp_path / "m", tmp_path], roots=[f"{tmp_path}/{root}/"]
        )
        if root == "img" or "img" not in spelled[0]:
            assert joined.table["v"].to_pylist() == spelled
            assert joined.rows_without_file == []


def test_two_rows_that_mean_one_file_are_refused(tmp_path: Path) -> None:
    both = read(tmp_path, f"file_name,v\nb.png,1\n{tmp_path}/img/b.png,2\n", "m.csv").table
    with pytest.raises(BadRows, match="more than one row"):
        join_metadata(pa.array(["b.png"]), both, folders=[tmp_path / "m"], roots=[f"{tmp_path}/img/"])
    relative = read(tmp_path, "file_name,v\na.png,1\n../img/a.png,2\n", "m.csv").table
    joined = join_metadata(pa.array(["a.png"]), relative, folders=[tmp_path / "m"], roots=[f"{tmp_path}/img/"])
    assert len(joined.rows_without_file) == 1  # either reading of the table finds one file, none finds both


@pytest.mark.parametrize("text", ["key,label\na,x\n", '[{"key": "a", "label": "x"}]'])
def test_the_same_file_gives_the_same_table(tmp_path: Path, text: str) -> None:
    name = "m.csv" if text.startswith("key") else "m.json"
    assert read(tmp_path, text, name).table.equals(read(tmp_path, text, name).table)
