"""Everything that a commit, or the work tree, pins; a pointer that cannot be read hides none of the others."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datapin.base.errors import BadSettings, DatapinError, Refused
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.cure import folder_in_place, with_cure
from datapin.dvcfiles.lock_entries import LockEntry, read_lock_entries
from datapin.dvcfiles.lock_text import read_lock_text
from datapin.dvcfiles.pointer_text import read_pointer_text
from datapin.dvcfiles.texts import Pointer, has_summary, load_yaml, stage_outputs
from datapin.git.ask import ask_git, blob_at, files_named, iter_blobs, pointers_named
from datapin.pins.outputs import PinnedOut, lock_outs, pointer_outs

LOCK, PIPELINE, POINTER = "dvc.lock", "dvc.yaml", ".dvc"

_PROJECT = ".dvc/config"
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?\Z")
_GLOBS = (f":(glob)**/*{POINTER}", f":(glob)**/{LOCK}", f":(glob)**/{PIPELINE}")

Folders = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class CommitPins:
    """What is pinned, in the order of the files.

    `datasets` are the pointers of manifests, `unknown` those of folders whose list of files is not in DVC's cache, so
    that nobody here can tell; `outs` is every output of any kind. `entries` are those of each `dvc.lock`, `pipelines`
    the texts of each `dvc.yaml`. `unreadable` says why a file among them could not be read.
    """

    datasets: list[Pointer] = field(default_factory=list)
    unknown: list[Pointer] = field(default_factory=list)
    outs: list[PinnedOut] = field(default_factory=list)
    entries: dict[str, Mapping[str, LockEntry]] = field(default_factory=dict)
    pipelines: dict[str, bytes] = field(default_factory=dict)
    unreadable: dict[str, DatapinError] = field(default_factory=dict)


def read_pins(root: Path, commit: str | None, folders: Folders) -> CommitPins:
    """The pins of the commit, or of the work tree if it is None.

    `folders` gives the working folder of each stage beside a `dvc.lock` whose `dvc.yaml` has templates for them.
    """
    pins = CommitPins()
    cache = DvcCache(root)
    files = _files(root, commit)
    texts = {file: text for file, text in zip(files, _texts(root, files, commit), strict=True) if text is not None}
    pins.pipelines.update({file: text for file, text in texts.items() if posixpath.basename(file) == PIPELINE})
    pins.unreadable.update(_in_conflict(root) if commit is None else {})
    for file, text in pins.pipelines.items():
        try:
            load_yaml(text, file)
        except DatapinError as error:
            pins.unreadable[file] = error
    for file, text in texts.items():
        try:
            if posixpath.basename(file) == LOCK:
                pins.entries[file] = read_lock_entries(text, file)
                _take_lock(pins, cache, file, text, folders, in_work_tree=commit is None)
            elif file not in pins.pipelines:
                _take_pointer(pins, cache, file, text, in_work_tree=commit is None)
        except DatapinError as error:
            pins.unreadable[file] = with_cure(root, file, error)
    for folder in pointers_named(root, commit)[1]:
        pins.unreadable[folder] = folder_in_place(root, folder)
    if pins.unknown:
        pins.unknown[:] = _without_kept(root, commit, pins.unknown)
    return pins


def _files(root: Path, commit: str | None) -> list[str]:
    """The pointers, locks and pipelines of this project, not those of another one in a folder below it."""
    files = files_named(root, "*.dvc", LOCK, PIPELINE, _PROJECT, rev=commit)
    inner = tuple(file.removesuffix(_PROJECT) for file in files if file.endswith(f"/{_PROJECT}"))
    ours = (file for file in files if not file.startswith(inner))
    return [file for file in ours if posixpath.basename(file) in (LOCK, PIPELINE) or _is_pointer(file)]


def beside(lock: str) -> str:
    """The `dvc.yaml` that a `dvc.lock` belongs to."""
    return posixpath.join(posixpath.dirname(lock), PIPELINE)


def _take_pointer(pins: CommitPins, cache: DvcCache, file: str, text: bytes, *, in_work_tree: bool) -> None:
    pointers = read_pointer_text(text, file)
    pins.outs.extend(pointer_outs(text, file))
    _take_folders(pins, cache, pointers, is_ours=has_summary(text), in_work_tree=in_work_tree)


def _take_lock(
    pins: CommitPins, cache: DvcCache, file: str, text: bytes, folders: Folders, *, in_work_tree: bool
) -> None:
    pipeline = pins.pipelines.get(beside(file), b"")
    is_moved = b"wdir" in pipeline and beside(file) not in pins.unreadable
    if is_moved and b"${" in pipeline:
        pointers, outs = _moved_outs(pins.entries[file], file, folders(beside(file)))
    else:
        known = stage_outputs(pipeline, beside(file))[0] if is_moved else {}
        pointers, outs = read_lock_text(text, file, known), lock_outs(text, file, known)
    pins.outs.extend(outs)
    _take_folders(pins, cache, pointers, is_ours=False, in_work_tree=in_work_tree)


def _moved_outs(
    entries: Mapping[str, LockEntry], file: str, folders: Mapping[str, str]
) -> tuple[list[Pointer], list[PinnedOut]]:
    """The outputs of stages whose working folder is a template, each stage's by its full name."""
    pointers, outs = [], []
    for name, entry in entries.items():
        for out, md5 in entry.outs.items():
            path = posixpath.normpath(posixpath.join(folders.get(name, posixpath.dirname(file)), out))
            if md5 is None or "://" in out or path.startswith(("../", "/")):
                continue
            if not _MD5.match(md5):
                raise BadSettings(file, f"stages.{name}.outs", f"{out} is pinned as {md5[:80]!r}, expected an MD5")
            outs.append(PinnedOut(path, md5, file, name))
            if md5.endswith(".dir"):
                pointers.append(Pointer(path, file, md5, None, None, None, name))
    return pointers, outs


def _take_folders(
    pins: CommitPins, cache: DvcCache, pointers: Sequence[Pointer], *, is_ours: bool, in_work_tree: bool
) -> None:
    for pointer in pointers:
        if is_ours or cache.holds_manifest(pointer, in_work_tree=in_work_tree):
            pins.datasets.append(pointer)
        elif cache.find(pointer.md5) is None:
            pins.unknown.append(pointer)


def _without_kept(root: Path, commit: str | None, pointers: Sequence[Pointer]) -> list[Pointer]:
    """Those whose files Git does not keep: DVC's cache never has the others (`cache: false`), plots for example."""
    asked = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    said = ask_git(root, *(asked if commit is None else ["ls-tree", "-r", "-z", "--name-only", commit]))
    files = [os.fsdecode(name) for name in said.split(b"\0")]
    return [one for one in pointers if not any(name.startswith(f"{one.dataset}/") for name in files)]


def _is_pointer(file: str) -> bool:
    name = posixpath.basename(file)
    return name.endswith(POINTER) and name != POINTER


def _texts(root: Path, files: Sequence[str], commit: str | None) -> list[bytes | None]:
    if commit is None:
        return [_text(root / file) for file in files]
    if any("\n" in file for file in files):
        return [blob_at(root, commit, file) for file in files]
    return list(iter_blobs(root, [f"{commit}:./{file}" for file in files]))


def _text(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _in_conflict(root: Path) -> dict[str, DatapinError]:
    """Files that a merge left unresolved; DVC's own merge driver leaves no mark in them."""
    said = ask_git(root, "ls-files", "--unmerged", "-z", "--", *_GLOBS)
    names = {os.fsdecode(entry).partition("\t")[2] for entry in said.split(b"\0") if entry}
    hint = "run `git status`, resolve the file, and `git add` it; `datapin resolve` does it for a dataset"
    return {name: Refused(f"{name} is in conflict: a merge is not resolved", hint) for name in sorted(names)}
