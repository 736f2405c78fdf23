"""`Repo.rollback`, `restore`, `recover`: rows as they were, by version; unsaved edits are kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from datapin.errors import DatapinError, UnknownDataset, UnknownVersion, UnsavedRows
from worlds import FIRST, RAW, SECOND, World


@pytest.mark.parametrize("named", [RAW, Path(RAW), [RAW], (Path(RAW),)])
def test_one_dataset_goes_back(world: World, named: str | Path | list[str] | tuple[Path]) -> None:
    report = world.repo.rollback(named, to="v1")
    (back,) = report.datasets
    assert (back.dataset, back.added, back.removed, back.changed) == (RAW, 1, 2, 1)
    assert (world.key_list(), report.files, report.changes_anything) == (FIRST, [f"{RAW}.dvc"], True)
    assert back.after == world.repo.show(f"{RAW}@v1").digest
    assert world.clone.git("status", "--porcelain").split() == ["M", f"{RAW}.dvc"]


def test_every_output_goes_back(world: World) -> None:
    world.repo.add(world.path / "more", to="data/later")
    world.clone.commit("v3")
    report = world.repo.rollback(to="v1", every=True)
    assert [one.dataset for one in report.datasets] == [RAW]
    assert report.left, "data/later did not exist then"
    assert world.key_list("data/later"), "and it stays"


def test_a_dry_run_changes_nothing(world: World) -> None:
    before = world.clone.files("data")
    report = world.repo.rollback(RAW, to="v1", dry_run=True)
    assert report.is_dry_run
    assert report.changes_anything
    assert (report.datasets[0].removed, world.clone.files("data")) == (2, before)
    assert world.clone.git("status", "--porcelain") == ""


def test_a_version_where_we_are_changes_nothing(world: World) -> None:
    report = world.repo.rollback(RAW, to="HEAD")
    assert (report.changes_anything, report.files) == (False, [])


def test_unsaved_edits_are_refused_or_kept(world: World) -> None:
    world.repo.update(RAW, "label = 'mine'", where="label = 'b'")
    edited = world.labels()
    with pytest.raises(UnsavedRows):
        world.repo.rollback(RAW, to="v1")
    assert world.labels() == edited
    report = world.repo.rollback(RAW, to="v1", force=True)
    assert report.kept
    assert world.key_list() == FIRST
    assert all((world.path / kept).exists() for kept in report.kept)


def test_restore_undoes_edits_and_keeps_them(world: World) -> None:
    shutil.rmtree(world.path / RAW)
    report = world.repo.restore(RAW)
    assert [one.dataset for one in report.datasets] == [RAW]
    assert world.key_list() == SECOND


def test_a_dry_restore_changes_nothing(world: World) -> None:
    shutil.rmtree(world.path / RAW)
    assert world.repo.restore(dry_run=True).is_dry_run
    assert not (world.path / RAW).exists()
    assert world.repo.restore().datasets[0].dataset == RAW


def test_a_lazy_rollback_brings_rows_and_no_bytes(world: World) -> None:
    world.repo.push(all_versions=True)
    second = world.second_clone()
    second.repo.fetch(RAW, where="label = 'b'")
    report = second.repo.rollback(RAW, to="v1", lazy=True)
    assert (second.key_list(), report.fetched) == (FIRST, 0)
    assert second.repo.status(RAW).datasets[0].missing_local == 4
    assert second.repo.rollback(RAW, to="v2").fetched == 5


def test_pin_is_for_outputs_of_stages(world: World) -> None:
    world.repo.rollback(RAW, to="v1", pin=True)
    assert world.key_list() == FIRST


@pytest.mark.parametrize(
    ("name", "to", "error"),
    [
        (RAW, "v9", UnknownVersion),
        ("data/none", "v1", UnknownDataset),
        (RAW, "~5", UnknownVersion),
        (RAW, "\0", UnknownVersion),
    ],
)
def test_names_that_nothing_has(world: World, name: str, to: str, error: type[DatapinError]) -> None:
    before = world.clone.files("data")
    with pytest.raises(error) as refused:
        world.repo.rollback(name, to=to)
    assert refused.value.hint
    assert world.clone.files("data") == before


def test_recover_with_nothing_to_do(world: World) -> None:
    report = world.repo.recover()
    assert (report.finished, report.restored, report.kept, report.problems) == ([], [], [], [])
