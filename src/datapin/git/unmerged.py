"""What Git's index keeps of a file in conflict: the common version, ours and theirs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from datapin.git.ask import ask_git, iter_blobs

_BASE, _OURS, _THEIRS = "1", "2", "3"


@dataclass(frozen=True, slots=True)
class UnmergedFile:
    """The three versions; `base` is empty if there is no common one, a side None if it has removed the file."""

    base: bytes
    ours: bytes | None
    theirs: bytes | None


def find_unmerged(root: Path, file: str) -> UnmergedFile | None:
    """The versions of `file` (relative to `root`) in Git's index, None if it is not in conflict."""
    said = ask_git(root, "ls-files", "--unmerged", "-z", "--", f":(literal){file}")
    blobs: dict[str, str] = {}
    for entry in said.split(b"\0"):
        words, _, _ = os.fsdecode(entry).partition("\t")
        if words:
            _, blob, stage = words.split(" ")
            blobs[stage] = blob
    if not blobs:
        return None
    texts = dict(zip(blobs, iter_blobs(root, list(blobs.values())), strict=True))
    return UnmergedFile(texts.get(_BASE) or b"", texts.get(_OURS), texts.get(_THEIRS))


def unmerged_pointers(root: Path) -> list[str]:
    """Every `.dvc` file below `root` that is in conflict, sorted."""
    said = ask_git(root, "ls-files", "--unmerged", "-z", "--", ":(glob)**/*.dvc")
    return sorted({os.fsdecode(entry).partition("\t")[2] for entry in said.split(b"\0") if entry})
