"""What Git ignores, tracks and has in its index, in conflict too; and to stage what was written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datapin.base.errors import ToolFailed
from datapin.base.processes import git_variables, git_words
from datapin.git.ask import ask_names, filters_off, first_line, iter_blobs, run_git

_BASE, _OURS, _THEIRS = "1", "2", "3"  # the index's numbers for what it keeps of a file in conflict


def ignoring_patterns(root: Path, paths: Sequence[str]) -> list[str] | None:
    """For each path, relative to `root`, the pattern that decides whether Git ignores it, "" if none speaks of it.

    A pattern with `!` decides against it. None if Git cannot tell. What is tracked counts as if it were not.
    """
    question = b"".join(os.fsencode(path) + b"\0" for path in paths)
    done = _git(root, "check-ignore", "--verbose", "--non-matching", "--no-index", "-z", "--stdin", given=question)
    patterns = [os.fsdecode(pattern) for pattern in done.stdout.split(b"\0")[2::4]]
    return patterns if done.returncode in (0, 1) and len(patterns) == len(paths) else None


def is_tracked(root: Path, path: str) -> bool:
    """Whether Git tracks `path` or anything below it."""
    done = _git(root, "--literal-pathspecs", "ls-files", "-z", "--", path)
    return done.returncode != 0 or bool(done.stdout)


def changed_files(root: Path, paths: Sequence[str]) -> list[str]:
    """Those of these files that Git does not have as they are: changed, staged, or not tracked; not what it ignores.

    All of them if Git cannot tell.
    """
    if not paths:
        return []
    status = ("status", "--porcelain", "-z", "--no-renames", "-uall", "--ignore-submodules=all")
    done = _git(root, "--literal-pathspecs", *status, "--", *paths, filters=False)
    below = _git(root, "rev-parse", "--show-prefix")  # Git names files from the top of its work tree
    if done.returncode != 0 or below.returncode != 0:
        return list(paths)
    prefix = os.fsdecode(below.stdout.removesuffix(b"\n"))
    names = {os.fsdecode(line[3:]) for line in done.stdout.split(b"\0")}
    return [path for path in paths if f"{prefix}{path}" in names]


def stage(root: Path, paths: Sequence[str]) -> None:
    """Put these files into Git's index. Raises ToolFailed."""
    done = _git(root, "--literal-pathspecs", "add", "--", *paths, filters=False)
    if done.returncode != 0:
        raise ToolFailed("git", f"`git add {' '.join(paths)}`: {first_line(done.stderr)}")


def _git(root: Path, *arguments: str, given: bytes = b"", filters: bool = True) -> subprocess.CompletedProcess[bytes]:
    off = {} if filters else git_variables(filters_off(root))
    return run_git(git_words(root, *arguments), arguments[0], {**os.environ, **off, "LC_ALL": "C"}, given)


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
