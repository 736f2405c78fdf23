"""One repository with two versions and a remote, made once: each test calls the verbs of `Repo` in its copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clones import ENVIRONMENT, Clone
from worlds import World, make_world

NAMES = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "DVC_NO_ANALYTICS", "PATH")


@pytest.fixture(autouse=True)
def _as_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, ENVIRONMENT[name])


@pytest.fixture(scope="session")
def made_world(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("world")
    shutil.copytree(blank, top / "repo", symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setenv(name, ENVIRONMENT[name])
        make_world(Clone(top / "repo"))
    return top


@pytest.fixture
def world(made_world: Path, tmp_path: Path) -> World:
    shutil.copytree(made_world, tmp_path / "world", symlinks=True)
    return World(Clone(tmp_path / "world" / "repo"), tmp_path / "world" / "lab")
