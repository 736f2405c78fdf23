"""The DVC projects of a repository (`dvc init --subdir`), here and in commits: which of them owns a pointer."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datapin.base.errors import ToolFailed
from datapin.git.ask import ask_names
from datapin.git.log import blob_ids
from datapin.pins.files import PROJECT, inner_projects


class InnerProjects:
    """Which files below `root` belong to a DVC project further down, in which commit: told by the settings there."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ever: set[str] = set()  # folders with a `/` at their end
        self._known: dict[tuple[str, str], bool] = {}

    def learn(self, files: Iterable[str]) -> None:
        """Take note of what may be projects, by their settings among `files`."""
        self._ever.update(inner_projects(list(files)))

    def of_others(self, places: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of the places (commit, file) that are files of a project further down in that commit."""
        asked = {(commit, folder) for commit, file in places for folder in self._ever if file.startswith(folder)}
        new = sorted(asked - self._known.keys())
        found = blob_ids(self._root, [f"{commit}:./{folder}{PROJECT}" for commit, folder in new])
        self._known.update({place: blob is not None for place, blob in zip(new, found, strict=True)})
        return {
            (commit, file)
            for commit, file in places
            if any(self._known[commit, folder] for folder in self._ever if file.startswith(folder))
        }


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


def _projects_in(top: Path, commit: str) -> frozenset[str]:
    try:
        names = ask_names(top, "ls-tree", "-r", "-z", "--name-only", f"{commit}^{{tree}}")
    except ToolFailed:
        return frozenset()  # a tag on something that is no commit
    return frozenset(
        posixpath.dirname(posixpath.dirname(name)) for name in names if name == PROJECT or name.endswith(f"/{PROJECT}")
    )
