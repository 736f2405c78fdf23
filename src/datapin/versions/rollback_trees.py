"""Checked-out trees that follow their dataset: which there are, what was edited in one, and its files written anew."""

from __future__ import annotations

import json
import os
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datapin.base.errors import Refused, listed
from datapin.base.files import make_directory, publish_bytes
from datapin.base.id_columns import ids_from_hex
from datapin.base.progress import Progress
from datapin.store.store import Store
from datapin.versions.checkout import checkout_files, plan_checkout, written_before
from datapin.versions.checkout_state import CheckoutState
from datapin.versions.checkout_survey import Present, holds_only, survey
from datapin.versions.rollback_journal import TreeToWrite
from datapin.versions.safe_tree import SafeTree

_REGISTER = "trees.json"


@dataclass(frozen=True, slots=True)
class FollowingTree:
    """A folder into which the work tree's version of `dataset` was checked out, or its rows that match `where`."""

    target: str  # absolute
    dataset: str
    where: str | None


@dataclass(frozen=True, slots=True)
class TreeOutlook:
    """What a checkout would do: `edited` are files that it would replace or take away and that no checkout wrote."""

    edited: list[str]
    new_bytes: int
    present: Present  # what lies there


def register_tree(state: Path, target: Path, dataset: str, where: str | None, *, is_following: bool) -> None:
    """Note what was checked out into `target`; a tree of a fixed version (`is_following` False) follows nothing.

    `state` is where checkouts keep what they wrote. A note that is lost costs a `datapin checkout` by hand.
    """
    place = os.path.realpath(target)
    others = [tree for tree in _registered(state) if tree.target != place]
    trees = [*others, FollowingTree(place, dataset, where)] if is_following else others
    if trees != _registered(state):
        make_directory(state)
        publish_bytes(state / _REGISTER, json.dumps([asdict(tree) for tree in trees]).encode())


def trees_of(state: Path, dataset: str) -> list[FollowingTree]:
    """The folders that follow `dataset` and are still there."""
    return [tree for tree in _registered(state) if tree.dataset == dataset and os.path.isdir(tree.target)]


def look_at_tree(rows: pa.Table, target: Path, state: Path) -> TreeOutlook:
    """What writing the files of `rows` (key, asset_id, size) into the folder `target` would do.

    Raises Refused if something else lies in the way.
    """
    keys = rows["key"].cast(pa.string()).combine_chunks()
    with CheckoutState.hold(state, target) as known, closing(SafeTree(target)) as tree:
        present = survey(tree, known, keys, force=False)
        ids = ids_from_hex(rows["asset_id"])
        plan = plan_checkout(ids, present, written_before(known, present, ids), force=False)
        going = set(plan.removals)
        in_the_way = [
            f"{path} is {what}"
            for path, what in sorted(present.blocked.items())
            if path not in going and not (what == "a folder" and holds_only(tree, path, going))
        ]
    if in_the_way:
        what = f"{target}: {len(in_the_way)} thing(s) in the way: {listed(in_the_way, 5)}"
        raise Refused(what, "move them away and run the command again")
    return TreeOutlook(plan.edited, int(rows["size"].to_numpy()[plan.writes].sum()), present)


def write_tree(
    tree: TreeToWrite, looked: Present | None, *, store: Store, state: Path, jobs: int, progress: Progress
) -> None:
    """Make the folder hold the files of its rows; `looked` as in `checkout_files`. Raises as that."""
    rows = Path(tree.rows)
    if not rows.is_file():
        raise Refused(f"{tree.target}: the rows to write are gone", f"run `datapin checkout` into {tree.target}")
    table = pq.read_table(rows)
    checkout_files(
        table,
        Path(tree.target),
        store=store,
        state=state,
        jobs=jobs,
        progress=progress,
        force=tree.force,
        looked=looked,
    )


def _registered(state: Path) -> list[FollowingTree]:
    with suppress(OSError, ValueError, TypeError, KeyError):
        return [
            FollowingTree(str(one["target"]), str(one["dataset"]), one["where"])
            for one in json.loads((state / _REGISTER).read_bytes())
        ]
    return []
