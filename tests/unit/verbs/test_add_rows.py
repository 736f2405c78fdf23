"""`Repo.add(rows=True)`: rows of tables, their assets, what is refused, and what the gate for leaks sees of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapin.errors import DatapinError, Refused, StageRefused
from worlds import World

NEW = "data/new"
TABLE = "id,age,city,churned\n7,31,Oslo,yes\n8,44,Bergen,no\n9,,Oslo,no\n10,31,Oslo,no\n"
PEOPLE = [{"id": 7, "age": 31, "city": "Oslo"}, {"id": 8, "age": None, "city": 'a"b'}]


def write(world: World, text: str, name: str = "t.csv") -> str:
    (world.path / name).write_text(text)
    return str(world.path / name)


def add(world: World, source: Any, to: str = NEW, **rules: Any) -> Any:
    return world.repo.add(source, to=to, rows=True, key_column="id", **rules)


def rows(world: World, dataset: str = NEW) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in world.repo.ls(dataset).to_pylist()}


def asset(world: World, key: str, dataset: str = NEW) -> bytes:
    return world.repo.open(dataset, where=f"key = '{key}'").read(0)


def test_cells_become_columns_and_the_asset_is_the_row(world: World) -> None:
    report = add(world, write(world, TABLE), label="churned")
    assert (report.added, report.new_assets) == (4, 3)
    found = rows(world)
    assert list(found) == ["10", "7", "8", "9"]
    columns = ("age", "city", "label", "media_type")
    assert [found["8"][name] for name in columns] == [44, "Bergen", "no", "application/json"]
    canonical = b'{"age":31,"city":"Oslo"}'
    assert found["7"]["asset_id"] == found["10"]["asset_id"] == hashlib.sha256(canonical).hexdigest()
    assert asset(world, "7") == canonical
    assert asset(world, "9") == b'{"city":"Oslo"}'


def test_three_formats_say_the_same(world: World) -> None:
    add(world, write(world, 'id,age,city\n7,31,Oslo\n8,,"a""b"\n'), "data/a")
    add(world, write(world, "".join(json.dumps(row) + "\n" for row in PEOPLE), "b.jsonl"), "data/b")
    pq.write_table(pa.Table.from_pylist(PEOPLE), world.path / "c.parquet")
    add(world, world.path / "c.parquet", "data/c")
    assert rows(world, "data/a") == rows(world, "data/b") == rows(world, "data/c")


def test_the_asset_column_is_kept_byte_for_byte(world: World) -> None:
    texts = ["Größe\r\n", "007", " ", "2024-02-29"]
    table = "id,text,stars\n" + "".join(f'{n},"{text}",{n}\n' for n, text in enumerate(texts))
    (world.path / "r.csv").write_bytes(table.encode())
    add(world, world.path / "r.csv", asset_column="text")
    assert [asset(world, str(n)) for n in range(4)] == [text.encode() for text in texts]
    assert {row["media_type"] for row in rows(world).values()} == {"text/plain"}
    assert "text" not in rows(world)["1"]
    pq.write_table(pa.table({"id": ["x.png"], "image": [b"\x89PNG\0"]}), world.path / "i.parquet")
    add(world, world.path / "i.parquet", "data/images", asset_column="image")
    assert asset(world, "x.png", "data/images") == b"\x89PNG\0"
    assert rows(world, "data/images")["x.png"]["media_type"] == "image/png"


def test_the_same_again_updates_a_mirror_drops_and_removed_rows_stay_removed(world: World) -> None:
    path = write(world, TABLE)
    first, again = add(world, path), add(world, path)
    assert (again.digest, again.unchanged, again.new_assets) == (first.digest, 4, 0)
    write(world, TABLE.replace("44", "45"))
    assert add(world, path).changed == 1
    world.repo.remove(NEW, where="key = '9'")
    left_out = add(world, path)
    assert (left_out.rows, left_out.stay_removed) == (3, 1)
    assert add(world, path, again=True).rows == 4
    write(world, "".join(TABLE.splitlines(keepends=True)[:4]))
    assert add(world, path).rows == 4
    assert add(world, path, mirror=True).rows == 3
    write(world, "".join(TABLE.splitlines(keepends=True)[:2]))
    with pytest.raises(Refused, match="would drop 2 of 3"):
        add(world, path, mirror=True)
    assert add(world, path, mirror=True, confirm=lambda what: "2 of 3" in what).rows == 1


@pytest.mark.parametrize(
    ("table", "rules", "said"),
    [
        ("id,a\n../x,1\na//b,2\nC:x,3\n", {}, "3 bad key"),
        ("id,a\nx\\y,1\n", {}, "holds a backslash"),
        ("id,a\n.git/config,1\n", {}, "bad key"),
        ("id,a\nx,1\nx,2\n", {}, r"1 key\(s\) appear in more than one row: x"),
        ("id,a\n,1\n", {}, r"column id is empty in 1 row\(s\)"),
        ("id,a,size\nx,1,2\n", {}, "column size is computed by datapin"),
        ("id,a,partner_id\nx,1,2\n", {}, "column partner_id is computed by datapin"),
        ("id,label\nx,1\n", {}, "no column is left for the assets"),
        ("id,a\n", {}, "no rows in .*t.csv"),
        ("id,a\nx,\ny,1\n", {"asset_column": "a"}, r"column a is empty in 1 row\(s\): x"),
        ("id,a\nx,1\n", {"asset_column": "b"}, "--asset-column b: .*t.csv has no column 'b'"),
        ("id,a\nx,1\n", {"label": "b"}, "--label b: .*t.csv has no column 'b'"),
        ("id,a\nx,1\n", {"label": "a", "renames": {"a": "b"}}, "--label a: --rename gives"),
        ("id,a\nx,1\n", {"asset_column": "a", "types": {"a": "int"}}, "column a is int64, expected text or bytes"),
        ("id,a\nx,1\n", {"metadata": "t.csv"}, "--rows adds none"),
        ("id,a\nx,1\n", {"split": "first-folder"}, "--rows adds none"),
        ("id,a\nx,1,2\n", {}, "cannot be read as csv"),
        ("id,a\nx,inf\n", {"types": {"a": "double"}}, "column 'a' holds an infinite number"),
    ],
)
def test_bad_tables_are_refused_whole(world: World, table: str, rules: dict[str, Any], said: str) -> None:
    before = world.clone.files("data")
    with pytest.raises(DatapinError, match=said) as refused:
        add(world, write(world, table), **rules)
    assert refused.value.hint
    assert world.clone.files("data") == before


def test_two_tables_are_one_add_and_share_no_key(world: World) -> None:
    one, other = write(world, "id,a\nx,1\n", "a.csv"), write(world, "id,a,b\ny,1,2\n", "b.csv")
    assert add(world, [one, other]).rows == 2
    assert [rows(world)[key]["b"] for key in "xy"] == [None, 2]
    write(world, "id,a\nx,1\n", "b.csv")
    with pytest.raises(DatapinError, match="keys appear in two tables: x"):
        add(world, [one, other])
    with pytest.raises(DatapinError, match="no such file"):
        add(world, [one, world.path / "none.csv"])
    with pytest.raises(DatapinError, match="nothing to add"):
        add(world, [])
    with pytest.raises(DatapinError, match="--asset-column"):
        world.repo.add(one, to=NEW, asset_column="a")


def test_the_same_person_in_two_splits_is_found(world: World) -> None:
    add(world, write(world, "id,age,split\na,1,train\nb,1,test\nc,2,train\n"))
    kind = "kind: text, on_unlabelled: keep, near_duplicates: none"
    params = f"prepare: {{{kind}, input: {NEW}, keep_split: true, split: {{train: 0.5, test: 0.5}}}}\n"
    (world.path / "params.yaml").write_text(params)
    with pytest.raises(StageRefused, match="share an asset with a row of another split"):
        world.repo.run("prepare")
    world.clone.commit("rows")
    told = [finding.where for finding in world.repo.verify().findings if finding.severity == "error"]
    assert [where for where in told if where.startswith(NEW)]
