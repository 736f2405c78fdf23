"""The hash that DVC would give the folders of the work tree."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from datapin.base.documents import read_sealed, sealed
from datapin.dvcfiles.tracking.objects import cache_files
from datapin.pins.held import NO_MANIFEST, HeldManifests


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(3):
        (folder / f"part-{number:05d}.parquet").write_bytes(str(number).encode())
    return tmp_path


def settle(root: Path) -> None:
    """Let the clock that stamps files go on."""
    time.sleep(0.08)


def test_the_hash_is_the_one_that_dvc_gives(root: Path) -> None:
    expected = cache_files(root / "cache", sorted((root / "data").iterdir())).md5
    assert HeldManifests(root, root / "note").find("data") == expected


def test_what_is_no_manifest_or_nothing_is_told_apart(root: Path) -> None:
    held = HeldManifests(root, root / "note")
    assert held.find("nowhere") is None
    (root / "empty").mkdir()
    assert held.find("empty") is None
    (root / "data" / "README").touch()
    assert held.find("data") == NO_MANIFEST
    assert held.find("data/README") == NO_MANIFEST
    (root / "dangling").symlink_to("gone")
    assert held.find("dangling") == NO_MANIFEST


def test_a_change_is_seen_and_what_did_not_change_is_not_read_again(root: Path) -> None:
    settle(root)
    held = HeldManifests(root, root / "note")
    before = held.find("data")
    assert before is not None
    held.save()
    note = json.dumps(read_sealed(root / "note")).replace(before, "believed.dir")
    (root / "note").write_bytes(sealed(json.loads(note)))
    assert HeldManifests(root, root / "note").find("data") == "believed.dir"
    shard = root / "data" / "part-00001.parquet"
    shard.write_bytes(b"x")
    assert HeldManifests(root, root / "note").find("data") not in (before, "believed.dir")


def test_a_damaged_note_costs_nothing_but_time(root: Path) -> None:
    before = HeldManifests(root, root / "note").find("data")
    for text in ("", "[]", "{", '{"held": 1}', '{"held": {"data": {"md5": 3}}, "matched": {}}'):
        (root / "note").write_text(text)
        assert HeldManifests(root, root / "note").find("data") == before
