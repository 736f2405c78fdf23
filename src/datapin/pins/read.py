"""The one reader of pins: everything that a commit, or the work tree, pins. All else that asks is a view on it.

Read from Git's objects or the files themselves, in milliseconds and without DVC's code; only where a `wdir` is a
template DVC has to fill it in. A file that cannot be read hides none of the others. What lies in the folder of another
DVC project (`dvc init --subdir`) is that project's.
"""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from datapin.base.errors import DatapinError, Refused, either_side
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.cure import folder_in_place, with_cure
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.stages import LockedStage, LockEntry, read_lock_entries, read_stages
from datapin.dvcfiles.texts import has_summary, load_yaml, stage_outputs
from datapin.git.ask import ask_names, blob_at, iter_blobs, resolve
from datapin.pins.files import (
    LOCK,
    PIPELINE,
    POINTER,
    PROJECT,
    WorkingFolders,
    beside,
    bytes_here,
    folders_above,
    inner_projects,
    is_lock,
    is_pointer,
    outs_in,
)
from datapin.pins.keeping import Keeping, keeping_of

_NAMES = (f"?*{POINTER}", f"?*{POINTER}/**", LOCK, PIPELINE, PROJECT)
_GLOBS = (f":(glob)**/*{POINTER}", f":(glob)**/{LOCK}", f":(glob)**/{PIPELINE}")
_POINTER_FOLDER = re.compile(r"(?:.*?/)?[^/]+\.dvc(?=/)")


class Pins:
    """The pins of the commit with this id, or of the work tree if it is None; each file is read once, when asked for.

    One of the work tree tells of the moment when it was made: make another one after an edit.
    """

    def __init__(self, root: Path, commit: str | None = None) -> None:
        self.root = root
        self.commit = commit
        self._cache = DvcCache(root)
        self._folders = WorkingFolders(root)
        self._texts: dict[str, bytes | None] = {}
        self._found: dict[str, list[PinnedOut] | DatapinError] = {}

    @classmethod
    def at(cls, root: Path, rev: str | None) -> Pins:
        """The pins of what a revision names, or of the work tree. Raises UnknownVersion."""
        return cls(root, None if rev is None else resolve(root, rev))

    @cached_property
    def _listed(self) -> tuple[list[str], list[str]]:
        """The pointers, locks and pipelines of this project; and folders that are named like pointers."""
        if self.commit is None:
            asked = [f":(glob)**/{name}" for name in _NAMES]
            names = {
                *ask_names(self.root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *asked)
            }
        else:
            names = {*ask_names(self.root, "ls-tree", "-r", "-z", "--name-only", self.commit)}
        inner = inner_projects(sorted(names))
        ours = {name for name in names if not name.startswith(inner)}
        folders = {match.group() for name in ours if ".dvc/" in name and (match := _POINTER_FOLDER.match(name))}
        files = {name for name in ours - folders if is_pointer(name) or posixpath.basename(name) in (LOCK, PIPELINE)}
        if self.commit is None:
            folders |= {name for name in files if (self.root / name).is_dir()}
            files = {name for name in files - folders if (self.root / name).is_file()}
        return sorted(files), sorted(folders)

    @property
    def files(self) -> list[str]:
        """Every `.dvc` file, `dvc.lock` and `dvc.yaml`, sorted."""
        return self._listed[0]

    @property
    def pointers(self) -> list[str]:
        """Every `.dvc` file and `dvc.lock`, sorted."""
        return [file for file in self.files if posixpath.basename(file) != PIPELINE]

    def text(self, path: str) -> bytes | None:
        """The bytes of a file of the commit or the work tree, None if there is none."""
        if path not in self._texts:
            self._texts[path] = (
                bytes_here(self.root / path) if self.commit is None else blob_at(self.root, self.commit, path)
            )
        return self._texts[path]

    @cached_property
    def pipelines(self) -> dict[str, bytes]:
        """The text of each `dvc.yaml`."""
        self._load()
        found = {file: self.text(file) for file in self.files if posixpath.basename(file) == PIPELINE}
        return {file: text for file, text in found.items() if text is not None}

    @cached_property
    def outs(self) -> list[PinnedOut]:
        """Every output of any kind, in the order of the files that pin them."""
        self._load()
        return [out for file in self.pointers for out in self._of_readable(file)]

    @cached_property
    def datasets(self) -> list[PinnedOut]:
        """The manifests among the outputs, by name: those that datapin wrote, and folders of shards alone."""
        ours = {file for file in self.pointers if not is_lock(file) and has_summary(self.text(file) or b"")}
        in_work_tree = self.commit is None
        return sorted(
            (
                out
                for out in self.outs
                if out.is_folder and (out.file in ours or self._cache.holds_manifest(out, in_work_tree=in_work_tree))
            ),
            key=lambda out: out.path,
        )

    @cached_property
    def unknown(self) -> list[PinnedOut]:
        """Folders that may be datasets, by name: DVC's list of their files is not on this machine."""
        known = {(out.path, out.md5) for out in self.datasets}
        folders = [out for out in self.outs if out.is_folder and (out.path, out.md5) not in known]
        return sorted((out for out in folders if self._cache.find(out.md5) is None), key=lambda out: out.path)

    @cached_property
    def possible(self) -> dict[str, PinnedOut]:
        """By name, the datasets, and folders of which nobody here can tell what they are."""
        return {out.path: out for out in (*self.datasets, *self.unknown)}

    @cached_property
    def unreadable(self) -> dict[str, DatapinError]:
        """Each pointer that may pin a dataset, each `dvc.lock`, and each folder in a pointer's place: what is wrong."""
        self._load()
        found: dict[str, DatapinError] = {}
        for folder in self._listed[1]:
            if self.commit is not None or _is_beside_manifest(self.root, folder):
                found[folder] = folder_in_place(self.root, folder)
        for file in self.pointers:
            error = self._read(file)
            if isinstance(error, DatapinError) and (is_lock(file) or self._may_pin_rows(file)):
                found[file] = error
        return found

    @property
    def unreadable_datasets(self) -> set[str]:
        """The datasets whose own pointer cannot be read: a pointer lies beside its dataset."""
        return {file.removesuffix(POINTER) for file in self.unreadable if file.endswith(POINTER)}

    @property
    def unreadable_locks(self) -> dict[str, DatapinError]:
        """The `dvc.lock` files that cannot be read: what they pin is not known."""
        return {file: error for file, error in self.unreadable.items() if not file.endswith(POINTER)}

    @property
    def names(self) -> list[str]:
        """Every dataset, sorted; those of pointers that cannot be read too."""
        return sorted({out.path for out in self.datasets} | self.unreadable_datasets)

    @property
    def unknown_outputs(self) -> list[str]:
        """Folders that stages have put out and of which nothing is here, as in a fresh clone: they may be datasets."""
        return sorted({out.path for out in self.unknown if out.stage is not None})

    def problem(self, file: str) -> DatapinError | None:
        """What is wrong with one pointer, None if it can be read or is not there."""
        found = self._read(file)
        return found if isinstance(found, DatapinError) else None

    def problems(self) -> dict[str, DatapinError]:
        """What is wrong, in the order of files: with any pointer or pipeline, and with folders in a pointer's place."""
        self._load()
        found: dict[str, DatapinError] = {}
        for file in self.files:
            try:
                error = self.problem(file) if posixpath.basename(file) != PIPELINE else None
                if posixpath.basename(file) == PIPELINE:
                    load_yaml(self.text(file) or b"", file)
                elif is_lock(file) and error is None:
                    read_lock_entries(self.text(file) or b"", file)
            except DatapinError as failed:
                error = failed
            if error is not None:
                found[file] = error
        return found | {folder: folder_in_place(self.root, folder) for folder in self._listed[1]}

    def check(self) -> None:
        """Raise the error of the first file that cannot be read, if there is one."""
        for error in self.unreadable.values():
            raise error

    def dataset(self, name: str) -> PinnedOut | None:
        """The folder that is pinned under this name, found without a look at all files; None if nothing pins it.

        Raises Refused or BadSettings if what may pin it cannot be read.
        """
        if self.is_of_inner_project(name):
            return None
        own = self.own(name)
        if own is not None:
            return own
        unreadable: DatapinError | None = None
        for lock in (file for file in self.files if is_lock(file)):
            # The last part of the path stands in the text as it is; most lock files are thus passed over unparsed.
            if posixpath.basename(name).encode() not in (self.text(lock) or b""):
                continue
            found = self._read(lock)
            if isinstance(found, DatapinError):
                unreadable = unreadable or found
                continue
            for out in found:
                if out.path == name and out.is_folder:
                    return out
        if unreadable is not None:
            raise unreadable
        return None

    def own(self, name: str) -> PinnedOut | None:
        """The folder that `<name>.dvc` pins under this name: no listing of all files, which takes time where many
        are untracked. Raises Refused or BadSettings if it cannot be read.
        """
        if self.is_of_inner_project(name):
            return None
        return next((out for out in self._own_outs(name) if out.path == name and out.is_folder), None)

    def has_own_pointer(self, name: str) -> bool:
        """Whether `<name>.dvc` pins the dataset and says so itself: no listing of all files is needed.

        False may mean that a stage or a plain `dvc add` pins it: `datasets` knows. Raises Refused or BadSettings.
        """
        if self.is_of_inner_project(name):
            return False
        found = self._own_outs(name)  # in any case: a text that was cut off does not say what it pinned
        return any(out.path == name for out in found) and has_summary(self.text(f"{name}{POINTER}") or b"")

    def is_stage_output(self, path: str) -> bool:
        """Whether a stage of the pipelines writes `path`, run or not run yet."""
        if self.text(f"{path}{POINTER}") is not None:
            return False
        if any(path in stage_outputs(text, file)[1] for file, text in self.pipelines.items()):
            return True
        out = self.dataset(path)
        return out is not None and out.stage is not None

    @cached_property
    def entries(self) -> dict[str, dict[str, LockEntry]]:
        """The entries of each `dvc.lock` that can be read, word for word."""
        found = {}
        for lock in (file for file in self.pointers if is_lock(file)):
            with suppress(DatapinError):
                found[lock] = read_lock_entries(self.text(lock) or b"", lock)
        return found

    @cached_property
    def stages(self) -> list[LockedStage]:
        """Every stage of every `dvc.lock` that can be read, as it ran last."""
        return [
            stage
            for lock in self.pointers
            if is_lock(lock) and not isinstance(self._read(lock), DatapinError)
            for stage in read_stages(self.text(lock) or b"", lock, self.folders(lock))
        ]

    def folders(self, lock: str) -> Mapping[str, str]:
        """The working folders of the stages of a `dvc.lock`. Raises BadSettings, Refused, ToolFailed."""
        return self._folders.of(beside(lock), self.text(beside(lock)) or b"", self.commit)

    def keeping(self, out: PinnedOut) -> Keeping:
        """How the output is kept. Raises BadSettings, Refused, ToolFailed."""
        file = beside(out.file) if out.stage is not None else out.file
        folders = self.folders(out.file) if out.stage is not None else {}
        return keeping_of(out, self.text(file) or b"", folders)

    def in_conflict(self) -> dict[str, DatapinError]:
        """Files that a merge left unresolved, as Git's index has it; DVC's own merge driver leaves no mark in them."""
        entries = ask_names(self.root, "ls-files", "--unmerged", "-z", "--", *_GLOBS)
        return {name: _unresolved(name) for name in sorted({entry.partition("\t")[2] for entry in entries})}

    def _load(self) -> None:
        """Every text of a commit in one question."""
        wanted = [file for file in self.files if file not in self._texts]
        if self.commit is not None and len(wanted) > 1 and not any("\n" in file for file in wanted):
            texts = iter_blobs(self.root, [f"{self.commit}:./{file}" for file in wanted])
            self._texts.update(zip(wanted, texts, strict=True))

    def _read(self, file: str) -> list[PinnedOut] | DatapinError:
        if file not in self._found:
            text = self.text(file)
            try:
                folders = self.folders(file) if is_lock(file) else {}
                self._found[file] = [] if text is None else outs_in(file, text, folders)
            except DatapinError as error:
                self._found[file] = with_cure(self.root, file, error)
        return self._found[file]

    def _own_outs(self, name: str) -> list[PinnedOut]:
        """What `<name>.dvc` pins, nothing if it is not there. Raises Refused or BadSettings if it cannot be read."""
        file = f"{name}{POINTER}"
        if self.commit is None and (self.root / file).is_dir() and _is_beside_manifest(self.root, file):
            raise folder_in_place(self.root, file)
        found = self._read(file)
        if isinstance(found, DatapinError):
            raise found
        return found

    def _of_readable(self, file: str) -> list[PinnedOut]:
        found = self._read(file)
        return [] if isinstance(found, DatapinError) else found

    def _may_pin_rows(self, file: str) -> bool:
        """Whether an unreadable `.dvc` file may be a dataset's: not if a folder with something else lies beside it."""
        if has_summary(self.text(file) or b"") or self.commit is not None:
            return True
        return not os.path.lexists(self.root / file.removesuffix(POINTER)) or _is_beside_manifest(self.root, file)

    def is_of_inner_project(self, path: str) -> bool:
        """Whether the path lies in the folder of a DVC project further down."""
        folders = folders_above(path)
        if self.commit is None or "\n" in path:
            return any((self.root / folder / PROJECT).is_file() for folder in folders)
        names = [f"{self.commit}:./{folder}/{PROJECT}" for folder in folders]
        return any(text is not None for text in iter_blobs(self.root, names))


def _unresolved(file: str) -> Refused:
    way = f"run {either_side(file)}"
    if file.endswith(POINTER):
        way = f"run `datapin resolve {shlex.quote(file.removesuffix(POINTER))}`; or {way.removeprefix('run ')}"
    return Refused(f"{file} is in conflict: a merge is not resolved", way)


def _is_beside_manifest(root: Path, file: str) -> bool:
    """Whether the folder that `file` is named after holds a manifest, as far as names tell."""
    return (root / file.removesuffix(POINTER) / "part-00000.parquet").is_file()
