"""Local state of earlier versions lay in `.datapin/`, in the work tree: the store moves once, the rest is made anew.

Packs, loose assets and index files are named by their bytes, so two stores become one file by file. Nothing that Git
tracks is taken: a commit could have brought it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from datapin.base import failpoints
from datapin.base.errors import Refused, StorageFailed
from datapin.base.files import fsync_directory, fsync_path, lock, make_directory, temporary_name
from datapin.base.progress import Progress
from datapin.base.settings import FOLDER
from datapin.base.state import can_write, state_of
from datapin.git.ask import ask_git

_STORE = "store"
_PARTS = ("packs", "assets", "index")  # what an index names is there before it


def move_old_store(root: Path, progress: Progress) -> None:
    """Bring the store that an earlier version left in the work tree to where stores lie now, whatever crashes.

    A place that cannot be written keeps its old store, which is not used. Raises Refused if Git tracks it,
    StorageFailed if the disk does not take it; the old store stays then.
    """
    old, state = root / FOLDER / _STORE, state_of(root)
    if not os.access(root / FOLDER, os.W_OK) or not can_write(state.shared):
        return
    if ask_git(root, "ls-files", "--", f"{FOLDER}/{_STORE}"):
        raise Refused(
            f"{FOLDER}/{_STORE} is tracked by Git, so it is not taken for this machine's store",
            f"run `git rm -r --cached -q {FOLDER}/{_STORE}` if it is yours, then `datapin init`",
        )
    try:
        make_directory(state.shared)
        with lock(state.shared / "move.lock", what="the move of the store"):
            if os.path.lexists(old):
                _move(old, state.store)
                where = os.path.relpath(state.store, root) if state.store.is_relative_to(root) else str(state.store)
                progress.note(
                    f"the local store has moved from {FOLDER}/{_STORE} to {where}, where no checkout removes it"
                )
    except OSError as error:
        raise StorageFailed("move", f"{FOLDER}/{_STORE}", error.strerror or str(error)) from None


def _move(old: Path, new: Path) -> None:
    if old.is_symlink():
        # Somebody has put it on another disk, where it stays.
        if os.path.lexists(new):
            for source, target in _files(old, new):
                _copy(source, target)
        else:
            os.symlink(old.resolve(), new)
            fsync_directory(new.parent)
        old.unlink()
        return
    if not os.path.lexists(new):
        try:
            os.rename(old, new)
            failpoints.hit("old-state.renamed")
            fsync_directory(new.parent)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
    for source, target in _files(old, new):
        _copy(source, target)
        failpoints.hit("old-state.file")
    shutil.rmtree(old)


def _files(old: Path, new: Path) -> Iterator[tuple[Path, Path]]:
    """What the new store lacks of the old one; the file with its format comes last, when it is one."""
    for part in _PARTS:
        for source in sorted(path for path in (old / part).rglob("*") if path.is_file()):
            target = new / source.relative_to(old)
            if not target.exists():
                yield source, target
    for source in sorted(path for path in old.glob("*.json") if path.is_file()):
        if not (new / source.name).exists():
            yield source, new / source.name


def _copy(source: Path, target: Path) -> None:
    """A copy: until all of it is there, the old store is whole, for the next try."""
    make_directory(target.parent)
    staged = target.parent / temporary_name()
    try:
        shutil.copyfile(source, staged)
        shutil.copymode(source, staged)
        fsync_path(staged)
        os.replace(staged, target)
    finally:
        staged.unlink(missing_ok=True)
    fsync_directory(target.parent)
