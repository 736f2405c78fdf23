"""Where local state lies: in Git's own folder, so that no commit can carry it and no checkout or clean removes it.

What all work trees share lies below `git rev-parse --git-common-dir`, what is one work tree's own below its
`--git-dir`, as git-lfs and git-annex do. Found by reading, without a process: every command asks.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

NAME = "datapin"
_EXPERIMENTS = (".dvc", "tmp", "exps")  # where `dvc exp run --temp` and `--queue` make their copies
_LONGEST_NAME, _LONGEST_TEXT = 200, 4096


@dataclass(frozen=True, slots=True)
class StatePlaces:
    """`shared` is one folder for all work trees of a repository, `own` this project's in this work tree."""

    shared: Path
    own: Path

    @property
    def store(self) -> Path:
        """The local store, unless `store.dir` says otherwise."""
        return self.shared / "store"

    @property
    def memo(self) -> Path:
        """Results of operators."""
        return self.shared / "memo"

    @property
    def objects(self) -> Path:
        """Manifests that commits pin, laid out as DVC's cache: versions survive the work tree that made them."""
        return self.shared / "objects"

    @property
    def kept(self) -> Path:
        """Copies of unsaved edits that a forced command replaced."""
        return self.shared / "kept"

    @property
    def scratch(self) -> Path:
        """Staged work, locks and journals."""
        return self.own / "tmp"

    @property
    def cache(self) -> Path:
        """What can be computed again at any time."""
        return self.own / "cache"


def state_of(root: Path) -> StatePlaces:
    """The places of the repository at `root`, a folder inside a Git work tree."""
    return _state_of(os.path.abspath(root))


@lru_cache(maxsize=64)
def _state_of(root: str) -> StatePlaces:
    here = Path(root)
    found = git_folders(here)
    if found is None:  # a folder without Git, as a stage may have that was given one: nothing there can be committed
        return StatePlaces(here / f".{NAME}", here / f".{NAME}")
    top, git, common = found
    own = git / NAME
    if here != top:
        own = own / "projects" / _one_name(here.relative_to(top).as_posix())
    return StatePlaces(_shared_of_origin(here) or common / NAME, own)


def git_folders(start: Path) -> tuple[Path, Path, Path] | None:
    """The top of the work tree around `start`, its Git folder and the one that all its work trees share."""
    for top in (start, *start.parents):
        place = top / ".git"
        if place.is_dir():
            git = place
        elif place.is_file() and (text := _text(place)).startswith("gitdir:"):
            git = Path(os.path.normpath(top / text.removeprefix("gitdir:").strip()))
        else:
            continue
        common = _text(git / "commondir").strip()
        return top, git, Path(os.path.normpath(git / common)) if common else git
    return None


def _shared_of_origin(root: Path) -> Path | None:
    """The shared folder of the repository whose experiment runs here: it has the assets, this copy is thrown away."""
    parts = root.parts
    for place in range(len(parts) - len(_EXPERIMENTS) - 1, 0, -1):
        if parts[place : place + len(_EXPERIMENTS)] == _EXPERIMENTS:
            return state_of(Path(*parts[:place])).shared
    return None


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError), path.open(encoding="utf-8") as file:
        return file.read(_LONGEST_TEXT)
    return ""


def _one_name(folder: str) -> str:
    name = quote(folder, safe="")
    return name if len(name) <= _LONGEST_NAME else hashlib.sha256(folder.encode()).hexdigest()


def slug_of(name: str) -> str:
    """A file's name that stands for `name`, whatever signs that has."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def can_write(place: Path) -> bool:
    """Whether files can be made at `place`, or the folders that lead there."""
    return os.access(next(one for one in (place, *place.parents) if one.exists()), os.W_OK)


@lru_cache(maxsize=64)
def cache_of(root: Path) -> Path:
    """The work tree's cache; where nothing can be written there, one that goes with this process: reading must work."""
    place = state_of(root).cache
    if can_write(place):
        return place
    import tempfile  # here: it takes 5 ms, and every command loads this module

    passing = tempfile.mkdtemp(prefix=f"{NAME}-")
    atexit.register(shutil.rmtree, passing, ignore_errors=True)
    return Path(passing)


def folder_to_stage(scratch: Path, target: Path) -> Path:
    """Where something can be made that is renamed to `target`: `scratch` if it is on that file system, else beside."""
    parent = next(folder for folder in (target.parent, *target.parents) if folder.is_dir())
    return scratch if parent.stat().st_dev == scratch.stat().st_dev else parent
