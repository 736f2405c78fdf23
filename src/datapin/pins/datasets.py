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
from dataclasses import dataclass, field
from pathlib import Path

from datapin.base.errors import DatapinError, UnknownVersion
from datapin.base.files import make_directory, temporary_name
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.cure import folder_in_place, with_cure
from datapin.dvcfiles.pointer_text import read_pointer_text
from datapin.dvcfiles.settings import cache_directory, default_remote, remote_names
from datapin.dvcfiles.texts import Pointer, has_summary, read_lock, stage_outputs
from datapin.git.ask import blob_at, files_named, pointers_named

__all__ = [
    "FoundOutputs",
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


@dataclass(frozen=True, slots=True)
class FoundOutputs:
    """The pointers of all datasets, and those of folders of which nobody here can tell whether they are datasets.

    The latter are such whose list of files DVC's cache does not hold. Both sorted by name. `unreadable` says of each
    file that may pin a dataset and cannot be read, why.
    """

    datasets: list[Pointer] = field(default_factory=list)
    unknown: list[Pointer] = field(default_factory=list)
    unreadable: dict[str, DatapinError] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Every dataset, sorted; those of pointers that cannot be read too: a pointer lies beside its dataset."""
        return sorted({pointer.dataset for pointer in self.datasets} | self.unreadable_datasets)

    @property
    def unknown_outputs(self) -> list[str]:
        """Folders that stages have put out and of which nothing is here, as in a fresh clone: they may be datasets."""
        return sorted({pointer.dataset for pointer in self.unknown if pointer.stage is not None})

    @property
    def readable(self) -> list[str]:
        """Every dataset whose pointer can be read, sorted."""
        return [pointer.dataset for pointer in self.datasets]

    @property
    def unreadable_datasets(self) -> set[str]:
        """The datasets whose own pointer cannot be read."""
        return {file.removesuffix(".dvc") for file in self.unreadable if file.endswith(".dvc")}

    @property
    def unreadable_locks(self) -> dict[str, DatapinError]:
        """The `dvc.lock` files that cannot be read: what they pin is not known."""
        return {file: error for file, error in self.unreadable.items() if not file.endswith(".dvc")}

    def check(self) -> None:
        """Raise the error of the first file that cannot be read, if there is one."""
        for error in self.unreadable.values():
            raise error


def find_datasets(root: Path) -> list[str]:
    """Every dataset of the work tree, sorted; also those whose manifest is not on this machine."""
    return sorted({pointer.dataset for pointer in find_pointers(root)})


def has_own_pointer(root: Path, dataset: str) -> bool:
    """Whether `<dataset>.dvc` in the work tree pins `dataset` and says so itself: no listing of all files is needed.

    False may mean that a stage or a plain `dvc add` pins it: `find_datasets` knows. Raises Refused or BadSettings.
    """
    file = f"{dataset}.dvc"
    text = _text(root, file, None)
    if text is None:
        if (root / file).is_dir() and _is_beside_manifest(root, file):
            raise folder_in_place(root, file)
        return False
    # Read in any case: a text that was cut off does not say what it pinned.
    return any(pointer.dataset == dataset for pointer in _read(root, text, file)) and has_summary(text)


def find_pointers(root: Path, rev: str | None = None) -> list[Pointer]:
    """The pointers of all datasets in the work tree, or in the revision `rev`, sorted by dataset.

    Raises Refused or BadSettings if one of them cannot be read.
    """
    found = find_outputs(root, rev)
    found.check()
    return found.datasets


def find_outputs(root: Path, rev: str | None = None) -> FoundOutputs:
    """What the work tree, or the revision `rev`, pins; a file that cannot be read hides none of the others."""
    cache = DvcCache(root)
    found = FoundOutputs()
    files, folders = pointers_named(root, rev)
    for folder in folders:
        if rev is not None or _is_beside_manifest(root, folder):
            found.unreadable[folder] = folder_in_place(root, folder)
    for file in files:
        name = posixpath.basename(file)
        text = _text(root, file, rev)
        if text is None:
            continue
        try:
            pointers = _pointers_in(root, file, text, rev)
        except DatapinError as error:
            if name == "dvc.lock" or _may_pin_rows(root, file, text, rev):
                found.unreadable[file] = with_cure(root, file, error)
            continue
        ours = name != "dvc.lock" and has_summary(text)
        for pointer in pointers:
            if ours or cache.holds_manifest(pointer, in_work_tree=rev is None):
                found.datasets.append(pointer)
            elif cache.find(pointer.md5) is None:
                found.unknown.append(pointer)
    found.datasets.sort(key=lambda pointer: pointer.dataset)
    found.unknown.sort(key=lambda pointer: pointer.dataset)
    return found


def _pointers_in(root: Path, file: str, text: bytes, rev: str | None) -> list[Pointer]:
    if posixpath.basename(file) == "dvc.lock":
        return read_lock(text, file, _working_folders(root, file, rev))
    return read_pointer_text(text, file)


def _read(root: Path, text: bytes, file: str) -> list[Pointer]:
    try:
        return read_pointer_text(text, file)
    except DatapinError as error:
        raise with_cure(root, file, error) from None


def _may_pin_rows(root: Path, file: str, text: bytes, rev: str | None) -> bool:
    """Whether an unreadable `.dvc` file may be a dataset's: not if a folder with something else lies beside it."""
    if has_summary(text) or rev is not None:
        return True
    return not os.path.lexists(root / file.removesuffix(".dvc")) or _is_beside_manifest(root, file)


def _is_beside_manifest(root: Path, file: str) -> bool:
    """Whether the folder that `file` is named after holds a manifest, as far as names tell."""
    return (root / file.removesuffix(".dvc") / "part-00000.parquet").is_file()


def read_dataset_pointer(root: Path, dataset: str, *, rev: str | None = None) -> Pointer | None:
    """The pointer of `dataset` in the work tree, or in revision `rev`; None if nothing pins it.

    Raises UnknownVersion if there is no such revision, Refused or BadSettings if the pointer cannot be read.
    """
    file = f"{dataset}.dvc"
    text = _text(root, file, rev)
    if text is not None:
        for pointer in _read(root, text, file):
            if pointer.dataset == dataset:
                return pointer
    elif rev is None and (root / file).is_dir() and _is_beside_manifest(root, file):
        raise folder_in_place(root, file)
    unreadable: DatapinError | None = None
    for lock_file in files_named(root, "dvc.lock", rev=rev):
        if posixpath.basename(lock_file) != "dvc.lock":
            continue
        text = _text(root, lock_file, rev)
        # The last part of the path stands in the text as it is; most lock files are thus passed over unparsed.
        if text is None or posixpath.basename(dataset).encode() not in text:
            continue
        try:
            pointers = read_lock(text, lock_file, _working_folders(root, lock_file, rev))
        except DatapinError as error:
            unreadable = unreadable or error
            continue
        for pointer in pointers:
            if pointer.dataset == dataset:
                return pointer
    if unreadable is not None:
        raise unreadable
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
