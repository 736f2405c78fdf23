"""Which manifest each folder of the work tree holds, by the hash that DVC would give it; hashed only if a stat changed.

No import of Arrow: Git's hooks ask this at every checkout.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from datapin.base.documents import keep_sealed, read_sealed
from datapin.base.errors import DamagedManifest
from datapin.base.state import cache_of
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.hashes import SHARD, list_hash, md5_of_file

NO_MANIFEST = ""  # a folder that holds something else

_TICK_NS = 50_000_000  # kernels stamp files with a clock that moves every 1 to 10 ms

_Stats = list[list[int]]


class HeldManifests:
    """The folders of the repository at `root`; what was found out is kept in the file `note`."""

    def __init__(self, root: Path, note: Path) -> None:
        self._root = root
        self._note = note
        self._known: dict[str, tuple[str, _Stats]] = {}
        self._matched: dict[str, str] = {}
        self._is_new = False
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            said = read_sealed(note)
            self._known = {name: (str(one["md5"]), one["stats"]) for name, one in said["held"].items()}
            self._matched = {str(name): str(md5) for name, md5 in said["matched"].items()}

    def find(self, dataset: str) -> str | None:
        """The `.dir` hash of the folder `dataset`, NO_MANIFEST if it is none, None if there is nothing."""
        files = _files(self._root / dataset)
        if not files:
            return None
        if "" in files:
            return NO_MANIFEST
        now = time.time_ns()
        stats = [[one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino] for one in files.values()]
        md5, known = self._known.get(dataset, (NO_MANIFEST, None))
        if known == stats:
            return md5
        md5 = list_hash({name: md5_of_file(self._root / dataset / name) for name in files})
        # A file that was written just now may be written again without another time stamp.
        if all(one[1] < now - _TICK_NS and one[2] < now - _TICK_NS for one in stats):
            self._known[dataset] = (md5, stats)
            self._is_new = True
        return md5

    def was_at(self, dataset: str) -> str | None:
        """The pinned version that the folder held when it last held a pinned one."""
        return self._matched.get(dataset)

    def is_at(self, dataset: str, md5: str) -> None:
        """Note that the folder holds the version that its pointer pins."""
        if self._matched.get(dataset) != md5:
            self._matched[dataset] = md5
            self._is_new = True

    def save(self) -> None:
        """Keep what was found out; what cannot be kept only costs time."""
        if not self._is_new:
            return
        known = {name: {"md5": md5, "stats": stats} for name, (md5, stats) in self._known.items()}
        keep_sealed(self._note, {"held": known, "matched": self._matched})


def held_manifests(root: Path) -> HeldManifests:
    """The folders of the work tree at `root`, as verbs and hooks have noted them."""
    return HeldManifests(root, cache_of(root) / "follow" / "held.json")


def _files(folder: Path) -> Mapping[str, os.stat_result] | None:
    """The shards in name order; one named "" if anything else is there; None if there is no folder, or an empty one."""
    files = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat()
                if not SHARD.match(entry.name) or not stat.S_ISREG(status.st_mode):
                    return {"": status}
                files[entry.name] = status
    except FileNotFoundError:
        return {"": os.lstat(folder)} if os.path.lexists(folder) else None
    except NotADirectoryError:
        return {"": folder.stat()}
    return dict(sorted(files.items())) or None


def is_saved(cache: DvcCache, md5: str | None) -> bool:
    """Whether nothing is lost if a folder with this hash goes: DVC's cache holds all of it, or there is none."""
    if md5 is None:
        return True
    try:
        return md5 != NO_MANIFEST and cache.is_whole(md5)
    except DamagedManifest:
        return False
