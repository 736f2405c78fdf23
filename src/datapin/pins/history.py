"""Which dataset versions commits pin: read from Git's objects in two or three calls, without a checkout."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datapin.base.errors import DatapinError, UnknownVersion
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.texts import has_summary
from datapin.git.ask import FileChange, file_changes, iter_blobs
from datapin.pins.files import LOCK, PIPELINE, PROJECT, WorkingFolders, beside, is_lock, is_pointer, outs_in
from datapin.pins.projects import InnerProjects
from datapin.pins.read import Pins


@dataclass(frozen=True, slots=True)
class UnreadablePointer:
    """A pointer that a commit holds and nobody can read: merge conflicts, or text that is not DVC's."""

    commit: str
    file: str
    problem: str


@dataclass(frozen=True, slots=True)
class PointerChange:
    """What a commit made of one pointer file: the outputs that it pins there afterwards, none if it is gone.

    `is_ours` if the file is one that datapin wrote; else only the outputs themselves tell whether they are datasets.
    """

    commit: str
    file: str
    pointers: tuple[PinnedOut, ...]
    is_ours: bool


@dataclass(frozen=True, slots=True)
class PinnedVersions:
    """What commits pin, newest first.

    `unknown` are outputs that may be datasets: DVC's list of their files is not on this machine, so nobody can tell.
    """

    datasets: list[PinnedOut]
    unknown: list[PinnedOut]
    unreadable: list[UnreadablePointer]


def pinned_versions(root: Path, revs: Sequence[str] | None = None, not_in: Sequence[str] = ()) -> list[PinnedOut]:
    """Every dataset version that is pinned by a commit which `revs` reach and `not_in` do not; see `find_pins`."""
    return find_pins(root, revs, not_in).datasets


def find_pins(
    root: Path, revs: Sequence[str] | None = None, not_in: Sequence[str] = (), *, every_project: bool = False
) -> PinnedVersions:
    """Every distinct (dataset, md5) that commits pin which `revs` (None: all refs and HEAD) reach and `not_in` do not.

    A version that those commits took over unchanged from one in `not_in` is not among them. 1,000 commits of which 100
    change a pointer take 0.2 s. Raises ToolFailed if there is no such revision.
    """
    cache = DvcCache(root)
    found: dict[tuple[str, str], PinnedOut] = {}
    is_ours: dict[tuple[str, str], bool] = {}
    unreadable: list[UnreadablePointer] = []
    for item in iter_pointer_changes(root, revs, not_in, every_project=every_project):
        if isinstance(item, UnreadablePointer):
            unreadable.append(item)
            continue
        for pointer in item.pointers:
            name = (pointer.dataset, pointer.md5)
            known = found.setdefault(name, pointer)
            if known.summary is None and pointer.summary is not None:
                found[name] = replace(known, summary=pointer.summary)
            is_ours[name] = is_ours.get(name, False) or item.is_ours
    datasets, unknown = [], []
    for name, pointer in found.items():
        if is_ours[name] or cache.holds_manifest(pointer, in_work_tree=False):
            datasets.append(pointer)
        elif cache.find(pointer.md5) is None:
            unknown.append(pointer)
    return PinnedVersions(datasets, unknown, unreadable)


def iter_pointer_changes(
    root: Path, revs: Sequence[str] | None = None, not_in: Sequence[str] = (), *, every_project: bool = False
) -> Iterator[PointerChange | UnreadablePointer]:
    """Each change of a `.dvc` file or a `dvc.lock`, newest commit first, with the folders that it pins; read lazily.

    A merge appears once for each parent that it differs from. What is a dataset and what another output, the caller
    must tell. Pointers of DVC projects further down are left out, unless `every_project`.
    """
    projects = InnerProjects(root)
    changes = list(_changes(root, revs, not_in, projects))
    if not every_project:
        others = projects.of_others([(change.commit, change.file) for change in changes])
        changes = [change for change in changes if (change.commit, change.file) not in others]
    folders = WorkingFolders(root)
    read: dict[tuple[str, bytes, bytes], tuple[PinnedOut, ...] | str] = {}
    texts = iter_blobs(root, [name for change in changes for name in _blobs_of(change)])
    for change in changes:
        text = next(texts)
        pipeline = (next(texts) or b"") if len(_blobs_of(change)) == 2 else b""
        if text is None:
            yield PointerChange(change.commit, change.file, (), is_ours=False)
            continue
        key = (change.file, text, pipeline)
        if key not in read or folders.are_templates(pipeline):
            read[key] = folders_pinned(change.file, text, pipeline, change.commit, folders)
        seen = read[key]
        if isinstance(seen, str):
            yield UnreadablePointer(change.commit, change.file, seen)
        else:
            yield PointerChange(change.commit, change.file, seen, not is_lock(change.file) and has_summary(text))


def folders_pinned(
    file: str, text: bytes, pipeline: bytes, commit: str, folders: WorkingFolders
) -> tuple[PinnedOut, ...] | str:
    """The folders that a pointer's text pins as of `commit`, or what is wrong with it."""
    if is_lock(file) and b".dir" not in text:
        return ()
    try:
        where = folders.of(beside(file), pipeline, commit) if is_lock(file) else {}
        return tuple(out for out in outs_in(file, text, where) if out.is_folder)
    except DatapinError as error:
        return error.message


def _changes(
    root: Path, revs: Sequence[str] | None, not_in: Sequence[str], projects: InnerProjects
) -> Iterator[FileChange]:
    """Changes of pointers. One of a `dvc.yaml` counts as one of the `dvc.lock` beside it: it names working folders."""
    found = list(file_changes(root, ("*.dvc", LOCK, PIPELINE, PROJECT), revs, not_in))
    projects.learn(change.file for change in found)
    for change in found:
        name = posixpath.basename(change.file)
        if name == PIPELINE:
            lock = posixpath.join(posixpath.dirname(change.file), LOCK)
            yield replace(change, file=lock, before=None, after=None)
        elif name == LOCK or is_pointer(change.file):
            yield change


def _blobs_of(change: FileChange) -> list[str]:
    """Git's names of the blobs to read: the pointer, and for a `dvc.lock` also the pipeline of that commit."""
    if not is_lock(change.file) or "\n" in change.file:
        return [change.after or "none"]
    return [f"{change.commit}:./{change.file}", f"{change.commit}:./{beside(change.file)}"]


def is_committed(root: Path, dataset: str, md5: str) -> bool:
    """Whether any commit that Git's refs reach pins this version, whatever the dataset's name there."""
    try:
        at_head = Pins.at(root, "HEAD").dataset(dataset)
    except UnknownVersion:
        return False  # nothing was committed yet
    if at_head is not None and at_head.md5 == md5:
        return True
    changes = (change for change in iter_pointer_changes(root) if isinstance(change, PointerChange))
    return any(one.md5 == md5 for change in changes for one in change.pointers)
