"""Which keys and labels the files of `add`'s sources get, where a source lies in a folder that was added before (0030).

`add photos/brick` gives the keys that `add photos` would give if the dataset came from `photos`; rows that came from
`photos/brick` before `photos` was added get theirs.
"""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import Refused, listed
from datapin.manifest.columns.columns import flags
from datapin.trees.intake.media import label_from_parent
from datapin.trees.intake.walk import FoundFiles


@dataclass(frozen=True, slots=True)
class SourceKeys:
    """The sources of one add, in the order of the user's words, and how the keys of each begin.

    `names` are as the pointer records them, `homes` the recorded folders that hold them, else themselves; `folders` are
    their paths, those of single files the folder around.
    """

    names: tuple[str, ...]
    homes: tuple[str, ...]
    prefixes: tuple[str, ...]
    folders: tuple[str, ...]
    are_files: tuple[bool, ...]

    @classmethod
    def of(cls, paths: Sequence[Path], names: Sequence[str], recorded: Sequence[str]) -> SourceKeys:
        """`names` are those of the `paths`; `recorded` are the sources that the dataset came from so far."""
        are_files = [not path.is_dir() for path in paths]
        homes = [name if name in recorded else max(_around(name, recorded), key=len, default=name) for name in names]
        prefixes = []
        for name, home, is_file in zip(names, homes, are_files, strict=True):
            below = "" if name == home else name if home == "." else name[len(home) + 1 :]
            folder = posixpath.dirname(below) if is_file else below
            prefixes.append(f"{folder}/" if folder else "")
        folders = [
            os.path.dirname(path) if is_file else str(path) for path, is_file in zip(paths, are_files, strict=True)
        ]
        return cls(tuple(names), tuple(homes), tuple(prefixes), tuple(folders), tuple(are_files))

    @property
    def is_nested(self) -> bool:
        """Whether a source lies in a recorded one."""
        return self.names != self.homes

    def keys(self, found: FoundFiles) -> pa.StringArray:
        """The keys of the rows, aligned to the files."""
        if not any(self.prefixes):
            return found.keys
        prefix = pa.array(self.prefixes, pa.string()).take(pa.array(found.root_numbers))
        return pc.binary_join_element_wise(prefix, found.keys, "")

    def labels(self, found: FoundFiles) -> pa.StringArray:
        """The folder of each file. A file right in a source has that folder's name if it has no folders of classes."""
        labels = label_from_parent(self.keys(found))
        is_deep = flags(pc.match_substring(found.keys, "/"))
        own = [
            os.path.basename(folder) if is_file or not is_deep[found.root_numbers == number].any() else None
            for number, (folder, is_file) in enumerate(zip(self.folders, self.are_files, strict=True))
        ]
        return pc.coalesce(labels, pa.array(own, pa.string()).take(pa.array(found.root_numbers)))

    def explicit(self, found: FoundFiles) -> npt.NDArray[np.bool_]:
        """Which files were named one by one."""
        result: npt.NDArray[np.bool_] = np.array(self.are_files, np.bool_)[found.root_numbers]
        return result

    def recorded(self, before: Sequence[str], *, mirror: bool) -> list[str]:
        """The sources that the dataset comes from afterwards; those in another one are left out."""
        kept = [] if mirror and not self.is_nested else before
        # A path of somebody's machine has no place in a committed file.
        every = sorted({*kept, *(home for home in self.homes if not home.startswith("/"))})
        new = set(self.homes)
        return [name for name in every if name in new or not any(home in new for home in _around(name, every))]

    def scope(self, keys: pa.Array) -> pa.Array:
        """Of these keys of the dataset those for which the sources speak: no other is gone if a mirror misses it."""
        if not self.is_nested:
            return keys
        masks = [pc.starts_with(keys, prefix) for prefix in self.prefixes]
        mask = masks[0]
        for other in masks[1:]:
            mask = pc.or_(mask, other)
        return keys.filter(mask)

    def absorbed(
        self, before: pa.Table, keys: pa.Array, assets: pa.Array, recorded: Sequence[str]
    ) -> list[tuple[str, str]]:
        """Old and new keys of rows that came from a folder in one of the sources, if their files are the same."""
        pairs: list[tuple[str, str]] = []
        for name in recorded:
            for home in _around(name, self.names):
                old = before.filter(pc.invert(pc.is_in(before["key"], value_set=keys)))
                below = name if home == "." else name[len(home) + 1 :]
                new = pc.binary_join_element_wise(pa.scalar(f"{below}/"), old["key"].combine_chunks(), "")
                place = pc.index_in(new, value_set=keys)
                is_same = pc.equal(assets.take(place), old["asset_id"].combine_chunks())
                is_free = pc.invert(pc.is_in(new, value_set=before["key"]))
                mask = pc.fill_null(pc.and_(is_same, is_free), False)
                pairs += zip(old["key"].filter(mask).to_pylist(), new.filter(mask).to_pylist(), strict=True)
        return pairs

    def refuse_taken(
        self, root: Path, dataset: str, before: pa.Table, keys: pa.Array, assets: pa.Array, recorded: Sequence[str]
    ) -> None:
        """Raises Refused if a row would change whose file lies in another of the recorded sources."""
        others = [
            name
            for name in recorded
            if name not in self.homes and not _around(name, self.homes) and (root / name).is_dir()
        ]
        if not others:
            return
        place = pc.index_in(keys, value_set=before["key"])
        changed = pc.fill_null(pc.not_equal(before["asset_id"].combine_chunks().take(place), assets), False)
        for other in others:
            taken = [key for key in keys.filter(changed).to_pylist() if os.path.lexists(root / other / key)]
            if taken:
                shared = posixpath.commonpath([other, self.names[0]]) if not self.names[0].startswith("/") else ""
                way = f"datapin add {shlex.quote(shared or '.')} --to {shlex.quote(dataset)}"
                what = f"{len(taken)} key(s) of {listed(self.names, 2)} are rows of other files, in {other}"
                raise Refused(
                    f"{what}: {listed(taken, 5)}",
                    f"add the folder around both, whose keys differ: `{way}`" if shared else "rename the files",
                )


def _around(name: str, folders: Sequence[str]) -> list[str]:
    """Those of the `folders` that hold `name`, all of them relative to the root."""
    inside = not name.startswith("/")
    return [one for one in folders if one != name and (name.startswith(f"{one}/") or (one == "." and inside))]
