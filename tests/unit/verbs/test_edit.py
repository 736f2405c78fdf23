"""`Repo.update`, `remove`, `write`, `put`, `put_all`: rows change as asked, or nothing does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from datapin.errors import AssetsMissing, BadKeys, BadQuery, BadRows, DatapinError, Refused, UnknownDataset
from worlds import RAW, SECOND, World


def test_update_sets_columns_of_the_rows_that_match(world: World) -> None:
    report = world.repo.update(Path(RAW), ["label = upper(label)", "split = 'test'"], where="label = 'b'")
    assert (report.dataset, report.changed, report.rows) == (RAW, 2, 7)
    assert world.repo.show(RAW).labels == {"B": 2, "a": 2, "c": 3}
    assert world.repo.show(RAW).splits == {"test": 2, "None": 5}
    assert world.repo.diff(RAW).changed == 2


def test_update_without_a_condition_is_of_all_rows(world: World) -> None:
    assert world.repo.update(RAW, "weight = 2.5").changed == 7
    assert set(world.repo.ls(RAW, columns="weight")["weight"].to_pylist()) == {2.5}


def test_an_update_that_changes_nothing_says_so(world: World) -> None:
    digest, before = world.repo.show(RAW).digest, world.clone.files("data")
    report = world.repo.update(RAW, "label = label")
    assert (report.changed, report.digest) == (0, digest)
    assert world.repo.remove(RAW, where="false").removed == 0
    assert world.clone.files("data") == before


@pytest.mark.parametrize(
    ("assignment", "where"),
    [
        ("label = ", None),
        ("label", None),
        ("label = 'x'", "colour = 'red'"),
        ("label = 'x'; DROP TABLE rows", None),
        ("key = 'x'", None),
        ("asset_id = 'x'", None),
        ("label = (SELECT content FROM read_text('/etc/passwd'))", None),
    ],
)
def test_an_update_that_cannot_be_is_refused_whole(world: World, assignment: str, where: str | None) -> None:
    before = world.repo.show(RAW).digest
    with pytest.raises(DatapinError) as refused:
        world.repo.update(RAW, assignment, where=where)
    assert "\n" not in refused.value.message
    assert refused.value.hint
    assert world.repo.show(RAW).digest == before


def test_remove_takes_out_the_rows_that_match(world: World) -> None:
    report = world.repo.remove(RAW, where="label = 'c'")
    assert (report.dataset, report.removed, report.rows) == (RAW, 3, 4)
    assert world.key_list() == ["a/01.bin", "a/02.bin", "b/00.bin", "b/01.bin"]
    assert world.repo.remove(RAW, where="label = 'none'").removed == 0


def test_a_dataset_keeps_one_row_at_least(world: World) -> None:
    with pytest.raises(Refused, match="all 7 rows"):
        world.repo.remove(RAW, where="true")
    assert world.key_list() == SECOND


def test_remove_with_sql_that_does_not_run(world: World) -> None:
    with pytest.raises(BadQuery):
        world.repo.remove(RAW, where="label ==== 'c'")
    assert world.key_list() == SECOND


def test_write_replaces_the_rows_by_arrow_or_pandas(world: World) -> None:
    table = world.repo.open(RAW).to_arrow()
    report = world.repo.write(RAW, table.slice(0, 3))
    assert (report.added, report.changed, report.removed, report.rows) == (0, 0, 4, 3)
    frame = table.to_pandas()
    frame["label"] = "z"
    assert world.repo.write(Path(RAW), frame).added == 4
    assert world.repo.show(RAW).labels == {"z": 7}


def test_write_makes_a_dataset_of_assets_that_were_put(world: World) -> None:
    one = world.repo.put(b"one")
    two, same = world.repo.put_all([b"two", b"one"])
    assert one == same == hashlib.sha256(b"one").hexdigest()
    report = world.repo.write("data/made", pa.table({"key": ["x", "y"], "asset_id": [one, two], "size": [3, 3]}))
    assert (report.added, report.rows) == (2, 2)
    assert [world.repo.open("data/made").read(number) for number in range(2)] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"key": ["a", "a"]}, BadRows),
        ({"key": ["../a", "b"]}, BadKeys),
        ({"key": ["a", None]}, DatapinError),
        ({"name": ["a", "b"]}, BadRows),
    ],
)
def test_write_refuses_rows_that_break_a_rule(
    world: World, columns: dict[str, list[str]], error: type[DatapinError]
) -> None:
    ids = world.repo.put_all([b"1", b"2"])
    with pytest.raises(error):
        world.repo.write(RAW, pa.table({**columns, "asset_id": ids, "size": [1, 1]}))
    assert world.key_list() == SECOND


def test_write_refuses_assets_that_nobody_has(world: World) -> None:
    with pytest.raises(AssetsMissing) as refused:
        world.repo.write(RAW, pa.table({"key": ["a"], "asset_id": ["ab" * 32], "size": [1]}))
    assert refused.value.count == 1
    assert world.key_list() == SECOND
    assert world.clone.git("status", "--porcelain") == ""


def test_a_dataset_that_is_not_there(world: World) -> None:
    with pytest.raises(UnknownDataset, match="data/none"):
        world.repo.update("data/none", "label = 'x'")
    with pytest.raises(UnknownDataset, match="data/none"):
        world.repo.remove("data/none", where="true")
