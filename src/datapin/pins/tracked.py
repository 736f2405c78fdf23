"""What the pointers that Git tracks pin in the work tree: read quickly, for a hook that runs at every checkout.

A pointer's text is parsed once; what it said is kept under its hash, since a YAML parser is slow to import.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datapin.base.documents import keep_sealed, read_sealed
from datapin.base.errors import DatapinError, Refused, UnknownVersion
from datapin.base.settings import FOLDER
from datapin.dvcfiles.cure import with_cure
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.texts import has_summary
from datapin.git.ask import ask_names, iter_blobs, resolve
from datapin.pins.files import LOCK, PROJECT, WorkingFolders, beside, bytes_here, inner_projects, is_lock, outs_in

_NOT_FOR_DATASETS = (".git", ".dvc", FOLDER)
_POINTERS, _PROJECTS = ":(glob)**/?*.dvc", f":(glob)**/*/{PROJECT}"

_Kept = dict[str, list[list[str | None]]]


@dataclass(frozen=True, slots=True)
class TrackedPin:
    """A folder that a tracked pointer pins; `is_ours` if datapin wrote the pointer, else it may be any output."""

    out: PinnedOut
    is_ours: bool


def tracked_pins(root: Path, note: Path, unreadable: list[DatapinError] | None = None) -> list[TrackedPin]:
    """Every folder that a tracked pointer below `root` pins; one that is in conflict, or cannot be read, pins nothing.

    `note` is a file that keeps what was parsed. The errors of what cannot be read go into `unreadable`, but not those
    of conflicts: Git has told of them.
    """
    kept, folders = _load(note), WorkingFolders(root)
    seen: _Kept = {}
    pins = []
    # Not the untracked ones: a checkout does not move them, and looking for them means a walk.
    listed = ask_names(root, "ls-files", "-z", "--cached", "--", _POINTERS, f":(glob)**/{LOCK}", _PROJECTS)
    for file in sorted(set(_outside(listed))):
        text = bytes_here(root / file)
        if text is None or posixpath.basename(file) == ".dvc" or (is_lock(file) and b".dir" not in text):
            continue
        pipeline = (bytes_here(root / beside(file)) or b"") if is_lock(file) else b""
        name = hashlib.sha256(b"\0".join([file.encode("utf-8", "surrogateescape"), text, pipeline])).hexdigest()
        # A template may be filled in by any file: what it gave is not kept.
        found = None if folders.are_templates(pipeline) else kept.get(name)
        if found is None:
            try:
                found = [[one.path, one.md5, one.stage] for one in _parsed(file, text, pipeline, folders)]
            except DatapinError as error:
                if unreadable is not None and not isinstance(error, Refused):
                    unreadable.append(with_cure(root, file, error))
                continue
        seen[name] = found
        ours = not is_lock(file) and has_summary(text)
        pins += [
            TrackedPin(PinnedOut(str(path), str(md5), file, stage), ours)
            for path, md5, stage in found
            if _is_below(root, str(path))
        ]
    if seen != kept:
        keep_sealed(note, seen)
    return pins


def departed_datasets(root: Path, since: str) -> list[str]:
    """Datasets whose `.dvc` file was there in the commit `since` and is not in HEAD or the work tree."""
    try:
        before = resolve(root, since)
    except UnknownVersion:
        return []  # the first checkout of a worktree, or a merge before any other
    said = ask_names(
        root, "diff", "--name-only", "-z", "--diff-filter=D", "--no-renames", "--relative", before, "HEAD", "--",
        _POINTERS, _PROJECTS,
    )  # fmt: skip
    files = [file for file in _outside(said) if not (root / file).exists() and "\n" not in file]
    found, folders = [], WorkingFolders(root)
    for file, text in zip(files, iter_blobs(root, [f"{before}:./{file}" for file in files]), strict=True):
        if text is not None and has_summary(text):
            with suppress(DatapinError):
                found += [one.path for one in _parsed(file, text, b"", folders) if _is_below(root, one.path)]
    return found


def _outside(files: Sequence[str]) -> list[str]:
    """The pointers among `files` that are not those of another project further down."""
    inner = inner_projects(files)
    names = [file for file in files if not file.startswith(inner)]
    return [file for file in names if file.endswith(".dvc") or is_lock(file)]


def _parsed(file: str, text: bytes, pipeline: bytes, folders: WorkingFolders) -> list[PinnedOut]:
    where = folders.of(beside(file), pipeline, None) if is_lock(file) else {}
    return [out for out in outs_in(file, text, where) if out.is_folder]


def _is_below(root: Path, dataset: str) -> bool:
    """Whether it may be a dataset: a pointer comes from anybody, and must not lead a hook elsewhere by a link."""
    if any(part.casefold() in _NOT_FOR_DATASETS for part in dataset.split("/")):
        return False
    parent = os.path.realpath(root / posixpath.dirname(dataset))
    top = os.path.realpath(root)
    return parent == top or parent.startswith(f"{top}/")


def _load(note: Path) -> _Kept:
    with suppress(OSError, ValueError):
        said = read_sealed(note)
        if isinstance(said, dict):
            return said
    return {}
