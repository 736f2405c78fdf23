"""A repository with two versions and a remote, as the verbs of `Repo` find it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clones import Clone, write_images
from datapin import Repo

RAW = "data/raw"
FIRST = ["a/00.bin", "a/01.bin", "a/02.bin", "b/00.bin", "b/01.bin", "b/02.bin"]
SECOND = ["a/00.bin", "a/01.bin", "a/02.bin", "b/00.bin", "b/01.bin", "c/00.bin", "c/01.bin"]


@dataclass(frozen=True)
class World:
    """A clone of the repository, its remote, and the front door to it."""

    clone: Clone
    remote: Path

    @property
    def path(self) -> Path:
        return self.clone.path

    @property
    def repo(self) -> Repo:
        """As a new process would find it: nothing is remembered between two verbs."""
        return Repo.find(self.path)

    def key_list(self, selector: str = RAW) -> list[str]:
        keys: list[str] = self.repo.ls(selector, columns="key")["key"].to_pylist()
        return keys

    def labels(self, selector: str = RAW) -> dict[str, str]:
        rows = self.repo.ls(selector, columns=["key", "label"])
        return dict(zip(rows["key"].to_pylist(), rows["label"].to_pylist(), strict=True))

    def second_clone(self) -> World:
        """As a colleague has it: Git's files, the same remote, no data."""
        path = self.path.parent / "second"
        self.clone.git("clone", "-q", self.path, path)
        Repo.init(path, hooks=False)
        return World(Clone(path), self.remote)


def make_world(clone: Clone) -> World:
    """v1: photos/a and photos/b, 3 files each. v2: one label changed, one row removed, 2 rows of more/c added."""
    remote = clone.path.parent / "lab"
    remote.mkdir()
    with (clone.path / ".dvc" / "config").open("a") as config:
        config.write("[core]\n    remote = lab\n['remote \"lab\"']\n    url = ../../lab\n")
    write_images(clone.path / "photos", per_class=3)
    write_images(clone.path / "more", per_class=2, classes="c")
    (clone.path / ".gitignore").write_text("/photos\n/more\n/out\n")
    world = World(clone, remote)
    world.repo.add(clone.path / "photos", to=RAW, label="parent")
    clone.commit("v1")
    clone.git("tag", "v1")
    world.repo.update(RAW, "label = 'c'", where="key = 'a/00.bin'")
    world.repo.remove(RAW, where="key = 'b/02.bin'")
    world.repo.add(clone.path / "more", to=RAW, label="parent")
    clone.commit("v2")
    clone.git("tag", "v2")
    return world
