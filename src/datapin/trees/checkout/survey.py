"""What lies in a checkout's target before anything is written: files of the wanted and of the recorded keys."""

from __future__ import annotations

import os
import re
import stat
import struct
import time
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.id_columns import IdMatrix, arrow_numbers, numbers
from datapin.manifest.columns.columns import arrow_flags
from datapin.trees.checkout.state import CheckoutState
from datapin.trees.forks import child, core_count
from datapin.trees.safe_tree import Obstructed, SafeTree, kind_name
from datapin.trees.stat_records import TICK_NS, StatMatrix

_Places = npt.NDArray[np.int64]

_COUNT = struct.Struct("=q")
_STATS = 4  # numbers for each file
_SHARED_FROM = 20_000  # keys: of fewer, a child takes longer to start than it saves
_FEW = 16  # one name in so many: to look for it takes less than to list what lies around it
_LEFTOVER = re.compile(r"\.tmp-\d+-[0-9a-f]{16}\Z")


@dataclass(frozen=True, slots=True)
class Present:
    """Files that lie there. `rows` says which wanted row each is, -1 for one that is only recorded; `recorded` is the
    number of its record, -1 if it has none.

    `blocked` are paths at which something lies that a wanted file or its folder cannot replace. `is_settled` is False
    for a file that may change once more without its stats showing it.
    """

    keys: pa.StringArray
    rows: npt.NDArray[np.int64]
    recorded: npt.NDArray[np.int64]
    stats: StatMatrix
    ids: IdMatrix
    is_settled: npt.NDArray[np.bool_]
    blocked: dict[str, str]  # path to what it is


@dataclass(slots=True)
class _Gathering:
    places: array[int] = field(default_factory=lambda: array("q"))  # of files, in all keys that were looked for
    stats: array[int] = field(default_factory=lambda: array("q"))  # four numbers for each
    others: list[tuple[int, os.stat_result]] = field(default_factory=list)  # what is no file
    blocked: dict[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The files alone, to travel between processes."""
        return b"".join([_COUNT.pack(len(self.places)), self.places.tobytes(), self.stats.tobytes()])

    @classmethod
    def decode(cls, data: bytes) -> _Gathering | None:
        """The files in `data`, None if it is not whole."""
        count = _COUNT.unpack_from(data)[0] if len(data) >= _COUNT.size else -1
        if len(data) != _COUNT.size * (1 + count * (1 + _STATS)):
            return None
        end = _COUNT.size * (1 + count)
        return cls(array("q", data[_COUNT.size : end]), array("q", data[end:]))


@dataclass(frozen=True, slots=True)
class _Folder:
    """Names to look for in one folder; `places` are those of their keys."""

    path: str
    names: list[str]
    places: list[int]


def survey(tree: SafeTree, known: CheckoutState, wanted: pa.StringArray, *, force: bool) -> Present:
    """Look at every wanted and every recorded key; files whose stats the records do not vouch for are hashed.

    With `force`, a link or pipe in the place of a wanted file counts as nothing: the file will replace it. Temporary
    files that a cut-off checkout left are removed on the way. Raises OSError.
    """
    started_ns = time.time_ns()
    keys, position = _keys_to_look_for(known, wanted)
    are_new_few = int((position < 0).sum()) * _FEW < len(keys)
    found = _gather(tree, keys, is_swept=known.was_cut_off, are_new_few=are_new_few)
    for place, seen in found.others:
        if place < len(wanted) and (stat.S_ISDIR(seen.st_mode) or not force):
            found.blocked[keys[place].as_py()] = kind_name(seen)
    places = np.array(found.places, np.int64)
    stats = np.array(found.stats, np.int64).reshape(-1, _STATS)
    is_known, ids = known.records.match_at(position[places], stats)
    keys = keys.take(arrow_numbers(places))
    _hash(tree, keys, np.flatnonzero(~is_known), ids)
    return Present(
        keys=keys,
        rows=np.where(places < len(wanted), places, -1),
        recorded=position[places],
        stats=stats,
        ids=ids,
        is_settled=is_known | (stats[:, 1:3].max(axis=1, initial=0) < started_ns - TICK_NS),
        blocked=found.blocked,
    )


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


def _keys_to_look_for(known: CheckoutState, wanted: pa.StringArray) -> tuple[pa.StringArray, _Places]:
    """The wanted keys, then others that earlier checkouts wrote or were about to; the number of each one's record."""
    position = known.records.positions(wanted)
    is_other = np.ones(len(known.records), np.bool_)
    is_other[position[position >= 0]] = False
    others = np.flatnonzero(is_other)
    parts = [wanted, known.records.keys.take(arrow_numbers(others))]
    if known.was_cut_off:
        seen = pa.concat_arrays(parts)
        intents = known.intents.keys
        parts.append(intents.filter(pc.invert(pc.is_in(intents, value_set=seen))).unique())
    keys = pa.concat_arrays(parts)
    unrecorded = len(keys) - len(wanted) - len(others)
    return keys, np.concatenate([position, others, np.full(unrecorded, -1, np.int64)])


def _by_folder(keys: pa.StringArray) -> Iterator[_Folder]:
    """Everything to look at by folder, in the order of keys."""
    if not len(keys):
        return
    parts = pc.split_pattern(keys, "/", max_splits=1, reverse=True)
    ends = numbers(parts.offsets)
    names = parts.values.take(arrow_numbers(ends[1:] - 1))
    is_below = arrow_flags(np.diff(ends) > 1)
    folders = pc.if_else(is_below, parts.values.take(arrow_numbers(ends[:-1])), "").dictionary_encode()
    codes = numbers(folders.indices)
    order = np.argsort(codes, kind="stable")
    cuts = np.cumsum(np.bincount(codes, minlength=len(folders.dictionary))).tolist()
    sorted_names, places = names.take(arrow_numbers(order)).to_pylist(), order.tolist()
    for path, first, last in zip(folders.dictionary.to_pylist(), [0, *cuts[:-1]], cuts, strict=True):
        yield _Folder(path, sorted_names[first:last], places[first:last])


def _gather(tree: SafeTree, keys: pa.StringArray, *, is_swept: bool, are_new_few: bool) -> _Gathering:
    """Look at the keys: leftovers are swept after a crash, folders not listed if hardly a name will be missing."""
    folders = list(_by_folder(keys))
    look = partial(_look, tree, is_swept=is_swept, are_new_few=are_new_few)
    if is_swept or len(keys) < _SHARED_FROM or core_count() == 1:
        return look(folders)
    half = int(np.searchsorted(np.cumsum([len(folder.names) for folder in folders]), len(keys) // 2)) + 1
    with child(partial(_looked, tree, folders[half:], are_new_few=are_new_few)) as answer:
        found = look(folders[:half])
        theirs = _Gathering.decode(answer()) or look(folders[half:])
    found.places.extend(theirs.places)
    found.stats.extend(theirs.stats)
    found.others += theirs.others
    found.blocked |= theirs.blocked
    return found


def _looked(tree: SafeTree, folders: Sequence[_Folder], *, are_new_few: bool) -> bytes:
    """What a child answers: nothing if it met more than files, which its parent must see for itself."""
    mounted = len(tree.mounted)
    found = _look(tree, folders, is_swept=False, are_new_few=are_new_few)
    return b"" if found.others or found.blocked or len(tree.mounted) > mounted else found.encode()


def _look(tree: SafeTree, folders: Sequence[_Folder], *, is_swept: bool, are_new_few: bool) -> _Gathering:
    found = _Gathering()
    for folder in folders:
        names, places = folder.names, folder.places
        try:
            if is_swept or not are_new_few:
                there = tree.names(folder.path)
                for name in there.difference(names) if is_swept else ():
                    if _LEFTOVER.match(name):
                        tree.remove(folder.path, name)
                if not there.issuperset(names):
                    pairs = [(name, place) for name, place in zip(names, places, strict=True) if name in there]
                    names, places = [name for name, _ in pairs], [place for _, place in pairs]
            files, stats, others = tree.file_stats(folder.path, names, places)
        except Obstructed as obstacle:
            found.blocked[obstacle.path] = obstacle.what
            continue
        found.places.extend(files)
        found.stats.extend(stats)
        found.others += others
    return found


def _hash(tree: SafeTree, keys: pa.StringArray, places: _Places, ids: IdMatrix) -> None:
    """Put the ids of these files into `ids`."""
    for number, key in zip(places.tolist(), keys.take(arrow_numbers(places)).to_pylist(), strict=True):
        folder, _, name = key.rpartition("/")
        digest = tree.hash(folder, name)
        if digest is not None:
            ids[number] = np.frombuffer(digest, np.uint8)
