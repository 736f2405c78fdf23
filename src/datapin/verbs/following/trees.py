"""Files that were checked out of datasets follow them, where the settings say so."""

from __future__ import annotations

from collections.abc import Sequence

from datapin.base.errors import DatapinError
from datapin.trees.places import trees_of
from datapin.verbs.checkout import checkout
from datapin.verbs.workspace.workspace import Workspace


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
