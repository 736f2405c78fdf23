"""Checked-out trees that follow their dataset: what was edited in one, and its files written anew."""

from __future__ import annotations

import os
import posixpath
import shlex
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from datapin.base.errors import Refused, listed
from datapin.base.id_columns import arrow_numbers
from datapin.base.progress import Progress
from datapin.rollback.journal import TreeToWrite, refuse_unwritable
from datapin.store.store import Store
from datapin.trees.checkout.checkout import checkout_files, open_tree
from datapin.trees.checkout.plan import TreeLook, WantedFiles, look
from datapin.trees.checkout.state import CheckoutState
from datapin.trees.checkout.survey import holds_only


@dataclass(frozen=True, slots=True)
class TreeOutlook:
    """A tree and the files of `rows` (key, asset_id, size) that it will hold; `new_bytes` of them are to be written."""

    target: Path
    rows: pa.Table
    look: TreeLook
    new_bytes: int

    @property
    def edited(self) -> list[str]:
        """Files that a checkout would replace or take away and that no checkout wrote."""
        return self.look.plan.edited

    def about_edited(self, seen_from: Path, dataset: str) -> str:
        """What is to be known of them, and for those that no checkout wrote how they are handed over."""
        foreign = self.look.plan.foreign
        edited = [name for name in self.edited if name not in set(foreign)]
        parts = [f"edited: {listed(edited, 5)}"] if edited else []
        if foreign:
            into = shlex.quote(os.path.relpath(self.target, seen_from))
            way = f"`datapin checkout {shlex.quote(dataset)} --into {into} --adopt` makes equal files datapin's own"
            parts.append(f"not written by datapin: {listed(foreign, 5)} ({way})")
        return ", ".join(parts)


def look_at_tree(rows: pa.Table, target: Path, state: Path) -> TreeOutlook:
    """What writing the files of `rows` into the folder `target` would do.

    Raises Refused if something else lies in the way, StorageFailed if a folder is not ours to write, BadKeys, BadRows.
    """
    wanted = WantedFiles.of_table(rows, where=str(target))
    with CheckoutState.hold(state, target) as known, closing(open_tree(target)) as tree:
        looked = look(tree, known, wanted, force=False)
        going = set(looked.plan.removals)
        in_the_way = [
            f"{path} is {what}"
            for path, what in sorted(looked.present.blocked.items())
            if path not in going and not (what == "a folder" and holds_only(tree, path, going))
        ]
    if in_the_way:
        what = f"{target}: {len(in_the_way)} thing(s) in the way: {listed(in_the_way, 5)}"
        raise Refused(what, "move them away and run the command again")
    changing = chain(wanted.keys.take(arrow_numbers(looked.plan.writes)).to_pylist(), looked.plan.removals)
    refuse_unwritable(sorted({os.path.join(target, posixpath.dirname(key)) for key in changing}))
    return TreeOutlook(target, rows, looked, int(rows["size"].to_numpy()[looked.plan.writes].sum()))


def write_tree(
    tree: TreeToWrite, outlook: TreeOutlook | None, *, store: Store, state: Path, jobs: int, progress: Progress
) -> None:
    """Make the folder hold the files of its rows, which are those of the `outlook` if there is one.

    Raises as checkout_files.
    """
    if outlook is not None:
        table, looked = outlook.rows, outlook.look
    else:
        table, looked = _rows_of(tree), None
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


def _rows_of(tree: TreeToWrite) -> pa.Table:
    try:
        with pa.OSFile(tree.rows) as file:
            return pa.ipc.open_file(file).read_all()
    except (OSError, pa.ArrowInvalid):
        what = f"{tree.target}: the rows to write are gone, or cannot be read"
        raise Refused(what, f"run `datapin checkout` into {tree.target}") from None
