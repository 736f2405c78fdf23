"""What Git's hooks do when rows or assets must move: it needs Arrow, so hooks load it only then (see `hooks`).

It imports no more than that: hooks run at every commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datapin.base.errors import DatapinError
from datapin.base.progress import Progress
from datapin.dvcfiles.outs import PinnedOut
from datapin.trees.places import trees_of
from datapin.verbs.checkout import checkout
from datapin.verbs.remote.move import push_pinned
from datapin.verbs.workspace.bring import bring
from datapin.verbs.workspace.reports import MoveReport
from datapin.verbs.workspace.workspace import Workspace


def end_rollback(root: Path, progress: Progress) -> None:
    """Finish a rollback that was cut off: to open the repository does."""
    Workspace.find(root, progress=progress)


def send_pinned(root: Path, pointers: Sequence[PinnedOut], progress: Progress) -> MoveReport:
    """Send these dataset versions. Raises as `push_pinned`."""
    return push_pinned(Workspace.find(root, progress=progress), pointers)


def bring_pinned(root: Path, pointers: Sequence[PinnedOut], progress: Progress) -> None:
    """Bring the manifests of these pointers into DVC's cache. Raises ManifestMissing."""
    bring(Workspace.find(root, progress=progress), pointers)


def let_trees_follow(root: Path, datasets: Sequence[str], progress: Progress) -> None:
    """Files that were checked out of these datasets become those of the work tree's rows."""
    follow_trees(Workspace.find(root, progress=progress), datasets)


# Files that were checked out of datasets follow them, where the settings say so.


def follow_trees(workspace: Workspace, datasets: Sequence[str]) -> None:
    """Check the work tree's rows of these datasets out again wherever they were checked out before.

    A folder with files that somebody edited stays as it is, and is told of.
    """
    for dataset in datasets:
        for tree in trees_of(workspace.cache / "checkout", workspace.root, dataset):
            try:
                checkout(workspace, dataset, into=tree.target, where=tree.where, force=False)
            except DatapinError as error:
                workspace.progress.note(f"datapin: {error.message}; {error.hint}")
