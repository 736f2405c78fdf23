"""Pointers in the work tree and at any revision: which datasets there are, and the shards that each version pins.

Reading goes by the text of `.dvc` files and `dvc.lock` and by DVC's cache, in milliseconds and without DVC's code. A
source dataset is a `.dvc` file that carries our summary; a derived one, or one pinned by a plain `dvc add`, is known by
what its output holds: `part-*.parquet` and nothing else.
"""

from __future__ import annotations

import os
import posixpath
import shutil
from contextlib import suppress
from pathlib import Path

from datapin.base.errors import UnknownVersion
from datapin.base.files import make_directory, temporary_name
from datapin.versions.dvc_cache import DvcCache
from datapin.versions.dvc_settings import cache_directory, default_remote, remote_names
from datapin.versions.git import blob_at, files_named
from datapin.versions.pointer_file import Pointer, has_summary, read_lock, stage_outputs
from datapin.versions.pointer_text import read_pointer_text

__all__ = [
    "Pointer",
    "cache_directory",
    "default_remote",
    "find_datasets",
    "find_outputs",
    "find_pointers",
    "has_own_pointer",
    "is_stage_output",
    "manifest_shards_at",
    "materialise",
    "materialise_pointer",
    "read_dataset_pointer",
    "remote_names",
]


def find_datasets(root: Path) -> list[str]:
    """Every dataset of the work tree, sorted; also those whose manifest is not on this machine."""
    return sorted({pointer.dataset for pointer in find_pointers(root)})


def has_own_pointer(root: Path, dataset: str) -> bool:
    """Whether `<dataset>.dvc` in the work tree pins `dataset` and says so itself: no listing of all files is needed.

    False may mean that a stage or a plain `dvc add` pins it: `find_datasets` knows. Raises Refused or BadSettings.
    """
    file = f"{dataset}.dvc"
    text = _text(root, file, None)
    if text is None or not has_summary(text):
        return False
    return any(pointer.dataset == dataset for pointer in read_pointer_text(text, file))


def find_pointers(root: Path, rev: str | None = None) -> list[Pointer]:
    """The pointers of all datasets in the work tree, or in the revision `rev`, sorted by dataset."""
    return find_outputs(root, rev)[0]


def find_outputs(root: Path, rev: str | None = None) -> tuple[list[Pointer], list[Pointer]]:
    """The pointers of all datasets, and those of folders of which nobody here can tell whether they are datasets.

    The latter are such whose list of files DVC's cache does not hold. Both sorted by name.
    """
    cache = DvcCache(root)
    found, unknown = [], []
    for file in files_named(root, "*.dvc", "dvc.lock", rev=rev):
        name = posixpath.basename(file)
        is_pointer = name == "dvc.lock" or (name.endswith(".dvc") and name != ".dvc")
        text = _text(root, file, rev) if is_pointer else None
        if text is None:
            continue
        if name == "dvc.lock":
            pointers = read_lock(text, file, _working_folders(root, file, rev))
        else:
            pointers = read_pointer_text(text, file) if has_summary(text) or b".dir" in text else []
        ours = name != "dvc.lock" and has_summary(text)
        for pointer in pointers:
            if ours or cache.holds_manifest(pointer, in_work_tree=rev is None):
                found.append(pointer)
            elif cache.find(pointer.md5) is None:
                unknown.append(pointer)
    found.sort(key=lambda pointer: pointer.dataset)
    unknown.sort(key=lambda pointer: pointer.dataset)
    return found, unknown


def read_dataset_pointer(root: Path, dataset: str, *, rev: str | None = None) -> Pointer | None:
    """The pointer of `dataset` in the work tree, or in revision `rev`; None if nothing pins it.

    Raises UnknownVersion if there is no such revision, Refused or BadSettings if the pointer cannot be read.
    """
    file = f"{dataset}.dvc"
    text = _text(root, file, rev)
    if text is not None:
        for pointer in read_pointer_text(text, file):
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
    return DvcCache(root).shards(pointer)


def materialise(root: Path, dataset: str, rev: str, into: Path) -> Path:
    """A directory below `into` that holds the manifest of `dataset` as revision `rev` pins it: links into DVC's cache.

    It is named by its content, so a second call finds it. Raises as `manifest_shards_at`.
    """
    return materialise_pointer(root, _pointer_at(root, dataset, rev), into)


def materialise_pointer(root: Path, pointer: Pointer, into: Path) -> Path:
    """A directory below `into` that holds the manifest that `pointer` pins; see `materialise`."""
    shards = DvcCache(root).shards(pointer)
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
