"""Two people with a clone each, one Git server, one DVC remote; hooks and drivers on."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clones import Clone, Ended, write_images

Rows = dict[str, dict[str, Any]]


class Member(Clone):
    """A clone, and what its user does every day."""

    def rows(self, selector: str = "data/raw") -> Rows:
        return {row.pop("key"): row for row in self.json("ls", selector)}

    def digest(self, selector: str = "data/raw") -> str:
        return str(self.json("show", selector)["digest"])

    def label(self, label: str, where: str) -> None:
        self.datapin("update", "data/raw", "--set", f"label = '{label}'", "--where", where, "-q")

    def add(self, folder: str, per_class: int = 2, classes: str = "c") -> None:
        write_images(self.path / folder, per_class, classes)
        self.datapin("add", folder, "--to", "data/raw", "--label", "parent", "-q")

    def merge(self, *words: str, code: int = 0) -> Ended:
        return self.run("git", "merge", "--no-edit", "-q", *words, code=code)

    def changes(self) -> dict[str, int]:
        (status,) = self.json("status", "data/raw")["datasets"]
        head: dict[str, int] = status["head"]
        return head

    def is_clean(self) -> bool:
        """Whether Git, DVC and datapin all say that the work tree is the commit's."""
        told = self.dvc("status").stdout
        return (
            self.git("status", "--porcelain") == ""
            and "up to date" in told
            and self.changes() == {"added": 0, "changed": 0, "removed": 0}
        )


@dataclass(frozen=True)
class Team:
    """Ann has made the dataset and pushed it; Bob has cloned the repository."""

    top: Path

    @property
    def ann(self) -> Member:
        return Member(self.top / "ann")

    @property
    def bob(self) -> Member:
        return Member(self.top / "bob")

    @property
    def lab(self) -> Path:
        """The DVC remote."""
        return self.top / "lab"

    def copy(self, top: Path) -> Team:
        shutil.copytree(self.top, top, symlinks=True)
        return Team(top)


def make_team(blank: Path, top: Path) -> Team:
    team = Team(top)
    shutil.copytree(blank, team.ann.path, symlinks=True)
    write_images(team.ann.path / "img")
    (team.ann.path / ".gitignore").write_text("/img\n/more\n/other\n/out\n")
    team.lab.mkdir()
    with (team.ann.path / ".dvc" / "config").open("a") as config:
        config.write("[core]\n    remote = lab\n['remote \"lab\"']\n    url = ../../lab\n")
    team.ann.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    team.ann.datapin("init", "--hooks", "-q")
    team.ann.commit("v1")
    team.ann.git("tag", "v1")
    team.ann.git("init", "-q", "--bare", "-b", "main", top / "hub.git")
    team.ann.git("remote", "add", "origin", "../hub.git")
    team.ann.run("git", "push", "-q", "-u", "origin", "main", "v1")
    team.ann.git("clone", "-q", top / "hub.git", team.bob.path)
    team.bob.git("remote", "set-url", "origin", "../hub.git")
    team.bob.datapin("init", "--hooks", "-q")
    team.bob.datapin("fetch", "-q")
    return team
