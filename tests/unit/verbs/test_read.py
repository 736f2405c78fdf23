"""`Repo.show`, `ls`, `query`, `open`: rows of any version, by name, and nothing else through SQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapin.errors import AssetsMissing, BadQuery, DatapinError, UnknownDataset, UnknownVersion, Usage
from worlds import FIRST, RAW, SECOND, World


@pytest.mark.parametrize(("selector", "rows"), [(RAW, 7), (f"{RAW}@v1", 6), (f"{RAW}@HEAD~1", 6), (f"{RAW}@~1", 6)])
def test_show_sums_one_version_up(world: World, selector: str, rows: int) -> None:
    report = world.repo.show(selector)
    assert report == world.repo.show(Path(selector))
    assert (report.dataset, report.rows, sum(report.labels.values())) == (selector, rows, rows)
    assert report.bytes == rows * 100
    assert {"name", "type"} <= set(report.columns[0])


def test_ls_lists_rows_in_key_order(world: World) -> None:
    assert world.key_list() == SECOND
    assert world.key_list(f"{RAW}@v1") == FIRST
    assert world.repo.ls(Path(RAW)).column_names[:2] == ["key", "asset_id"]


def test_ls_columns_come_as_they_are_asked_for(world: World) -> None:
    assert world.repo.ls(RAW, columns=["size", "key"]).column_names == ["size", "key"]
    assert world.repo.ls(RAW, columns="label").column_names == ["label"]
    with pytest.raises(DatapinError, match="colour"):
        world.repo.ls(RAW, columns=["key", "colour"])


def test_ls_some_rows(world: World) -> None:
    assert world.repo.ls(RAW, where="label = 'c'")["key"].to_pylist() == ["a/00.bin", "c/00.bin", "c/01.bin"]
    assert world.repo.ls(RAW, where="label = 'c'", limit=2)["key"].to_pylist() == ["a/00.bin", "c/00.bin"]
    assert world.repo.ls(RAW, limit=0).num_rows == 0
    assert world.repo.ls(RAW, where="size > 100").num_rows == 0
    with pytest.raises(Usage, match="limit=-1"):
        world.repo.ls(RAW, limit=-1)


def test_query_joins_versions(world: World) -> None:
    changed = world.repo.query(
        f"SELECT new.key, old.label AS was FROM '{RAW}@v2' new JOIN '{RAW}@v1' old USING (key) "
        "WHERE new.label <> old.label"
    )
    assert changed.to_pylist() == [{"key": "a/00.bin", "was": "a"}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELEKT 1",
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO 'out.csv'",
        "INSTALL httpfs",
        "ATTACH 'x.db'",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT 1; SELECT 2",
        f"SELECT colour FROM '{RAW}'",
    ],
)
def test_sql_that_does_more_than_read_rows_is_refused(world: World, sql: str) -> None:
    before = world.clone.files()
    with pytest.raises((BadQuery, Usage)) as refused:
        world.repo.query(sql)
    assert "\n" not in refused.value.message
    assert world.clone.files() == before


def test_open_reads_rows_and_bytes(world: World) -> None:
    dataset = world.repo.open(RAW, version="v1", where="label = 'b'")
    assert [sample.key for sample in (dataset[0], dataset[2])] == ["b/00.bin", "b/02.bin"]
    assert dataset[0].read() == b"b0" * 50
    assert dataset.digest == world.repo.show(f"{RAW}@v1").digest


def test_open_without_fetching(world: World) -> None:
    world.repo.push()
    second = world.second_clone()
    second.repo.fetch(RAW, where="label = 'b'")
    dataset = second.repo.open(RAW, fetch="never")
    assert dataset[SECOND.index("b/00.bin")].read() == b"b0" * 50
    with pytest.raises(AssetsMissing):
        dataset[0].read()
    assert second.repo.open(RAW, fetch="auto")[0].read() == b"a0" * 50


@pytest.mark.parametrize(
    ("selector", "error"),
    [
        ("data/none", UnknownDataset),
        (f"{RAW}@v9", UnknownVersion),
        (f"{RAW}@~9", UnknownVersion),
        (f"{RAW}@\0", UnknownVersion),
    ],
)
def test_names_that_nothing_has(world: World, selector: str, error: type[DatapinError]) -> None:
    for read in (world.repo.show, world.repo.ls):
        with pytest.raises(error) as refused:
            read(selector)
        assert refused.value.hint
    with pytest.raises(error):
        world.repo.query(f"SELECT * FROM '{selector}'")
