"""Repositories for tests: made once, copied for each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clones import Clone, write_images


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository right after `git init`, `dvc init`, `datapin init` and a commit: made once, copied for each test."""
    clone = Clone(tmp_path_factory.mktemp("blank") / "repo")
    clone.path.mkdir()
    clone.git("init", "-q", "-b", "main")
    clone.dvc("init", "-q")
    clone.datapin("init")
    clone.commit("init")
    return clone.path


@pytest.fixture
def repo(blank: Path, tmp_path: Path) -> Clone:
    shutil.copytree(blank, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


@pytest.fixture
def filled(repo: Clone) -> Clone:
    """A repository with the dataset data/raw: 12 rows in the classes a and b, committed."""
    write_images(repo.path / "img")
    repo.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    repo.commit("v1")
    return repo
