"""The place where verbs work: repository root, settings, local store, and where each dataset lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from datapin.base import log
from datapin.base.errors import BadSettings, NoRepository, Refused, UnknownDataset, Usage
from datapin.base.progress import Progress
from datapin.base.settings import CONFIG, FOLDER, Settings, read_settings
from datapin.base.state import StatePlaces, cache_of, can_write, state_of
from datapin.git.ask import find_root
from datapin.pins.read import Pins
from datapin.rollback.journal import TreeToWrite, finish_rollback, is_rollback_cut_off
from datapin.verbs.workspace import placing
from datapin.verbs.workspace.old_state import move_old_store

if TYPE_CHECKING:
    from datapin.rollback.trees import TreeOutlook
    from datapin.store.store import Store

_MOST_BYTES = 255 - len(".dvc")  # of a name's part, on most file systems


@dataclass(frozen=True)
class Workspace:
    """One repository as verbs see it. `cwd` is where the user stands: dataset names are relative to it first."""

    root: Path
    cwd: Path
    settings: Settings
    progress: Progress
    jobs: int

    @classmethod
    def find(cls, start: Path, *, progress: Progress, jobs: int | None = None, must_be_ready: bool = True) -> Workspace:
        """The repository around `start`.

        Raises NoRepository if Git, DVC or (unless `must_be_ready` is False) datapin is not set up there.
        """
        cwd = start.resolve()
        root = find_root(cwd)
        if must_be_ready and not (root / FOLDER / CONFIG).is_file():
            raise NoRepository(path=str(start), lacks="datapin")
        settings = read_settings(root)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workspace = cls(root=root, cwd=cwd, settings=settings, progress=progress, jobs=jobs or settings.jobs or cores)
        log.detail("workspace", "%s, %d jobs, %s", root, workspace.jobs, settings)
        if settings.store.dir is None and os.path.lexists(root / FOLDER / "store"):
            move_old_store(root, progress)
        if must_be_ready:
            workspace.finish_rollback()
        return workspace

    @cached_property
    def store(self) -> Store:
        """The local store, made on first use."""
        # Late: verbs that read rows only need no store, and start sooner (decision 0015).
        from datapin.store.store import Store

        place = self.store_directory
        if not place.exists() and not can_write(place):
            place = self.cache / "store"  # an empty one: what reads only must not need to make one
        return Store.create(place, self.settings.store)

    @property
    def state(self) -> StatePlaces:
        """Where local state lies: in Git's own folder."""
        return state_of(self.root)

    @property
    def store_directory(self) -> Path:
        """Where the local store lies; `store.dir` may move it to a shared disk."""
        place = self.settings.store.dir
        return self.state.store if place is None else self.root / place

    @property
    def scratch(self) -> Path:
        """The work tree's own place for staged directories, locks and journals."""
        return self.state.scratch

    @property
    def cache(self) -> Path:
        """The work tree's own place for what can always be computed again."""
        return cache_of(self.root)

    def dataset_name(self, text: str, *, new: bool = False) -> str:
        """The dataset that the user means by `text`: a path below the repository, written with `/`.

        A name is tried relative to the user's folder first, then to the root; `new` allows one that does not exist.
        Raises Usage for a path outside, UnknownDataset if there is none.
        """
        if not text.strip():
            raise Usage("the dataset has no name", "name a folder below the repository, for example data/raw")
        beside, below = self._relative(self.cwd / text), self._relative(self.root / text)
        if new or beside == below:
            return self._checked(beside, text) if new else self._known(self._checked(beside, text))
        for candidate in (beside, below):
            if candidate is not None and self._has(candidate):
                return candidate
        return self._known(self._checked(beside, text))

    def names_meant(self, text: str) -> list[str]:
        """What `text` may name, seen from the user's folder, then from the root, there or not. Raises Usage."""
        if not text.strip():
            return [self.dataset_name(text, new=True)]
        found = dict.fromkeys(self._relative(folder / text) for folder in (self.cwd, self.root))
        return [self._checked(name, text) for name in found if name not in (None, ".")] or [self._checked(None, text)]

    def known_name(self, text: str) -> str:
        """As `dataset_name`, also of a dataset whose pointer cannot be read: whoever needs the pointer is told then."""
        try:
            return self.dataset_name(text)
        except (BadSettings, Refused):
            unreadable = self.pins().unreadable_datasets
            for candidate in (self._relative(self.cwd / text), self._relative(self.root / text)):
                if candidate in unreadable:
                    return candidate
            raise

    def datasets(self) -> list[str]:
        """Every dataset of the work tree, sorted. Raises Refused or BadSettings if a pointer cannot be read."""
        found = self.pins()
        found.check()
        return found.names

    def pins(self) -> Pins:
        """What the work tree pins now, and which pointers cannot be read."""
        return Pins(self.root)

    def dataset_path(self, dataset: str) -> Path:
        """The manifest directory of a dataset."""
        return self.root / dataset

    @contextmanager
    def edit_lock(self, dataset: str) -> Iterator[None]:
        """Nobody else edits `dataset` meanwhile; a swap that a crash cut off is finished first."""
        with placing.edit_lock(self.root, dataset):
            self.finish_rollback()
            yield

    def recover(self, dataset: str) -> None:
        """Finish a swap that a crash cut off; wait for one that is under way."""
        if placing.is_placing(self.root, dataset) or self.is_rollback_cut_off:
            with self.edit_lock(dataset):
                pass

    @property
    def is_rollback_cut_off(self) -> bool:
        """Whether a rollback has begun to put things in place and has not ended; it may be under way."""
        return is_rollback_cut_off(self.scratch)

    def finish_rollback(self) -> None:
        """Finish a rollback that a crash cut off; wait for one that is under way."""
        for problem in finish_rollback(self.root, self.scratch, self.write_tree):
            self.progress.note(f"while finishing a rollback that was cut off: {problem.message}; {problem.hint}")

    def write_tree(self, tree: TreeToWrite, outlook: TreeOutlook | None = None) -> None:
        """Write the files of a checked-out tree that follows its dataset; `outlook` is of this command."""
        from datapin.rollback.trees import write_tree  # late: as the store

        state = self.cache / "checkout"
        write_tree(tree, outlook, store=self.store, state=state, jobs=self.jobs, progress=self.progress)

    def _relative(self, path: Path) -> str | None:
        normal = Path(os.path.normpath(path))
        return normal.relative_to(self.root).as_posix() if normal.is_relative_to(self.root) else None

    def _checked(self, name: str | None, text: str) -> str:
        parts = name.split("/") if name else []
        is_odd = "\0" in text or any(len(os.fsencode(part)) > _MOST_BYTES for part in parts)
        if name is None or name == "." or is_odd or any(part.casefold() in (".git", ".dvc", FOLDER) for part in parts):
            raise Usage(f"{text!r} cannot be a dataset", "name a folder below the repository, for example data/raw")
        return name

    def _has(self, name: str) -> bool:
        if Pins(self.root).has_own_pointer(name):
            return True
        found = self.pins()
        return name in found.names or name in found.unknown_outputs

    def _known(self, name: str) -> str:
        if Pins(self.root).has_own_pointer(name):
            return name
        found = self.pins()
        if name not in found.names and name not in found.unknown_outputs:
            for error in found.unreadable_locks.values():
                raise error  # it may be the one that pins `name`
            raise UnknownDataset(dataset=name, known=tuple(found.names))
        return name
