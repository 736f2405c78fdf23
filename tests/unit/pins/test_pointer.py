"""Datasets of a work tree and of a revision, and the shards that a version pins."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from clones import Clone
from datapin.base.errors import DamagedManifest, ManifestMissing, UnknownVersion
from datapin.base.state import state_of
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.settings import cache_directory
from datapin.pins.manifests import link_version
from datapin.pins.read import Pins
from pinning import Pin, summary_of, write_shards

PIPELINE = """
stages:
  prepare:
    cmd: mkdir -p data/prepared && cp data/raw/* data/prepared && echo > model
    deps: [data/raw]
    outs: [data/prepared, model]
  folder:
    cmd: mkdir -p other && echo x > other/notes.txt
    outs: [other]
"""


def shards_at(root: Path, dataset: str, rev: str) -> list[tuple[str, Path]]:
    pinned = Pins.at(root, rev).dataset(dataset)
    if pinned is None:
        raise UnknownVersion(f"{dataset}@{rev}", "")
    return DvcCache(root).shards(pinned)


@pytest.fixture
def derived(clone: Clone, pin: Pin) -> Clone:
    """A pipeline that ran: one source dataset, one derived, and outputs that are no datasets."""
    pin(b"one")
    (clone.path / "dvc.yaml").write_text(PIPELINE)
    clone.dvc("repro", "-q")
    clone.commit("v1")
    return clone


def test_source_and_derived_datasets_are_found(derived: Clone) -> None:
    assert Pins(derived.path).names == ["data/prepared", "data/raw"]
    assert [pointer.stage for pointer in Pins(derived.path).datasets] == ["prepare", None]
    assert [pointer.dataset for pointer in Pins.at(derived.path, "HEAD").datasets] == ["data/prepared", "data/raw"]


def test_a_clone_without_any_data_knows_its_source_datasets(derived: Clone, tmp_path: Path) -> None:
    derived.git("clone", "-q", derived.path, tmp_path / "fresh")
    assert Pins(tmp_path / "fresh").names == ["data/raw"]


def test_what_a_plain_dvc_add_pinned_is_a_dataset_if_it_holds_shards(clone: Clone) -> None:
    write_shards(clone.path / "plain", b"x")
    (clone.path / "images").mkdir()
    (clone.path / "images" / "a.png").write_bytes(b"x")
    (clone.path / "one.csv").write_text("a")
    clone.dvc("add", "-q", "plain", "images", "one.csv")
    assert Pins(clone.path).names == ["plain"]
    pointer = Pins(clone.path).dataset("plain")
    assert pointer is not None
    assert pointer.summary is None


def test_a_repository_without_datasets_has_none(clone: Clone) -> None:
    assert Pins(clone.path).names == []
    assert Pins(clone.path).dataset("data/raw") is None
    assert Pins.at(clone.path, "HEAD").dataset("data/raw") is None


def test_outputs_of_stages_are_told_from_sources(derived: Clone) -> None:
    assert Pins(derived.path).is_stage_output("data/prepared")
    assert not Pins(derived.path).is_stage_output("data/raw")
    assert not Pins(derived.path).is_stage_output("data/new")
    (derived.path / "dvc.lock").unlink()
    assert Pins(derived.path).is_stage_output("data/prepared"), "declared in dvc.yaml, not run yet"


def test_shards_of_any_revision_are_found_in_the_cache(clone: Clone, pin: Pin) -> None:
    pin(b"one", b"two")
    clone.commit("v1")
    pin(b"one", b"three")
    clone.commit("v2")
    at = {rev: [path.read_bytes() for _, path in shards_at(clone.path, "data/raw", rev)] for rev in ("HEAD", "HEAD~1")}
    assert at == {"HEAD": [b"one", b"three"], "HEAD~1": [b"one", b"two"]}


def test_derived_shards_of_a_revision_are_found(derived: Clone) -> None:
    ((name, path),) = shards_at(derived.path, "data/prepared", "HEAD")
    assert name == "part-00000.parquet"
    assert path.read_bytes() == b"one"


def test_a_version_becomes_a_directory_and_is_found_again(clone: Clone, pin: Pin, tmp_path: Path) -> None:
    pin(b"one", b"two")
    clone.commit("v1")
    first = link_version(clone.path, "data/raw", "HEAD", tmp_path / "versions")
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        "part-00000.parquet": b"one",
        "part-00001.parquet": b"two",
    }
    inode = first.stat().st_ino
    assert link_version(clone.path, "data/raw", "HEAD", tmp_path / "versions").stat().st_ino == inode
    assert [path.name for path in (tmp_path / "versions").iterdir()] == [first.name]


def test_a_version_whose_links_are_broken_is_made_anew(clone: Clone, pin: Pin, tmp_path: Path) -> None:
    pin(b"one", b"two")
    clone.commit("v1")
    first = link_version(clone.path, "data/raw", "HEAD", tmp_path / "versions")
    (first / "part-00001.parquet").unlink()
    again = link_version(clone.path, "data/raw", "HEAD", tmp_path / "versions")
    assert sorted(path.name for path in again.iterdir()) == ["part-00000.parquet", "part-00001.parquet"]


def test_a_cache_that_moved_is_followed(clone: Clone, pin: Pin, tmp_path: Path) -> None:
    pin(b"one")
    clone.commit("v1")
    link_version(clone.path, "data/raw", "HEAD", tmp_path / "versions")
    shutil.move(clone.path / ".dvc" / "cache", tmp_path / "moved")
    clone.dvc("config", "cache.dir", tmp_path / "moved")
    again = link_version(clone.path, "data/raw", "HEAD", tmp_path / "versions")
    assert (again / "part-00000.parquet").read_bytes() == b"one"


def test_objects_in_the_layout_of_dvc_2_are_found(clone: Clone, pin: Pin) -> None:
    pin(b"one")
    clone.commit("v1")
    cache = cache_directory(clone.path)
    for path in list((cache / "files" / "md5").iterdir()):
        shutil.move(path, cache / path.name)
    assert len(shards_at(clone.path, "data/raw", "HEAD")) == 1


def test_what_is_not_here_is_named(clone: Clone, pin: Pin) -> None:
    md5 = pin(b"one", b"two")
    clone.commit("v1")
    cache = cache_directory(clone.path) / "files" / "md5"
    entries = json.loads((cache / md5[:2] / md5[2:]).read_bytes())
    second = entries[1]["md5"]
    (cache / second[:2] / second[2:]).unlink()
    shutil.rmtree(state_of(clone.path).objects)
    with pytest.raises(ManifestMissing, match=r"part-00001\.parquet"):
        shards_at(clone.path, "data/raw", "HEAD")
    (cache / md5[:2] / md5[2:]).unlink()
    with pytest.raises(ManifestMissing, match=md5):
        shards_at(clone.path, "data/raw", "HEAD")


def test_a_dataset_that_a_revision_lacks_is_an_unknown_version(clone: Clone, pin: Pin) -> None:
    pin(b"one")
    with pytest.raises(UnknownVersion, match="data/raw"):
        shards_at(clone.path, "data/raw", "HEAD")
    with pytest.raises(UnknownVersion, match="nothing"):
        shards_at(clone.path, "data/raw", "nothing")


@pytest.mark.parametrize(
    "listing",
    [
        b"not json",
        b"{}x",
        b'[{"md5": "5f44882a0299db44b3bc5ce61c6c224e", "relpath": "../../evil.parquet"}]',
        b'[{"md5": "5f44882a0299db44b3bc5ce61c6c224e", "relpath": "/evil.parquet"}]',
        b'[{"md5": "5f44882a0299db44b3bc5ce61c6c224e", "relpath": "a\\nb.parquet"}]',
        b'[{"md5": "5f44882a0299db44b3bc5ce61c6c224e", "relpath": "run.sh"}]',
        b'[{"md5": "../../../../etc/passwd", "relpath": "part-00000.parquet"}]',
        b'[{"md5": 7, "relpath": "part-00000.parquet"}]',
        b'[{"relpath": "part-00000.parquet"}]',
        b"[7]",
        b"[" * 100_000,
    ],
)
def test_a_hostile_or_broken_list_of_files_leads_nowhere(clone: Clone, pin: Pin, listing: bytes) -> None:
    md5 = pin(b"one")
    clone.commit("v1")
    path = cache_directory(clone.path) / "files" / "md5" / md5[:2] / md5[2:]
    path.chmod(0o644)
    path.write_bytes(listing)
    with pytest.raises(DamagedManifest):
        shards_at(clone.path, "data/raw", "HEAD")
    assert Pins(clone.path).names == ["data/raw"]


def test_a_pointer_with_a_summary_in_a_folder_that_is_gone_still_counts(clone: Clone, pin: Pin) -> None:
    pin(b"one")
    shutil.rmtree(clone.path / "data" / "raw")
    shutil.rmtree(clone.path / ".dvc" / "cache")
    assert Pins(clone.path).names == ["data/raw"]
    pointer = Pins(clone.path).dataset("data/raw")
    assert pointer is not None
    assert pointer.digest == summary_of(b"one")["digest"]
    assert os.path.exists(clone.path)
