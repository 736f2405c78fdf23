"""A file that lies in another folder than at the last `add` is one change: its row gets the new key, keeps the rest.

Which rows those are is told by their assets; a copy is none, nor a file of another source, nor one of several equal
ones if nothing says which (0030).
"""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import listed
from datapin.base.findings import Finding
from datapin.manifest.manifest import Manifest
from datapin.trees.intake.media import label_from_parent, split_from_first_folder

_BY_FOLDER = {"label": label_from_parent, "split": split_from_first_folder}
_OF_THE_FILE = ("key", "asset_id", "size", "media_type")


@dataclass(frozen=True, slots=True)
class Moves:
    """Old and new keys of rows whose file moved, aligned."""

    old: pa.StringArray
    new: pa.StringArray

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]]) -> Moves:
        """From pairs of an old and a new key."""
        return cls(pa.array([old for old, _ in pairs], pa.string()), pa.array([new for _, new in pairs], pa.string()))

    def __len__(self) -> int:
        return len(self.old)

    def findings(self, dataset: str) -> list[Finding]:
        """What the user is told."""
        if not len(self):
            return []
        pairs = zip(self.old[:20].to_pylist(), self.new[:20].to_pylist(), strict=True)
        names = listed([f"{old} -> {new}" for old, new in pairs], 3)
        return [Finding("note", "keys", dataset, f"{len(self)} row(s) moved with their files: {names}")]

    def carry(self, table: pa.Table, previous: Manifest) -> pa.Table:
        """The rows to put, with what the moved ones had: all columns, but a label or split that was their folder's."""
        before = previous.to_table()
        place = pc.index_in(table["key"].combine_chunks(), value_set=self.new)
        is_moved = pc.is_valid(place)
        source = pc.if_else(is_moved, self.old.take(place), table["key"].combine_chunks())
        rows = pc.index_in(source, value_set=before["key"])
        for name in before.column_names:
            if name in _OF_THE_FILE:
                continue
            had = before[name].combine_chunks().take(rows)
            if name not in table.column_names:
                table = table.append_column(before.schema.field(name), had)
                continue
            now = table[name].combine_chunks()
            if name in _BY_FOLDER and pa.types.is_string(had.type):
                was_set = pc.fill_null(pc.not_equal(had, pc.fill_null(_BY_FOLDER[name](source), "")), False)
                keep = pc.and_(is_moved, pc.or_(was_set, pc.is_null(now)))
            else:
                keep = pc.and_(is_moved, pc.is_null(now))
            table = table.set_column(table.column_names.index(name), name, pc.if_else(keep, had.cast(now.type), now))
        return table


def find_moves(
    before: pa.Table, keys: pa.Array, assets: pa.Array, are_gone: Callable[[list[str]], list[bool]]
) -> list[tuple[str, str]]:
    """Old and new keys. `before` are rows (key, asset_id), `keys` and `assets` those of the files that are there.

    `are_gone` says of keys that no file has any more whether their files were among these, so that they are gone.
    """
    is_new = pc.invert(pc.is_in(keys, value_set=before["key"]))
    new_keys, new_assets = keys.filter(is_new), assets.filter(is_new)
    lost = before.filter(pc.invert(pc.is_in(before["key"], value_set=keys)))
    lost = lost.filter(pc.is_in(lost["asset_id"], value_set=new_assets))
    if not lost.num_rows:
        return []
    gone: dict[str, list[str]] = defaultdict(list)
    names = lost["key"].to_pylist()
    for key, asset, is_gone in zip(names, lost["asset_id"].to_pylist(), are_gone(names), strict=True):
        if is_gone:
            gone[asset].append(key)
    come: dict[str, list[str]] = defaultdict(list)
    for key, asset in zip(new_keys.to_pylist(), new_assets.to_pylist(), strict=True):
        if asset in gone:
            come[asset].append(key)
    return [pair for asset, old in gone.items() for pair in _paired(sorted(old), sorted(come[asset]))]


def _paired(old: list[str], new: list[str]) -> list[tuple[str, str]]:
    """Files of equal bytes: by their names where these tell, the rest only if as many went as came."""
    pairs = []
    for name in sorted({posixpath.basename(key) for key in old}):
        went = [key for key in old if posixpath.basename(key) == name]
        came = [key for key in new if posixpath.basename(key) == name]
        if len(went) == len(came) == 1:
            pairs.append((went[0], came[0]))
    left = [key for key in old if key not in {one for one, _ in pairs}]
    right = [key for key in new if key not in {one for _, one in pairs}]
    return pairs + (list(zip(left, right, strict=True)) if len(left) == len(right) else [])


def gone_from(root: Path, recorded: Sequence[str], known: pa.Array | None) -> Callable[[list[str]], list[bool]]:
    """Whether files of these keys lay in the sources that are being added.

    By the keys `known` from the last add of the same sources here; in a clone, if the dataset came from folders that
    are all here, and none of them has the file.
    """

    def by_last_add(keys: list[str]) -> list[bool]:
        result: list[bool] = pc.is_in(pa.array(keys, pa.string()), value_set=known).to_pylist()
        return result

    def by_folders(keys: list[str]) -> list[bool]:
        folders = [root / name for name in recorded]
        if not folders or not all(folder.is_dir() for folder in folders):
            return [False] * len(keys)
        return [not any(os.path.lexists(folder / key) for folder in folders) for key in keys]

    return by_folders if known is None else by_last_add
