"""`Repo.push`, `fetch`: what moves is what is asked for and not there; a dry run lays out nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from datapin.errors import DatapinError, ManifestMissing, RemoteUnreachable, UnknownDataset
from worlds import FIRST, RAW, SECOND, World


def objects(world: World) -> list[str]:
    return sorted(path.relative_to(world.remote).as_posix() for path in world.remote.rglob("*") if path.is_file())


def test_push_sends_once(world: World) -> None:
    first = world.repo.push()
    assert (first.assets, first.datasets, first.bytes > 0) == (8, [RAW], True), "packs go whole"
    second = world.repo.push(RAW)
    assert (second.assets, second.packs, second.bytes) == (0, 0, 0)


@pytest.mark.parametrize("named", [RAW, Path(RAW), [RAW]])
def test_push_of_named_datasets(world: World, named: str | Path | list[str]) -> None:
    world.repo.add(world.path / "photos", to="data/other")
    world.clone.commit("other")
    assert world.repo.push(named).datasets == [RAW]


def test_a_dry_push_sends_nothing(world: World) -> None:
    report = world.repo.push(dry_run=True)
    assert (report.assets, objects(world)) == (8, [])


def test_push_of_all_versions_sends_those_of_history(world: World) -> None:
    world.repo.push()
    second = world.second_clone()
    with pytest.raises(DatapinError):
        second.repo.fetch(f"{RAW}@v1")
    world.repo.push(all_versions=True)
    assert second.repo.fetch(f"{RAW}@v1").assets == 6


def test_push_again_sends_what_was_lost_there(world: World) -> None:
    world.repo.push()
    packs = [path for path in world.remote.rglob("*") if path.is_file() and "packs" in path.parts]
    assert packs
    for path in packs:
        path.unlink()
    assert world.repo.push(again=True).assets == 8
    assert world.second_clone().repo.fetch().assets == 8


def test_another_remote_by_name(world: World) -> None:
    other = world.path.parent / "other"
    other.mkdir()
    world.clone.dvc("remote", "add", "-q", "other", str(other))
    assert world.repo.push(remote="other").assets == 8
    assert objects(world) == []
    world.clone.commit("remote")
    second = world.second_clone()
    assert second.repo.fetch(remote="other").assets == 8
    with pytest.raises(DatapinError, match="nowhere"):
        world.repo.push(remote="nowhere")


def test_fetch_brings_rows_and_bytes(world: World) -> None:
    world.repo.push()
    second = world.second_clone()
    report = second.repo.fetch()
    assert (report.assets, report.datasets) == (8, [RAW])
    assert second.key_list() == SECOND
    assert [sample.read() for sample in second.repo.open(RAW)] == [sample.read() for sample in world.repo.open(RAW)]
    assert second.repo.fetch(Path(RAW)).assets == 0


def test_fetch_of_some_rows_and_of_a_version(world: World) -> None:
    world.repo.push(all_versions=True)
    second = world.second_clone()
    assert second.repo.fetch(RAW, where="label = 'c'").assets == 3
    assert second.repo.fetch([f"{RAW}@v1"]).assets == 5
    assert second.key_list(f"{RAW}@v1") == FIRST


def test_fetch_of_all_versions(world: World) -> None:
    world.repo.push(all_versions=True)
    second = world.second_clone()
    assert second.repo.fetch(all_versions=True).assets == 8
    shutil.rmtree(world.remote)
    assert len(second.repo.log(RAW)) == 2
    assert second.key_list(f"{RAW}@v1") == FIRST


def test_a_dry_fetch_lays_out_nothing(world: World) -> None:
    world.repo.push()
    second = world.second_clone()
    before = second.clone.files()
    assert second.repo.fetch(dry_run=True).assets == 8
    after = second.clone.files()
    new = [name for name in after if name not in before]
    assert all(name.startswith((".git/datapin/", ".dvc/cache/", ".dvc/tmp/")) for name in new), "the manifest, to count"
    assert not (second.path / RAW).exists()


def test_fetch_of_what_was_never_pushed(world: World) -> None:
    second = world.second_clone()
    with pytest.raises(ManifestMissing) as refused:
        second.repo.fetch()
    assert refused.value.hint
    world.repo.push()
    with pytest.raises(ManifestMissing):
        second.repo.fetch(f"{RAW}@v1")
    assert second.repo.fetch().assets == 8


def test_a_remote_that_is_gone(world: World) -> None:
    shutil.rmtree(world.remote)
    world.remote.write_text("a file")
    with pytest.raises(RemoteUnreachable) as refused:
        world.repo.push()
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("verb", ["push", "fetch"])
def test_names_that_nothing_has(world: World, verb: str) -> None:
    with pytest.raises(UnknownDataset):
        getattr(world.repo, verb)("data/none")
