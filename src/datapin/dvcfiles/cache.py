"""DVC's cache, read by hash and without DVC's code; and our copy of the manifests in it that are pinned.

DVC's cache lies in the work tree and goes with it: what a commit pins is linked into Git's own folder too, laid out in
the same way, and found there when the cache has lost it.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from datapin.base.documents import read_json
from datapin.base.errors import DamagedManifest, ManifestMissing
from datapin.base.files import fsync_path, temporary_name
from datapin.base.state import state_of
from datapin.dvcfiles.hashes import FILE_MD5, FOLDER_MD5, OBJECTS, SHARD, md5_of_file, place_of
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.settings import cache_directory

_SAFE_NAME = re.compile(r"[^/\x00-\x1f]+\.parquet\Z")


class DvcCache:
    """The cache of the repository at `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ours = state_of(root).objects / OBJECTS

    def find(self, md5: str) -> Path | None:
        """The object of this hash; DVC 2 kept its objects one level higher, and `dvc` 3 still reads them."""
        for place in (*self._folders, self._ours):
            path = place / place_of(md5)
            if path.is_file():
                return path
        return None

    def keep(self, md5: str, *, is_checked: bool = False) -> None:
        """Link the manifest `md5` into our copy, if DVC's cache holds it whole: it is pinned, so it must stay.

        Its bytes must hash to their names, unless the caller `is_checked` them: nothing wrong becomes ours. What
        cannot be written is left: it is in the cache, and the next command tries again.
        """
        if (self._ours / place_of(md5)).is_file():
            return
        with suppress(OSError, DamagedManifest):
            self._link(md5, self._folders, self._ours, is_checked=is_checked)

    def give_back(self, md5: str) -> None:
        """Link what DVC's cache has lost of the manifest `md5` back into it from our copy, if that is whole."""
        with suppress(OSError, DamagedManifest):
            self._link(md5, (self._ours,), self.objects, is_checked=False)

    def _link(self, md5: str, sources: Sequence[Path], target: Path, *, is_checked: bool) -> None:
        entries = self.entries(md5)
        if entries is None:
            return
        # The list comes last: it is never there before all that it names.
        for name in (*sorted({shard for _, shard in entries}), md5):
            place = target / place_of(name)
            if place.is_file():
                continue
            path = next((one for folder in sources if (one := folder / place_of(name)).is_file()), None)
            if path is None or not (is_checked or md5_of_file(path) == name.removesuffix(".dir")):
                return
            place.parent.mkdir(parents=True, exist_ok=True)
            staged = place.parent / temporary_name()
            try:
                _link_or_copy(path, staged)
                os.replace(staged, place)
            finally:
                staged.unlink(missing_ok=True)

    @property
    def objects(self) -> Path:
        """Where DVC puts its objects."""
        return self._folders[0]

    def path_of(self, md5: str) -> Path:
        """Where an object of this hash is to be put."""
        return self.objects / place_of(md5)

    def holds_manifest(self, pointer: PinnedOut, *, in_work_tree: bool) -> bool:
        """Whether the output that `pointer` pins is a manifest, as far as this machine can tell."""
        names = self._names(pointer)
        if names is None and in_work_tree:
            with suppress(OSError):
                names = os.listdir(self._root / pointer.dataset)
        return names is not None and holds_shards(names)

    def shards(self, pointer: PinnedOut) -> list[tuple[str, Path]]:
        """Name and file of every shard. Raises ManifestMissing or DamagedManifest."""
        entries = self.entries(pointer.md5)
        if entries is None:
            raise ManifestMissing(dataset=pointer.dataset, missing=f"{pointer.md5} in DVC's cache")
        shards = []
        for name, md5 in sorted(entries):
            path = self.find(md5)
            if path is None:
                raise ManifestMissing(dataset=pointer.dataset, missing=f"{name} in DVC's cache")
            shards.append((name, path))
        return shards

    def entries(self, md5: str) -> list[tuple[str, str]] | None:
        """Name and hash of each file in the directory that DVC lists under `md5`, None if the list is not cached.

        Raises DamagedManifest.
        """
        path = self.find(check_list_hash(md5))
        return None if path is None else parse_list(path.read_bytes(), str(path))

    def is_whole(self, md5: str) -> bool:
        """Whether the list `md5` and every file that it names are cached."""
        entries = self.entries(md5)
        return entries is not None and all(self.find(name) is not None for _, name in entries)

    @cached_property
    def _folders(self) -> tuple[Path, ...]:
        cache = cache_directory(self._root)
        return cache / OBJECTS, cache

    def _names(self, pointer: PinnedOut) -> list[str] | None:
        try:
            entries = self.entries(pointer.md5)
        except DamagedManifest:
            return None
        return None if entries is None else [name for name, _ in entries]


def _link_or_copy(path: Path, staged: Path) -> None:
    try:
        os.link(path, staged)
    except OSError:  # another file system, or one without links
        shutil.copyfile(path, staged)
        staged.chmod(0o444)  # as DVC protects what its cache holds
        fsync_path(staged)


def holds_shards(names: Sequence[str]) -> bool:
    """Whether a folder with these files, and no others, is a manifest by their names."""
    return bool(names) and all(SHARD.match(name) for name in names)


def check_list_hash(md5: str) -> str:
    """`md5` itself. Raises DamagedManifest unless it is the hash of a directory as DVC writes it."""
    if not FOLDER_MD5.match(md5):
        raise DamagedManifest(md5[:80], "is not the hash of a directory, expected 32 hex digits and .dir")
    return md5


def parse_list(data: bytes, where: str) -> list[tuple[str, str]]:
    """Name and hash of each file in DVC's list of a manifest directory. Raises DamagedManifest."""
    entries = parse_output_list(data, where)
    for name, _ in entries:
        if not _SAFE_NAME.match(name):
            raise DamagedManifest(where, f"holds {name!r}, expected Parquet files only")
    return entries


def parse_output_list(data: bytes, where: str) -> list[tuple[str, str]]:
    """Name and hash of each file in DVC's list of any output folder. Raises DamagedManifest."""
    try:
        entries = [(entry["relpath"], entry["md5"]) for entry in read_json(data, where)]
    except (ValueError, TypeError, KeyError):
        raise DamagedManifest(where, "DVC's list of its files does not parse") from None
    # Names become paths in the work tree and hashes become paths in the cache: neither may say more than it must.
    for name, md5 in entries:
        is_path = isinstance(name, str) and name == posixpath.normpath(name) and "\0" not in name
        if not is_path or name.startswith(("/", "../")) or name in ("..", "."):
            raise DamagedManifest(where, f"holds the path {name!r}")
        if not isinstance(md5, str) or not FILE_MD5.match(md5):
            raise DamagedManifest(where, f"holds hash {md5!r} for {name}, expected 32 hex digits")
    return entries
