"""Real repositories with Git and DVC, and manifests to pin in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clones import Clone
from datapin.dvcfiles.tracking.track import track
from pinning import Pin, summary_of, write_shards


@pytest.fixture(scope="session")
def bare_blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository right after `git init` and `dvc init`."""
    clone = Clone(tmp_path_factory.mktemp("blank") / "repo")
    clone.path.mkdir()
    clone.git("init", "-q", "-b", "main")
    clone.dvc("init", "-q")
    clone.commit("init")
    return clone.path


@pytest.fixture
def clone(bare_blank: Path, tmp_path: Path) -> Clone:
    shutil.copytree(bare_blank, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


@pytest.fixture
def pin(clone: Clone) -> Pin:
    """Write shards with these bytes and pin them."""

    def write_and_track(*contents: bytes, dataset: str = "data/raw", root: Path | None = None) -> str:
        root = root or clone.path
        write_shards(root / dataset, *contents)
        return track(root, dataset, summary_of(*contents))

    return write_and_track
