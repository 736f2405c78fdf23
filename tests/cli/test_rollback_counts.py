"""What a rollback says of rows that it replaces: counted while it writes, from what its pointer pins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clones import Clone, write_images


@pytest.fixture
def clone(blank: Path, tmp_path: Path) -> Clone:
    """data/raw as v1 (12 rows) and v2 (1 row with another label)."""
    shutil.copytree(blank, tmp_path / "repo", symlinks=True)
    clone = Clone(tmp_path / "repo")
    write_images(clone.path / "img")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.commit("v1")
    clone.git("tag", "v1")
    clone.datapin("update", "data/raw", "--set", "label='z'", "--where", "key = 'b/00.bin'", "-q")
    clone.commit("v2")
    return clone


def damage(path: Path, first: int, last: int) -> None:
    data = bytearray(path.read_bytes())
    data[first:last] = bytes(len(data[first:last]))
    path.chmod(0o644)
    path.write_bytes(data)


def cached(clone: Clone) -> Path:
    """The object of DVC's cache that the shard in the work tree is a copy of."""
    here = (clone.path / "data/raw/part-00000.parquet").read_bytes()
    (found,) = (path for path in (clone.path / ".dvc/cache").rglob("*") if path.is_file() and path.read_bytes() == here)
    return found


def test_rows_that_are_pinned_and_cannot_be_read_hinder_no_rollback(clone: Clone) -> None:
    damage(cached(clone), 4, 400)
    told = clone.datapin("rollback", "data/raw", "--to", "v1").stdout
    assert "the rows before cannot be read, nor counted" in told
    assert {row["label"] for row in clone.json("ls", "data/raw", "--where", "key = 'b/00.bin'")} == {"b"}


def test_without_a_readable_copy_the_rows_of_the_work_tree_are_counted(clone: Clone) -> None:
    damage(cached(clone), -400, -1)
    (told,) = clone.json("rollback", "data/raw", "--to", "v1")["datasets"]
    assert [told[name] for name in ("added", "removed", "changed")] == [0, 0, 1]


def test_a_dry_run_says_so_too(clone: Clone) -> None:
    damage(cached(clone), 4, 400)
    (told,) = clone.json("rollback", "data/raw", "--to", "v1", "--dry-run")["datasets"]
    assert [told[name] for name in ("added", "removed", "changed")] == [None, None, None]


def test_rows_that_nothing_pins_are_counted_before_they_go(clone: Clone) -> None:
    clone.datapin("update", "data/raw", "--set", "label='y'", "--where", "key LIKE 'a/%'", "-q")
    clone.git("checkout", "-q", "--", "data/raw.dvc")
    (told,) = clone.json("rollback", "data/raw", "--to", "v1", "--force")["datasets"]
    assert told["changed"] == 7  # six of a, which were edited, and the one that v2 relabelled
