"""What helps where a pointer cannot be read: the last state of it that can, found in Git."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from datapin.base.errors import BadSettings, DatapinError
from datapin.dvcfiles.outs import read_lock, read_pointer
from datapin.git.ask import ask_git, has_commit, iter_blobs

_MOST_COMMITS = 200

Unread = TypeVar("Unread", bound=DatapinError)


def folder_in_place(root: Path, file: str) -> BadSettings:
    """The error for a folder that has the name of a pointer; `file` is its path."""
    name = shlex.quote(file)
    way = _way_back(root, file)
    ways = f"move it away with `mv {name} {name}.moved`" + (f", then `{way} -- {name}`" if way is not None else "")
    return BadSettings(file, "", "is a folder, expected a pointer: it pins nothing", ways)


def with_cure(root: Path, file: str, error: Unread) -> Unread:
    """The same error with the command that brings back the last state of the pointer `file` that can be read."""
    if not isinstance(error, BadSettings) or (root / file).is_dir():
        return error
    name, way = shlex.quote(file), _way_back(root, file)
    if way is not None:
        return replace(error, advice=f"bring it back with `{way} -- {name}`")
    if not file.endswith(".dvc"):
        return replace(error, advice=f"no commit has it in a readable state: remove it (`rm {name}`), then `dvc repro`")
    none = "no commit has it in a readable state"
    return replace(error, advice=f"{none}: remove it (`rm {name}`), then pin its folder anew with `dvc add`")


def commit_of_another(root: Path, file: str, md5: str) -> str | None:
    """The newest commit whose pointer `file` can be read and pins something else than `md5`; None if there is none."""
    commits = _commits(root, file)
    for commit, text in zip(commits, iter_blobs(root, [f"{commit}:./{file}" for commit in commits]), strict=True):
        with suppress(DatapinError):
            if text is not None and all(out.md5 != md5 for out in read_pointer(text, file)):
                return commit
    return None


def _commits(root: Path, file: str) -> list[str]:
    """The commits that changed `file`, newest first."""
    if "\n" in file or not has_commit(root):
        return []
    asked = ("log", f"-n{_MOST_COMMITS}", "--format=%h", "--no-show-signature", "--", file)
    return ask_git(root, *asked).decode().split()


def _way_back(root: Path, file: str) -> str | None:
    """The command, less its path, that writes the last readable state: of Git's index, or of a commit."""
    if "\n" in file:
        return None
    commits = _commits(root, file)
    places = [f":./{file}", *(f"{commit}:./{file}" for commit in ["HEAD", *commits])]
    ways = ["git checkout", *(f"git checkout {commit}" for commit in ["HEAD", *commits])]
    for way, text in zip(ways, iter_blobs(root, places), strict=True):
        if text is not None and _is_readable(text, file):
            return way
    return None


def _is_readable(text: bytes, file: str) -> bool:
    try:
        if file.endswith(".dvc"):
            read_pointer(text, file)
        else:
            read_lock(text, file, {})
    except DatapinError:
        return False
    return True
