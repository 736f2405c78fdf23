"""What commits pin for one dataset: the pointer of each, every distinct text read once."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from datapin.base.errors import DamagedManifest
from datapin.dvcfiles.cache import DvcCache, parse_list
from datapin.dvcfiles.hashes import md5_of
from datapin.dvcfiles.outs import PinnedOut
from datapin.git.ask import ask_names, iter_blobs
from datapin.git.log import blob_ids
from datapin.pins.files import LOCK, PROJECT, WorkingFolders, beside, folders_above, is_lock
from datapin.pins.history import UnreadablePointer, folders_pinned
from datapin.pins.projects import InnerProjects

Pin: TypeAlias = PinnedOut | UnreadablePointer | None


def is_same_version(one: Pin, other: Pin) -> bool:
    """Whether two commits pin the same rows, as far as their pointers tell; no dataset is the same as none."""
    if isinstance(one, PinnedOut) and isinstance(other, PinnedOut):
        return one.md5 == other.md5 or (one.digest is not None and one.digest == other.digest)
    if isinstance(one, UnreadablePointer) and isinstance(other, UnreadablePointer):
        return one.problem == other.problem
    return one is None and other is None


class CommitPins:
    """The pins of datasets in a repository's commits."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._cache = DvcCache(root)
        self._known: dict[tuple[str, str], Pin] = {}
        self._texts: dict[str, bytes] = {}
        self._parsed: dict[tuple[str, str, str, str], Sequence[PinnedOut] | str] = {}
        self._folders = WorkingFolders(root)
        self._projects = InnerProjects(root)
        self._is_dataset: dict[str, bool] = {}
        self.strange: dict[str, str] = {}  # dataset that is none: the pointer that tracks it

    def of(self, dataset: str, commits: Sequence[str]) -> dict[str, Pin]:
        """What each commit pins for `dataset`: in its `.dvc` file, else in a `dvc.lock`."""
        new = [commit for commit in commits if (dataset, commit) not in self._known]
        self._read(dataset, new)
        return {commit: self._known[dataset, commit] for commit in commits}

    def is_dataset(self, pointer: PinnedOut) -> bool:
        """Whether the folder that `pointer` pins is a manifest, or may be one: DVC's list of its files is not here."""
        if pointer.summary is not None:
            return True
        known = self._is_dataset.get(pointer.md5)
        if known is None:
            known = self._is_dataset[pointer.md5] = self._may_be_manifest(pointer)
        return known

    def all_in(self, commit: str, files: Sequence[str]) -> list[PinnedOut]:
        """Every output that these pointer files (`.dvc` or `dvc.lock`) pin in `commit`; unreadable ones pin nothing."""
        found: list[PinnedOut] = []
        for file in files:
            text, pipeline = blob_ids(self._root, [f"{commit}:./{file}", f"{commit}:./{beside(file)}"])
            self._load([text, pipeline])
            pointers = self._pointers(commit, file, text, pipeline) if text is not None else ()
            found += () if isinstance(pointers, str) else pointers
        return found

    @cached_property
    def _lock_files(self) -> list[str]:
        """Every `dvc.lock` that any commit of any branch ever had."""
        said = ask_names(
            self._root, "log", "--all", "HEAD", "-m", "--name-only", "-z", "--relative", "--no-show-signature",
            "--diff-filter=A", "--no-renames", "--format=", "--", f":(glob)**/{LOCK}", f":(glob)**/{PROJECT}",
        )  # fmt: skip
        names = {name.lstrip("\n") for name in said}
        self._projects.learn(names)
        return sorted(name for name in names if is_lock(name))

    def _may_be_manifest(self, pointer: PinnedOut) -> bool:
        path = self._cache.find(pointer.md5)
        if path is None:
            return True
        data = path.read_bytes()
        try:
            return bool(parse_list(data, str(path)))
        except DamagedManifest:
            # An undamaged list of other files: a folder that DVC tracks. A damaged one is an error where it is read.
            return md5_of(data) != pointer.md5.removesuffix(".dir")

    def _read(self, dataset: str, commits: Sequence[str]) -> None:
        file = f"{dataset}.dvc"
        self._projects.learn(f"{folder}/{PROJECT}" for folder in folders_above(dataset))
        others = {commit for commit, _ in self._projects.of_others([(commit, file) for commit in commits])}
        self._known.update({(dataset, commit): None for commit in others})
        commits = [commit for commit in commits if commit not in others]
        ids = blob_ids(self._root, [f"{commit}:./{file}" for commit in commits])
        self._load(ids)
        rest = []
        for commit, name in zip(commits, ids, strict=True):
            pin = self._pin(dataset, commit, file, name, None) if name is not None else None
            if pin is None:
                rest.append(commit)
            self._known[dataset, commit] = pin
        for lock_file in self._lock_files if rest else ():
            locks = blob_ids(self._root, [f"{commit}:./{lock_file}" for commit in rest])
            pipelines = blob_ids(self._root, [f"{commit}:./{beside(lock_file)}" for commit in rest])
            self._load([*locks, *pipelines])
            theirs = self._projects.of_others([(commit, lock_file) for commit in rest])
            for commit, lock, pipeline in zip(rest, locks, pipelines, strict=True):
                if lock is not None and (commit, lock_file) not in theirs and self._known[dataset, commit] is None:
                    self._known[dataset, commit] = self._pin(dataset, commit, lock_file, lock, pipeline)

    def _pin(self, dataset: str, commit: str, file: str, text: str, pipeline: str | None) -> Pin:
        """The pin in one file, given by its blob; a `dvc.lock` comes with the blob of the pipeline beside it."""
        # The last part of the path stands in the text as it is; most lock files are thus passed over unparsed.
        if is_lock(file) and posixpath.basename(dataset).encode() not in self._texts[text]:
            return None
        seen = self._pointers(commit, file, text, pipeline)
        if isinstance(seen, str):
            return UnreadablePointer(commit, file, seen)
        for pointer in seen:
            if pointer.dataset == dataset:
                if self.is_dataset(pointer):
                    return pointer
                self.strange[dataset] = file
        return None

    def _pointers(self, commit: str, file: str, text: str, pipeline: str | None) -> Sequence[PinnedOut] | str:
        """All folders that one file pins, given by its blob, or what is wrong with it."""
        told = self._texts.get(pipeline or "", b"")
        key = (file, text, pipeline or "", commit if self._folders.are_templates(told) else "")
        if key not in self._parsed:
            self._parsed[key] = folders_pinned(file, self._texts[text], told, commit, self._folders)
        return self._parsed[key]

    def _load(self, ids: Iterable[str | None]) -> None:
        wanted = [name for name in dict.fromkeys(ids) if name is not None and name not in self._texts]
        for name, text in zip(wanted, iter_blobs(self._root, wanted), strict=True):
            self._texts[name] = text or b""
