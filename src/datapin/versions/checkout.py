"""`checkout --into`: rows of a manifest as files. Only what differs is written; edits that nobody saved are refused."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base import failpoints
from datapin.base.errors import AssetsMissing, BadRows, Refused, StorageFailed, UnsavedEdits, Usage, listed
from datapin.base.files import make_directory
from datapin.base.id_columns import IdMatrix, ids_from_hex
from datapin.base.progress import SILENT, Progress
from datapin.base.stat_records import StatMatrix
from datapin.manifest.keys import check_keys
from datapin.store.index import IN_LOOSE_FILE
from datapin.store.store import Reader, Store
from datapin.versions.checkout_layout import BY_KEY
from datapin.versions.checkout_state import Arrangement, CheckoutState, arrangement_of
from datapin.versions.checkout_survey import Present, holds_only, survey
from datapin.versions.checkout_write import NewFiles, write_files
from datapin.versions.safe_tree import Obstructed, SafeTree, stat_row


@dataclass(frozen=True, slots=True)
class CheckoutReport:
    """What a checkout did, in files; `bytes` were written, and `linked` files share the store's instead."""

    written: int
    removed: int
    unchanged: int
    bytes: int
    linked: int = 0


@dataclass(frozen=True, slots=True)
class CheckoutPlan:
    """What a checkout will do. `writes` and `unchanged` are wanted rows, `removals` and `edited` are keys."""

    writes: npt.NDArray[np.int64]
    unchanged: npt.NDArray[np.int64]
    removals: list[str]
    edited: list[str]


def plan_checkout(wanted_ids: IdMatrix, present: Present, ours: Set[tuple[str, bytes]], *, force: bool) -> CheckoutPlan:
    """What to write, to leave, to remove and to refuse; pure.

    `ours` holds (key, raw id) of what earlier checkouts wrote. A file that is neither wanted as it is nor ours as it is
    was edited. With `force` an edited file is overwritten if its key is wanted, and left to the user if not.
    """
    is_wanted = present.rows >= 0
    same = _same(wanted_ids, present)
    to_write = np.ones(len(wanted_ids), np.bool_)
    to_write[present.rows[same]] = False
    removals, edited = [], []
    others = np.flatnonzero(~same)
    for number, key in zip(others.tolist(), present.keys.take(pa.array(others)).to_pylist(), strict=True):
        if (key, present.ids[number].tobytes()) in ours:
            if not is_wanted[number]:
                removals.append(key)
        elif not force:
            edited.append(key)
    return CheckoutPlan(np.flatnonzero(to_write), np.flatnonzero(~to_write), removals, sorted(edited))


def checkout_files(
    table: pa.Table,
    target: Path,
    *,
    store: Store,
    state: Path,
    jobs: int = 1,
    progress: Progress = SILENT,
    force: bool = False,
    arrangement: Arrangement | None = None,
    looked: Present | None = None,
) -> CheckoutReport:
    """Make the folder `target` hold the files of `table` (key, asset_id, size); `state` keeps what was written where.

    With links in the `arrangement` (None: as the last time), large assets of the store get a second name instead of a
    copy, and both are read-only; where that cannot be done they are copied. The caller has laid the keys out. `looked`
    is what a survey for the same table found just before: only what will be touched is looked at again.
    Files that an earlier checkout wrote there and that are not wanted any more are removed; other files stay. Nothing
    is written if anything is refused. Cut off, it leaves whole files only, and a second run finishes. Files are not
    fsynced: they can be written again. Raises BadKeys, AssetsMissing, UnsavedEdits (unless `force`), Refused,
    StorageFailed, DamagedAsset.
    """
    keys = _checked_keys(table, str(target))
    ids = ids_from_hex(table["asset_id"])
    sizes = table["size"].to_numpy()
    if target.exists() and not target.is_dir():
        raise Usage(f"{target} is not a folder", "name a folder, for example --into out")
    arrangement = arrangement or arrangement_of(state, target)
    with _storage_errors(target):
        make_directory(target)
    with CheckoutState.hold(state, target) as known, _storage_errors(target), closing(SafeTree(target)) as tree:
        is_fresh = looked is not None and not force and not known.was_cut_off and _is_still(tree, looked, keys, ids)
        present = looked if looked is not None and is_fresh else survey(tree, known, keys, force=force)
        plan = plan_checkout(ids, present, written_before(known, present, ids), force=force)
        _refuse(tree, target, plan, present, known.arrangement)
        reader = _reader(store, keys, ids, plan.writes)
        known.arrange(arrangement)
        stats = _settled_stats(present, len(keys))
        linkable = _linkable(store, ids[plan.writes], arrangement)
        is_linked = np.zeros(len(plan.writes), np.bool_)
        if len(plan.writes) or plan.removals:
            new_keys = keys.take(pa.array(plan.writes))
            known.intend(new_keys, ids[plan.writes])
            failpoints.hit("checkout.intended")
            _remove(tree, plan.removals)
            files = NewFiles(new_keys.to_pylist(), sizes[plan.writes], linkable, reader, store)
            written = write_files(tree, files, jobs=jobs, progress=progress)
            stats[plan.writes], is_linked = written.stats, written.is_linked
        failpoints.hit("checkout.finished")
        known.save(keys, stats, ids)
    copied = int(linkable.sum() - is_linked.sum())
    if copied:
        progress.note(f"{target}: {copied} file(s) were copied, as links into the store cannot be made there")
    return CheckoutReport(
        written=len(plan.writes),
        removed=len(plan.removals),
        unchanged=len(plan.unchanged),
        bytes=int(sizes[plan.writes][~is_linked].sum()),
        linked=int(is_linked.sum()),
    )


def _checked_keys(table: pa.Table, where: str) -> pa.StringArray:
    """The keys, checked again: they come from a file that anybody may have written."""
    keys = table["key"].cast(pa.string()).combine_chunks()
    check_keys(keys, where=where)
    is_ascending = pc.all(pc.less(keys.slice(0, max(len(keys) - 1, 0)), keys.slice(1))).as_py()
    if not is_ascending and len(keys.unique()) != len(keys):
        raise BadRows(where, "a key appears more than once")
    folders: set[str] = set()
    parts = pc.split_pattern(keys, "/", max_splits=1, reverse=True)
    is_below = pa.array(np.diff(parts.offsets.to_numpy()) > 1)
    for folder in pc.list_element(parts.filter(is_below), 0).unique().to_pylist():
        while folder and folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    both = keys.filter(pc.is_in(keys, value_set=pa.array(sorted(folders), pa.string()))).to_pylist()
    if both:
        raise BadRows(where, f"{len(both)} key(s) are both a file and a folder: {listed(both, 5)}")
    return keys


def written_before(known: CheckoutState, present: Present, wanted_ids: IdMatrix) -> set[tuple[str, bytes]]:
    """Key and raw id of all that earlier checkouts wrote, or were about to, among the files that are not as wanted."""
    keys = present.keys.filter(pa.array(~_same(wanted_ids, present)))
    pairs: set[tuple[str, bytes]] = set()
    for records in (known.records, known.intents):
        rows = np.flatnonzero(pc.is_in(records.keys, value_set=keys).to_numpy(zero_copy_only=False))
        names = records.keys.take(pa.array(rows)).to_pylist()
        pairs.update((name, records.ids[row].tobytes()) for name, row in zip(names, rows, strict=True))
    return pairs


def _same(wanted_ids: IdMatrix, present: Present) -> npt.NDArray[np.bool_]:
    """Which of the files that lie there are wanted as they are."""
    is_wanted: npt.NDArray[np.bool_] = present.rows >= 0
    if not len(wanted_ids):
        return is_wanted
    same: npt.NDArray[np.bool_] = (present.ids == wanted_ids[np.where(is_wanted, present.rows, 0)]).all(axis=1)
    return is_wanted & same


def _settled_stats(present: Present, count: int) -> StatMatrix:
    """Of `count` wanted files the stats of those that lie there and may be trusted; -1: to be hashed the next time."""
    stats = np.full((count, 4), -1, np.int64)
    kept = (present.rows >= 0) & present.is_settled
    stats[present.rows[kept]] = present.stats[kept]
    return stats


def _is_still(tree: SafeTree, looked: Present, keys: pa.StringArray, ids: IdMatrix) -> bool:
    """Whether what the checkout will touch is as it was when it was `looked` at."""
    others = np.flatnonzero(~_same(ids, looked))
    touched = zip(looked.keys.take(pa.array(others)).to_pylist(), looked.stats[others].tolist(), strict=True)
    is_new = np.ones(len(keys), np.bool_)
    is_new[looked.rows[looked.rows >= 0]] = False
    expected = [
        *((key, tuple(row)) for key, row in touched),
        *((key, None) for key in keys.filter(pa.array(is_new)).to_pylist()),
    ]
    try:
        for key, stats in expected:
            folder, _, name = key.rpartition("/")
            seen = tree.stat(folder, name)
            if (None if seen is None else stat_row(seen)) != stats:
                return False
    except Obstructed:
        return False
    return True


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
        advice = "" if arrangement.layout == BY_KEY else "move them away, or repeat with --force to give them up"
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
        raise AssetsMissing(names=tuple(keys.take(pa.array(absent[:20])).to_pylist()), count=len(absent))
    return store.reader(ids[rows])


def _remove(tree: SafeTree, keys: Sequence[str]) -> None:
    """Remove files, and the folders that are empty then."""
    folders: set[str] = set()
    for key in keys:
        folder, _, name = key.rpartition("/")
        tree.remove(folder, name)
        failpoints.hit("checkout.file.removed")
        folders.add(folder)
    for folder in sorted(folders, reverse=True):
        while folder and tree.remove_if_empty(folder):
            folder = posixpath.dirname(folder)


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
