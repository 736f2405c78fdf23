"""Where a checkout keeps what it wrote into a folder, and which folders follow a dataset. Free of NumPy and Arrow."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from datapin.base.documents import read_json
from datapin.base.files import make_directory, publish_bytes

_REGISTER = "trees.json"


@dataclass(frozen=True, slots=True)
class FollowingTree:
    """A folder into which the work tree's version of `dataset` was checked out, or its rows that match `where`.

    One outside the repository `is_chosen`, by --follow; before 0029 nobody asked, so those follow no more.
    """

    target: str  # absolute, without links
    dataset: str
    where: str | None
    is_chosen: bool = False


def records_path(state: Path, target: Path) -> Path:
    """The file below `state` with the records of what was written into `target`."""
    return state / hashlib.sha256(os.fsencode(os.path.realpath(target))).hexdigest()[:24]


def register_tree(state: Path, tree: FollowingTree, *, is_following: bool) -> None:
    """Note what was checked out into the tree's folder; a tree of a fixed version (`is_following` False) is not noted.

    `state` is where checkouts keep what they wrote. A note that is lost costs a `datapin checkout` by hand.
    """
    trees = [one for one in _noted_trees(state) if one.target != tree.target]
    if is_following:
        trees.append(tree)
    mine = os.path.realpath(state)
    noted = json.dumps([{**asdict(tree), "state": mine} for tree in trees]).encode()
    if noted != _read(state):
        make_directory(state)
        publish_bytes(state / _REGISTER, noted)


def registered_trees(state: Path, root: Path) -> list[FollowingTree]:
    """Every folder that follows a dataset of the repository `root`, also one that is gone by now."""
    top = os.path.realpath(root)
    return [tree for tree in _noted_trees(state) if tree.is_chosen or is_below(tree.target, top)]


def trees_of(state: Path, root: Path, dataset: str) -> list[FollowingTree]:
    """The folders that follow `dataset` and are still there, and not links by now."""
    return [
        tree
        for tree in registered_trees(state, root)
        if tree.dataset == dataset and os.path.isdir(tree.target) and os.path.realpath(tree.target) == tree.target
    ]


def is_below(path: str, top: str) -> bool:
    """Whether `path` lies in the folder `top`; both are absolute."""
    return path.startswith(top.rstrip("/") + "/")


def _noted_trees(state: Path) -> list[FollowingTree]:
    """The folders of a repository of which this one is a copy are not ours as long as that repository is there."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        return [
            FollowingTree(str(one["target"]), str(one["dataset"]), one["where"], one.get("is_chosen") is True)
            for one in read_json(_read(state), "the record")
            if not _is_of_another(state, str(one.get("state", state)))
        ]
    return []


def _read(state: Path) -> bytes:
    with suppress(OSError):
        return (state / _REGISTER).read_bytes()
    return b"[]"


def _is_of_another(state: Path, noted: str) -> bool:
    return os.path.isdir(noted) and not os.path.samefile(noted, state)
