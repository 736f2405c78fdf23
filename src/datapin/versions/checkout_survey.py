"""What lies in a checkout's target before anything is written: files of the wanted and of the recorded keys."""

from __future__ import annotations

import re
import stat
import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base.id_columns import IdMatrix
from datapin.base.stat_records import StatMatrix
from datapin.versions.checkout_state import TICK_NS, CheckoutState
from datapin.versions.safe_tree import Obstructed, SafeTree, StatRow, kind_name, stat_row

_LEFTOVER = re.compile(r"\.tmp-\d+-[0-9a-f]{16}\Z")


@dataclass(frozen=True, slots=True)
class Present:
    """Files that lie there. `rows` says which wanted row each is, -1 for one that is only recorded.

    `blocked` are paths at which something lies that a wanted file or its folder cannot replace. `is_settled` is False
    for a file that may change once more without its stats showing it.
    """

    keys: list[str]
    rows: npt.NDArray[np.int64]
    stats: StatMatrix
    ids: IdMatrix
    is_settled: npt.NDArray[np.bool_]
    blocked: dict[str, str]  # path to what it is


@dataclass(slots=True)
class _Gathering:
    keys: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    stats: list[StatRow] = field(default_factory=list)
    blocked: dict[str, str] = field(default_factory=dict)


def survey(tree: SafeTree, known: CheckoutState, wanted: pa.StringArray, *, force: bool) -> Present:
    """Look at every wanted and every recorded key; files whose stats the records do not vouch for are hashed.

    With `force`, a link or pipe in the place of a wanted file counts as nothing: the file will replace it. Temporary
    files that a cut-off checkout left are removed on the way. Raises OSError.
    """
    started_ns = time.time_ns()
    found = _Gathering()
    for folder, entries in _by_folder(known, wanted).items():
        try:
            names = tree.names(folder)
        except Obstructed as obstacle:
            found.blocked[obstacle.path] = obstacle.what
            continue
        if known.was_cut_off:
            _sweep(tree, folder, names, {name for name, _, _ in entries})
        for name, key, row in entries:
            if name in names:
                _look(tree, folder, name, key, row, found, force=force)
    return _hashed(tree, known, found, started_ns)


def holds_only(tree: SafeTree, folder: str, keys: Collection[str]) -> bool:
    """Whether every file below `folder` is one of `keys`, so that nothing is left once they are removed."""
    for name in tree.names(folder):
        path = f"{folder}/{name}"
        seen = tree.stat(folder, name)
        if seen is not None and stat.S_ISDIR(seen.st_mode):
            if not holds_only(tree, path, keys):
                return False
        elif path not in keys:
            return False
    return True


def _by_folder(known: CheckoutState, wanted: pa.StringArray) -> dict[str, list[tuple[str, str, int]]]:
    """Name, key and wanted row (or -1) of everything to look at, by folder, in the order of keys."""
    folders: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    keys = wanted.to_pylist()
    for row, key in enumerate(keys):
        folder, _, name = key.rpartition("/")
        folders[folder].append((name, key, row))
    seen = set(keys)
    for key in (*known.records.keys.to_pylist(), *known.intents.keys.to_pylist()):
        if key not in seen:
            seen.add(key)
            folder, _, name = key.rpartition("/")
            folders[folder].append((name, key, -1))
    return folders


def _look(tree: SafeTree, folder: str, name: str, key: str, row: int, found: _Gathering, *, force: bool) -> None:
    seen = tree.stat(folder, name)
    if seen is None:
        return
    if stat.S_ISREG(seen.st_mode):
        found.keys.append(key)
        found.rows.append(row)
        found.stats.append(stat_row(seen))
    elif row >= 0 and (stat.S_ISDIR(seen.st_mode) or not force):
        found.blocked[key] = kind_name(seen)


def _sweep(tree: SafeTree, folder: str, names: set[str], wanted: set[str]) -> None:
    for name in names - wanted:
        if _LEFTOVER.match(name):
            tree.remove(folder, name)


def _hashed(tree: SafeTree, known: CheckoutState, found: _Gathering, started_ns: int) -> Present:
    stats = np.array(found.stats, np.int64).reshape(-1, 4)
    is_known, ids = known.records.match(pa.array(found.keys, pa.string()), stats)
    is_settled = is_known | (stats[:, 1:3].max(axis=1, initial=0) < started_ns - TICK_NS)
    for number in np.flatnonzero(~is_known).tolist():
        folder, _, name = found.keys[number].rpartition("/")
        digest = tree.hash(folder, name)
        if digest is not None:
            ids[number] = np.frombuffer(digest, np.uint8)
    return Present(
        keys=found.keys,
        rows=np.array(found.rows, np.int64),
        stats=stats,
        ids=ids,
        is_settled=is_settled,
        blocked=found.blocked,
    )
