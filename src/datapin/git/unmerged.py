"""What Git's index keeps of a file in conflict: the common version, ours and theirs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datapin.git.ask import ask_names, iter_blobs

_BASE, _OURS, _THEIRS = "1", "2", "3"


@dataclass(frozen=True, slots=True)
class UnmergedFile:
    """The three versions; `base` is empty if there is no common one, a side None if it has removed the file."""

    base: bytes
    ours: bytes | None
    theirs: bytes | None


def find_unmerged(root: Path, file: str) -> UnmergedFile | None:
    """The versions of `file` (relative to `root`) in Git's index, None if it is not in conflict."""
    blobs: dict[str, str] = {}
    for entry in ask_names(root, "ls-files", "--unmerged", "-z", "--", f":(literal){file}"):
        _, blob, stage = entry.partition("\t")[0].split(" ")
        blobs[stage] = blob
    if not blobs:
        return None
    texts = dict(zip(blobs, iter_blobs(root, list(blobs.values())), strict=True))
    return UnmergedFile(texts.get(_BASE) or b"", texts.get(_OURS), texts.get(_THEIRS))
