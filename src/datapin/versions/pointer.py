"""Pointers in the work tree and at any revision: which datasets there are, and the shards that each version pins.

Reading goes by the text of `.dvc` files and `dvc.lock` and by DVC's cache, in milliseconds and without DVC's code. A
source dataset is a `.dvc` file that carries our summary; a derived one, or one pinned by a plain `dvc add`, is known by
what its output holds: `part-*.parquet` and nothing else.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from datapin.base.errors import DamagedManifest, ManifestMissing, UnknownVersion
from datapin.base.files import make_directory, temporary_name
from datapin.versions.dvc_settings import cache_directory, default_remote, remote_names
from datapin.versions.git import blob_at, files_named
from datapin.versions.pointer_file import Pointer, has_summary, read_lock, read_pointer, stage_outputs
from datapin.versions.tracking import track

__all__ = [
    "Pointer",
    "cache_directory",
    "default_remote",
    "find_datasets",
    "find_pointers",
    "is_stage_output",
    "manifest_shards_at",
    "materialise",
    "read_dataset_pointer",
    "remote_names",
    "track",
]

_SHARD = re.compile(r"part-\d{5,}\.parquet\Z")
_SAFE_NAME = re.compile(r"[^/\x00-\x1f]+\.parquet\Z")
_MD5 = re.compile(r"[0-9a-f]{32}\Z")


def find_datasets(root: Path) -> list[str]:
    """Every dataset of the work tree, sorted; also those whose manifest is not on this machine."""
    return sorted({pointer.dataset for pointer in find_pointers(root)})


def find_pointers(root: Path, rev: str | None = None) -> list[Pointer]:
    """The pointers of all datasets in the work tree, or in the revision `rev`, sorted by dataset."""
    cache = _Cache(root)
    found = []
    for file in files_named(root, "*.dvc", "dvc.lock", rev=rev):
        name = posixpath.basename(file)
        is_pointer = name == "dvc.lock" or (name.endswith(".dvc") and name != ".dvc")
        text = _text(root, file, rev) if is_pointer else None
        if text is None:
            continue
        if name == "dvc.lock":
            pointers = read_lock(text, file, _working_folders(root, file, rev))
        else:
            pointers = read_pointer(text, file) if has_summary(text) or b".dir" in text else []
        ours = name != "dvc.lock" and has_summary(text)
        found += [pointer for pointer in pointers if ours or cache.holds_manifest(pointer, rev)]
    return sorted(found, key=lambda pointer: pointer.dataset)


def read_dataset_pointer(root: Path, dataset: str, *, rev: str | None = None) -> Pointer | None:
    """The pointer of `dataset` in the work tree, or in revision `rev`; None if nothing pins it.

    Raises UnknownVersion if there is no such revision, Refused or BadSettings if the pointer cannot be read.
    """
    file = f"{dataset}.dvc"
    text = _text(root, file, rev)
    if text is not None:
        for pointer in read_pointer(text, file):
            if pointer.dataset == dataset:
                return pointer
    for lock_file in files_named(root, "dvc.lock", rev=rev):
        if posixpath.basename(lock_file) != "dvc.lock":
            continue
        text = _text(root, lock_file, rev)
        # The last part of the path stands in the text as it is; most lock files are thus passed over unparsed.
        if text is None or posixpath.basename(dataset).encode() not in text:
            continue
        for pointer in read_lock(text, lock_file, _working_folders(root, lock_file, rev)):
            if pointer.dataset == dataset:
                return pointer
    return None


def is_stage_output(root: Path, dataset: str) -> bool:
    """Whether a stage of the work tree's pipelines writes `dataset`, run or not run yet."""
    if (root / f"{dataset}.dvc").is_file():
        return False
    for file in files_named(root, "dvc.yaml"):
        text = _text(root, file, None)
        if text is not None and posixpath.basename(file) == "dvc.yaml" and dataset in stage_outputs(text, file)[1]:
            return True
    pointer = read_dataset_pointer(root, dataset)
    return pointer is not None and pointer.stage is not None


def manifest_shards_at(root: Path, dataset: str, rev: str) -> list[tuple[str, Path]]:
    """Name and cached file of each manifest shard that revision `rev` pins for `dataset`, in order.

    Raises UnknownVersion if that revision does not have the dataset, ManifestMissing if DVC's cache lacks a shard.
    """
    pointer = _pointer_at(root, dataset, rev)
    return _Cache(root).shards(pointer)


def materialise(root: Path, dataset: str, rev: str, into: Path) -> Path:
    """A directory below `into` that holds the manifest of `dataset` as revision `rev` pins it: links into DVC's cache.

    It is named by its content, so a second call finds it. Raises as `manifest_shards_at`.
    """
    pointer = _pointer_at(root, dataset, rev)
    shards = _Cache(root).shards(pointer)
    target = into / pointer.md5.removesuffix(".dir")
    if _links(target) == {name: os.path.abspath(path) for name, path in shards}:
        return target
    make_directory(into)
    staged = into / temporary_name()
    staged.mkdir()
    for name, path in shards:
        os.symlink(os.path.abspath(path), staged / name)
    shutil.rmtree(target, ignore_errors=True)
    try:
        os.rename(staged, target)
    except OSError:
        # Another process has made the same directory meanwhile; its content is the same by its name.
        shutil.rmtree(staged, ignore_errors=True)
        if not target.is_dir():
            raise
    return target


def _links(directory: Path) -> dict[str, str]:
    with suppress(OSError):
        return {entry.name: os.readlink(entry.path) for entry in os.scandir(directory)}
    return {}


def _pointer_at(root: Path, dataset: str, rev: str) -> Pointer:
    pointer = read_dataset_pointer(root, dataset, rev=rev)
    if pointer is None:
        raise UnknownVersion(selector=f"{dataset}@{rev}", problem=f"that revision has no dataset {dataset}")
    return pointer


def _text(root: Path, file: str, rev: str | None) -> bytes | None:
    if rev is not None:
        return blob_at(root, rev, file)
    try:
        return (root / file).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _working_folders(root: Path, lock_file: str, rev: str | None) -> dict[str, str]:
    """Working folders of the stages beside `lock_file`; only `dvc.yaml` knows them."""
    file = posixpath.join(posixpath.dirname(lock_file), "dvc.yaml")
    text = _text(root, file, rev)
    return stage_outputs(text, file)[0] if text is not None and b"wdir" in text else {}


class _Cache:
    """DVC's cache, read by hash."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._places: tuple[Path, ...] | None = None

    def find(self, md5: str) -> Path | None:
        """The cached object of this hash; DVC 2 kept its objects one level higher, and `dvc` 3 still reads them."""
        if self._places is None:
            cache = cache_directory(self._root)
            self._places = (cache / "files" / "md5", cache)
        for place in self._places:
            path = place / md5[:2] / md5[2:]
            if path.is_file():
                return path
        return None

    def holds_manifest(self, pointer: Pointer, rev: str | None) -> bool:
        """Whether the output that `pointer` pins is a manifest, as far as this machine can tell."""
        names = self._names(pointer)
        if names is None and rev is None:
            with suppress(OSError):
                names = os.listdir(self._root / pointer.dataset)
        return bool(names) and all(_SHARD.match(name) for name in names or ())

    def shards(self, pointer: Pointer) -> list[tuple[str, Path]]:
        """Name and file of every shard. Raises ManifestMissing or DamagedManifest."""
        entries = self._entries(pointer)
        if entries is None:
            raise ManifestMissing(dataset=pointer.dataset, missing=f"{pointer.md5} in DVC's cache")
        shards = []
        for name, md5 in sorted(entries):
            path = self.find(md5)
            if path is None:
                raise ManifestMissing(dataset=pointer.dataset, missing=f"{name} in DVC's cache")
            shards.append((name, path))
        return shards

    def _names(self, pointer: Pointer) -> list[str] | None:
        try:
            entries = self._entries(pointer)
        except DamagedManifest:
            return None
        return None if entries is None else [name for name, _ in entries]

    def _entries(self, pointer: Pointer) -> list[tuple[str, str]] | None:
        """Names and hashes in the directory object, None if it is not cached."""
        path = self.find(pointer.md5)
        if path is None:
            return None
        try:
            listing = json.loads(path.read_bytes())
            entries = [(entry["relpath"], entry["md5"]) for entry in listing]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise DamagedManifest(str(path), "DVC's list of its files does not parse") from None
        _check_entries(path, entries)
        return entries


def _check_entries(path: Path, entries: Iterable[tuple[object, object]]) -> None:
    """Names become links and hashes become paths: neither may say more than it must."""
    for name, md5 in entries:
        if not isinstance(name, str) or not _SAFE_NAME.match(name):
            raise DamagedManifest(str(path), f"holds {name!r}, expected Parquet files only")
        if not isinstance(md5, str) or not _MD5.match(md5):
            raise DamagedManifest(str(path), f"holds hash {md5!r} for {name}, expected 32 hex digits")
