"""The DVC projects of a repository (`dvc init --subdir`), here and in commits: which of them owns a pointer."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datapin.base.errors import ToolFailed
from datapin.dvcfiles.texts import Pointer
from datapin.git.ask import ask_git
from datapin.pins.history import Pins

_CONFIG = ".dvc/config"


@dataclass(frozen=True, slots=True)
class Owners:
    """Folders of projects, relative to `top` ("" is the top itself): usable ones of the work tree, those of commits."""

    top: Path
    here: frozenset[str]
    in_commits: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, top: Path, roots: Sequence[Path], commits: Sequence[str]) -> Owners:
        """`roots` are the projects of the work tree."""
        here = frozenset("" if root == top else root.relative_to(top).as_posix() for root in roots)
        return cls(top, here, {commit: _projects_in(top, commit) for commit in commits})

    def owner(self, file: str) -> str | None:
        """The innermost project around a file, which is relative to the top; None if there is none."""
        known = self.here.union(*self.in_commits.values())
        folder = posixpath.dirname(file)
        while folder and folder not in known:
            folder = posixpath.dirname(folder)
        return folder if folder in known else None

    def is_here(self, file: str) -> bool:
        """Whether a project of the work tree owns the file."""
        return self.owner(file) in self.here

    def has(self, commit: str, project: str) -> bool:
        """Whether this commit has the project."""
        return project in self.in_commits.get(commit, ())

    def own(self, root: Path, pins: Pins) -> Pins:
        """What is the project's own among what lies below `root`."""
        prefix = "" if root == self.top else f"{root.relative_to(self.top).as_posix()}/"

        def is_own(pointer: Pointer) -> bool:
            return self.owner(f"{prefix}{pointer.file}") == prefix.removesuffix("/")

        datasets, unknown = ([one for one in found if is_own(one)] for found in (pins.datasets, pins.unknown))
        return replace(pins, datasets=datasets, unknown=unknown)


def _projects_in(top: Path, commit: str) -> frozenset[str]:
    try:
        said = ask_git(top, "ls-tree", "-r", "-z", "--name-only", f"{commit}^{{tree}}")
    except ToolFailed:
        return frozenset()  # a tag on something that is no commit
    names = said.decode("utf-8", "surrogateescape").split("\0")
    return frozenset(
        posixpath.dirname(posixpath.dirname(name)) for name in names if name == _CONFIG or name.endswith(f"/{_CONFIG}")
    )
