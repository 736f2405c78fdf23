"""`checkout --into`: rows of a manifest as files. Only what differs is written; edits that nobody saved are refused."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base import failpoints
from datapin.base.errors import AssetsMissing, Refused, StorageFailed, UnsavedEdits, Usage, listed
from datapin.base.id_columns import IdMatrix, arrow_numbers
from datapin.base.progress import SILENT, Progress
from datapin.store.index import IN_LOOSE_FILE
from datapin.store.store import Reader, Store
from datapin.trees.checkout.layout import BY_KEY
from datapin.trees.checkout.plan import CheckoutPlan, TreeLook, WantedFiles, look
from datapin.trees.checkout.state import Arrangement, CheckoutState, arrangement_of
from datapin.trees.checkout.survey import Present, holds_only
from datapin.trees.checkout.write import NewFiles, OldFiles, write_files
from datapin.trees.safe_tree import Obstructed, SafeTree
from datapin.trees.stat_records import StatMatrix


@dataclass(frozen=True, slots=True)
class CheckoutReport:
    """What a checkout did, in files; `bytes` were written, and `linked` files share the store's instead.

    Of the `unchanged` ones `yours` lay there before and are not ours; `left` are more of yours, in no row any more.
    """

    written: int
    removed: int
    unchanged: int
    bytes: int
    linked: int = 0
    yours: int = 0
    left: int = 0


def checkout_files(
    table: pa.Table,
    target: Path,
    *,
    store: Store,
    state: Path,
    jobs: int = 1,
    progress: Progress = SILENT,
    force: bool = False,
    adopt: bool = False,
    arrangement: Arrangement | None = None,
    looked: TreeLook | None = None,
) -> CheckoutReport:
    """Make the folder `target` hold the files of `table` (key, asset_id, size); `state` keeps what was written where.

    With links in the `arrangement` (None: as the last time), large assets of the store get a second name instead of a
    copy, and both are read-only; where that cannot be done they are copied. The caller has laid the keys out. `looked`
    is what was found for the same table just before: only what will be touched is looked at again.
    Files that an earlier checkout wrote there and that are not wanted any more are removed; other files stay, also
    those that were there before with the wanted bytes, unless `adopt` says that they are datapin's from now on. Nothing
    is written if anything is refused. Cut off, it leaves whole files only, and a second run finishes; what the records
    name is durable. Raises BadKeys, AssetsMissing, UnsavedEdits (unless `force`), Refused, StorageFailed, DamagedAsset.
    """
    wanted = looked.wanted if looked is not None else WantedFiles.of_table(table, where=str(target))
    keys, ids = wanted.keys, wanted.ids
    sizes = table["size"].to_numpy()
    arrangement = arrangement or arrangement_of(state, target)
    held = CheckoutState.hold(state, target)
    with held as known, _storage_errors(target), closing(open_tree(target, create=True)) as tree:
        if looked is None or force or known.was_cut_off or not looked.is_still(tree):
            looked = look(tree, known, wanted, force=force)
        plan = looked.plan
        _refuse(tree, target, plan, looked.present, known.arrangement)
        reader = _reader(store, keys, ids, plan.writes)
        known.arrange(arrangement)
        stats = _settled_stats(looked.present, len(keys))
        linkable = _linkable(store, ids[plan.writes], arrangement)
        is_linked = np.zeros(len(plan.writes), np.bool_)
        if len(plan.writes) or plan.removals:
            new_keys = keys.take(arrow_numbers(plan.writes))
            known.intend(new_keys, ids[plan.writes])
            failpoints.hit("checkout.intended")
            old = OldFiles(plan.removals, are_in_the_way=bool(looked.present.blocked))
            files = NewFiles(new_keys.to_pylist(), sizes[plan.writes], linkable, reader, store)
            written = write_files(tree, files, old, jobs=jobs, progress=progress)
            stats[plan.writes], is_linked = written.stats, written.is_linked
        failpoints.hit("checkout.finished")
        ours = np.ones(len(keys), np.bool_)
        if not adopt:
            ours[plan.theirs] = False
        known.save(keys, stats, ids, ours)
    yours = len(keys) - int(ours.sum())
    _tell(target, looked, yours, int(linkable.sum() - is_linked.sum()), progress)
    return _report(plan, sizes[plan.writes], is_linked, yours)


def _report(
    plan: CheckoutPlan, sizes: npt.NDArray[np.int64], is_linked: npt.NDArray[np.bool_], yours: int
) -> CheckoutReport:
    """`sizes` are those of the files that were written, `is_linked` says which of them are links."""
    return CheckoutReport(
        written=len(plan.writes),
        removed=len(plan.removals),
        unchanged=len(plan.unchanged),
        bytes=int(sizes[~is_linked].sum()),
        linked=int(is_linked.sum()),
        yours=yours,
        left=len(plan.left),
    )


def _tell(target: Path, looked: TreeLook, yours: int, copied: int, progress: Progress) -> None:
    """Say what stays the user's: equal files when they are first seen, and those that lost their row."""
    if copied:
        progress.note(f"{target}: {copied} file(s) were copied, as links into the store cannot be made there")
    present, left = looked.present, looked.plan.left
    is_new = np.isin(present.rows, looked.plan.theirs) & (present.recorded < 0)
    if yours and is_new.any():
        progress.note(
            f"{target}: {yours} file(s) were there before and stay yours: no checkout or rollback changes or removes "
            "them (--adopt: they are datapin's from now on)"
        )
    if left:
        progress.note(f"{target}: {len(left)} file(s) of yours are in no row any more and stay: {listed(left, 5)}")


def _settled_stats(present: Present, count: int) -> StatMatrix:
    """Of `count` wanted files the stats of those that lie there and may be trusted; -1: to be hashed the next time."""
    stats = np.full((count, 4), -1, np.int64)
    kept = (present.rows >= 0) & present.is_settled
    stats[present.rows[kept]] = present.stats[kept]
    return stats


def _linkable(store: Store, ids: IdMatrix, arrangement: Arrangement) -> npt.NDArray[np.bool_]:
    """Which of the assets may become links: those that are files of their own in the store."""
    if not arrangement.is_linked or not len(ids):
        return np.zeros(len(ids), np.bool_)
    is_loose: npt.NDArray[np.bool_] = store.locate(ids).pack == IN_LOOSE_FILE
    return is_loose


def _refuse(tree: SafeTree, target: Path, plan: CheckoutPlan, present: Present, arrangement: Arrangement) -> None:
    """Raises UnsavedEdits or Refused if the plan cannot be carried out as a whole."""
    if plan.edited:
        # What is added from folders of another layout would get other keys.
        ways = "move them away, or repeat with --force to give them up"
        advice = "" if arrangement.layout == BY_KEY and not plan.foreign else ways
        raise UnsavedEdits(where=str(target), names=tuple(plan.edited), advice=advice)
    going = set(plan.removals)
    in_the_way = [
        f"{path} is {what}"
        for path, what in sorted(present.blocked.items())
        if path not in going and not (what == "a folder" and holds_only(tree, path, going))
    ]
    if in_the_way:
        raise Refused(
            f"{target}: {len(in_the_way)} thing(s) in the way: {listed(in_the_way, 5)}",
            "move them away, or check out into another folder",
        )


def _reader(store: Store, keys: pa.StringArray, ids: IdMatrix, rows: npt.NDArray[np.int64]) -> Reader:
    """A reader for the rows to write. Raises AssetsMissing, by key, before anything is touched."""
    absent = rows[store.missing(ids[rows])]
    if len(absent):
        raise AssetsMissing(names=tuple(keys.take(arrow_numbers(absent[:20])).to_pylist()), count=len(absent))
    return store.reader(ids[rows])


def open_tree(target: Path, *, create: bool = False) -> SafeTree:
    """The folder `target`, an absolute path of which no part may be a link. Raises Refused, Usage, OSError."""
    try:
        return SafeTree(target, create=create)
    except Obstructed as obstacle:
        if obstacle.what == "a link":
            place = shlex.quote(os.path.realpath(target))
            problem = f"{obstacle.path} is a link, and files are written through none"
            raise Refused(f"{target}: {problem}", f"name the folder itself: --into {place}") from None
        raise Usage(f"{obstacle.path} is not a folder", "name a folder, for example --into out") from None


@contextmanager
def _storage_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except Obstructed as obstacle:
        raise Refused(
            f"{target}/{obstacle.path} became {obstacle.what} while files were written",
            "remove it and run the same command again",
        ) from None
    except OSError as error:
        raise StorageFailed("write", str(error.filename or target), error.strerror or str(error)) from None
