"""What Git's hooks do when rows or assets must move: it needs Arrow, so hooks load it only then (see `run_hook`).

It imports no more than that: hooks run at every commit.
"""

from __future__ import annotations

from collections.abc import Sequence

from datapin.base.errors import DatapinError
from datapin.trees.places import trees_of
from datapin.verbs.checkout import checkout
from datapin.verbs.remote.move import push_pinned
from datapin.verbs.workspace.bring import bring
from datapin.verbs.workspace.workspace import Workspace

__all__ = ["bring", "follow_trees", "push_pinned"]


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
