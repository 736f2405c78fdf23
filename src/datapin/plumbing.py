"""The door for programs: what Git's hooks and drivers and shells call; not for people.

As in `Repo`, what a function needs is loaded when it is called (decision 0035).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapin.base.errors import DatapinError
from datapin.base.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

    from datapin.verbs.merging.merge import MergeReport


def run_hook(hook: str, words: Sequence[str], progress: Progress) -> None:
    """Do datapin's part of the Git hook that was called with `words` in the current folder."""
    from datapin.verbs.hooks.run_hook import run_hook

    run_hook(hook, words, progress)


def pointer_text(data: bytes, start: Path) -> bytes:
    """A stable text of the pointer whose bytes are `data`, for `git diff`."""
    from datapin.verbs.hooks.textconv import pointer_text

    return pointer_text(data, start)


def merge_pointer(
    base: Path, ours: Path, theirs: Path, name: str, *, top: Path, progress: Progress, is_inner: bool = False
) -> MergeReport:
    """Merge three versions of the pointer `name` (relative to the work tree's `top`) into the file `ours`."""
    from datapin.verbs.merging.merge import merge_pointer

    return merge_pointer(base, ours, theirs, name, top=top, progress=progress, is_inner=is_inner)


def merge_lock(base: Path, ours: Path, theirs: Path, name: str, *, top: Path) -> MergeReport:
    """Merge three versions of the `dvc.lock` called `name` into the file `ours`, stage by stage."""
    from datapin.verbs.merging.merge import merge_lock

    return merge_lock(base, ours, theirs, name, top=top)


def hint_here(error: DatapinError) -> str:
    """The error's hint, or what heals the repository around the current folder."""
    from datapin.verbs.remote.healing import hint_here

    return hint_here(error)


def cells(table: pa.Table) -> list[list[Any]]:
    """The columns of what `Repo.ls` or `Repo.query` gave, as Python values, or the text that shows them."""
    from datapin.manifest.columns.values import python_values

    return [python_values(column) for column in table.columns]


def find_root(start: Path) -> Path:
    """The top of the repository around `start`, set up or not."""
    from datapin.git.ask import find_root

    return find_root(start)


def git_lines(root: Path, *words: str) -> list[str]:
    """What Git answers to a question, line by line."""
    from datapin.git.ask import ask_git

    return ask_git(root, *words).decode("utf-8", "replace").splitlines()


def remote_names(root: Path) -> list[str]:
    """The remotes of DVC's settings."""
    from datapin.dvcfiles.settings import remote_names

    return remote_names(root)


def dataset_names(root: Path) -> list[str]:
    """The datasets that the work tree pins."""
    from datapin.pins.read import Pins

    return Pins(root).names


def column_names(shard: Path) -> list[str]:
    """The columns of a file of rows, without Arrow; none if it cannot be read."""
    from datapin.manifest.files.column_names import column_names

    return column_names(shard)
