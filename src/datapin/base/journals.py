"""Journals of steps that must be finished after a crash, and the swap of whole directories that needs one.

A journal names places relative to the repository or to its scratch folder, so that one in a copied repository speaks of
the copy; each is checked when it is read. What is not ours to finish is set aside, never followed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from datapin.base import failpoints
from datapin.base.documents import read_json
from datapin.base.errors import DamagedJournal
from datapin.base.files import TEMPORARY_PREFIX, fsync_directory, is_left_over, make_directory, publish_bytes

SET_ASIDE = "set-aside"
_IN_TREE, _IN_SCRATCH = "tree:", "scratch:"
_NEVER = frozenset({".git", ".dvc", ".datapin"})
_STAGED = re.compile(re.escape(TEMPORARY_PREFIX) + r"[1-9][0-9]*-[0-9a-f]{16}(\.old)?\Z")
_LARGEST_BYTES = 64 << 20


class ForeignPlace(ValueError):
    """A journal names a place that no command of ours would have written there."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """What the places in a journal are relative to: the repository's root, and its scratch folder."""

    root: Path
    scratch: Path

    def named(self, path: Path | str) -> str:
        """The place as a journal names it. Raises ValueError for one that is below neither."""
        path = Path(path)
        if path.is_relative_to(self.scratch):
            return _IN_SCRATCH + path.relative_to(self.scratch).as_posix()
        return _IN_TREE + path.relative_to(self.root).as_posix()

    def target(self, text: Any) -> Path:
        """A place in the work tree that a command puts something in. Raises ForeignPlace."""
        return self._below(self.root, self._relative(text, _IN_TREE), text)

    def staged(self, text: Any) -> Path:
        """A temporary name of ours, in the scratch folder or beside a target. Raises ForeignPlace."""
        is_scratch = isinstance(text, str) and text.startswith(_IN_SCRATCH)
        name = self._relative(text, _IN_SCRATCH if is_scratch else _IN_TREE)
        if not _STAGED.match(name.name):
            raise ForeignPlace(f"{text!r} is no temporary name of datapin's")
        return self._below(self.scratch if is_scratch else self.root, name, text)

    def _relative(self, text: Any, kind: str) -> PurePosixPath:
        if not isinstance(text, str) or not text.startswith(kind) or "\0" in text:
            raise ForeignPlace(f"{text!r} is no place in {'the repository' if kind == _IN_TREE else 'its scratch'}")
        name = text.removeprefix(kind)
        parts = name.split("/")
        if any(part in ("", ".", "..") for part in parts) or (kind == _IN_TREE and _NEVER & {p.lower() for p in parts}):
            raise ForeignPlace(f"{text!r} is outside of what a command may write")
        return PurePosixPath(name)

    @staticmethod
    def _below(top: Path, name: PurePosixPath, text: Any) -> Path:
        path = top / name
        # A link in between leads elsewhere, wherever it came from.
        if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(top)):
            raise ForeignPlace(f"{text!r} leads outside by a link")
        return path


def read_journal(journal: Path) -> dict[str, Any]:
    """What a journal says. Raises ForeignPlace if it is none, FileNotFoundError."""
    with journal.open("rb") as file:
        data = file.read(_LARGEST_BYTES + 1)
    try:
        said = read_json(data, str(journal), most_bytes=_LARGEST_BYTES)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ForeignPlace("it does not parse")
    return said


def set_aside(journal: Path, scratch: Path, problem: str) -> DamagedJournal:
    """Take a journal out of the way, with what dead commands left in the scratch folder; the error to tell."""
    folder = scratch / SET_ASIDE
    make_directory(folder)
    others = {*scratch.glob("*.json"), *scratch.glob("journal/*"), *scratch.glob("rollback/*")} - {journal}
    needed = b"".join(path.read_bytes() for path in others if path.is_file())
    for entry in os.scandir(scratch):
        if is_left_over(entry.name) and entry.name.removesuffix(".old").encode() not in needed:
            with suppress(OSError):
                os.rename(entry.path, folder / entry.name)
    number = 0
    while (place := folder / f"{journal.name}.{number}").exists():
        number += 1
    with suppress(FileNotFoundError):  # another command was first
        os.rename(journal, place)
    fsync_directory(folder)
    return DamagedJournal(str(journal), problem)


def swap_directory(staged: Path, target: Path, journal: Path, anchors: Anchors) -> None:
    """Put the directory `staged` in the place of `target`: afterwards `target` is the new one, whatever crashes.

    Everything in `staged` must be durable, and lie on the file system of `target`. Renaming a directory over a
    full one is not possible, so the old one steps aside first; `journal` says so, and `finish_swap` completes it.
    """
    plan = {"staged": anchors.named(staged), "target": anchors.named(target)}
    make_directory(journal.parent)
    publish_bytes(journal, json.dumps(plan).encode(), failpoint="files.swap.journal")
    finish_swap(journal, anchors)


def finish_swap(journal: Path, anchors: Anchors) -> bool:
    """Complete a swap that a crash cut off; True if there was one. Safe to call again after a crash in here.

    Raises DamagedJournal, once, for a journal that is not one of ours.
    """
    try:
        said = read_journal(journal)
        staged, target = anchors.staged(said.get("staged")), anchors.target(said.get("target"))
    except FileNotFoundError:
        return False
    except ForeignPlace as error:
        raise set_aside(journal, anchors.scratch, str(error)) from None
    aside = staged.parent / f"{staged.name}.old"
    if staged.is_dir():
        if target.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(target, aside)
            failpoints.hit("files.swap.aside")
        make_directory(target.parent)
        os.rename(staged, target)
        failpoints.hit("files.swap.placed")
        fsync_directory(target.parent)
        fsync_directory(staged.parent)
    elif aside.is_dir() and not target.is_dir():
        # Somebody took the staged directory away between the two renames: the old one comes back.
        os.rename(aside, target)
        fsync_directory(target.parent)
    journal.unlink()
    fsync_directory(journal.parent)
    failpoints.hit("files.swap.done")
    shutil.rmtree(aside, ignore_errors=True)
    return True
