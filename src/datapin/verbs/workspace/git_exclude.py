"""Checked-out files stay out of Git: their folders are named in `info/exclude`, which is this clone's own (0029)."""

from __future__ import annotations

import os
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from datapin.base.errors import ToolFailed
from datapin.base.files import lock, make_directory, publish_bytes
from datapin.git.ask import exclude_file, top_directory
from datapin.git.index import ignoring_patterns
from datapin.trees.checkout.state import our_files
from datapin.trees.places import is_below
from datapin.verbs.workspace.workspace import Workspace

_BEGIN, _END = "# datapin: files that `datapin checkout` wrote", "# datapin: end"
_SPECIAL = "\\*?["
_MOST_LINES = 200


def leave_out_of_git(workspace: Workspace, target: Path, *, is_done: bool) -> None:
    """See to it that `git add -A` takes nothing that a checkout writes into `target`, and still all that is the user's.

    A folder that holds nothing else is named as a whole, before a file is written; of one that is partly the user's,
    those folders and files in it that are ours, once the checkout `is_done`. A folder outside this Git repository, one
    of another repository, and one that the user's own patterns ignore are left alone. What goes wrong is told.
    """
    try:
        if not is_done and target.is_dir() and any(target.iterdir()):
            return
        top = top_directory(workspace.root)
        if not is_below(str(target), str(top)) or _is_of_another_repository(target, top):
            return
        _leave_out(workspace, target, top, is_done=is_done)
    except (OSError, ToolFailed) as error:
        workspace.progress.note(f"{target}: Git was not told to leave it out ({error}); add it to .gitignore")


def _leave_out(workspace: Workspace, target: Path, top: Path, *, is_done: bool) -> None:
    file = exclude_file(workspace.root)
    name = target.relative_to(top).as_posix()
    whole = git_pattern(name + "/")
    if whole in _lines(file) or _is_ignored(top, name):
        return
    wanted = [whole]
    if is_done:
        is_all_ours, ours = _ours_below(str(target), "", our_files(workspace.cache / "checkout", target))
        if not is_all_ours:
            wanted = [git_pattern(f"{name}/{one}") for one in ours]
    if len(wanted) > _MOST_LINES or "\n" in name:
        what = f"{len(wanted)} checked-out files and folders lie among yours"
        workspace.progress.note(f"{target}: {what}, and Git sees them; add them to .gitignore")
        return
    with lock(workspace.scratch / "locks" / "git-exclude", what=str(file)):
        if _write(file, whole, wanted, top):
            what = "it" if wanted == [whole] else f"{len(wanted)} checked-out files and folders in it"
            workspace.progress.note(f"{name}: Git leaves {what} out (by {os.path.relpath(file, workspace.cwd)})")


def _write(file: Path, whole: str, wanted: list[str], top: Path) -> bool:
    """Put the lines `wanted` into our block, in place of those that speak of the same folder; whether it changed."""
    before = _lines(file)
    first, last = _block(before)
    kept = [
        line
        for line in before[first + 1 : last]
        # A folder of that name that the user makes later is none of ours. A linked worktree may still have one.
        if not line.startswith(whole) and ((top / _path(line)).exists() or (file.parent.parent / "worktrees").exists())
    ]
    if not wanted and not kept and first == last:
        return False
    after = [*before[:first], _BEGIN, *sorted({*kept, *wanted}), _END, *before[last + 1 :]]
    if after == before:
        return False
    make_directory(file.parent)
    publish_bytes(Path(os.path.realpath(file)), os.fsencode("".join(f"{line}\n" for line in after)))
    return bool(wanted)


def _block(lines: list[str]) -> tuple[int, int]:
    """Where our block begins and ends; both are the end where there is none."""
    with suppress(ValueError):
        first = lines.index(_BEGIN)
        return first, lines.index(_END, first)
    return len(lines), len(lines)


def _lines(file: Path) -> list[str]:
    try:
        return os.fsdecode(file.read_bytes()).splitlines()
    except FileNotFoundError:
        return []


def _is_ignored(top: Path, name: str) -> bool:
    """Whether a pattern of somebody's ignores the whole folder."""
    patterns = ignoring_patterns(top, [f"{name}/"])
    return bool(patterns and patterns[0]) and not (patterns or [""])[0].startswith("!")


def _is_of_another_repository(target: Path, top: Path) -> bool:
    return any(os.path.lexists(one / ".git") for one in (target, *target.parents) if is_below(str(one), str(top)))


def _ours_below(folder: str, prefix: str, ours: Set[str]) -> tuple[bool, list[str]]:
    """Whether a folder holds only files that are `ours`; and which folders and files in it are, as large as can be."""
    is_all, found, is_empty = True, [], True
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        is_empty = False
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            is_whole, inside = _ours_below(entry.path, f"{path}/", ours)
            found += [f"{path}/"] if is_whole else inside
            is_all &= is_whole
        elif path in ours:
            found.append(path)
        else:
            is_all = False
    return is_all and not is_empty, found


def git_pattern(name: str) -> str:
    """A line that Git matches with this path, from the top of the work tree, and no other."""
    escaped = "".join(f"\\{sign}" if sign in _SPECIAL else sign for sign in name)
    stripped = escaped.rstrip(" ")
    return "/" + stripped + "\\ " * (len(escaped) - len(stripped))


def _path(line: str) -> str:
    path, is_escaped = "", False
    for sign in line.removeprefix("/"):
        is_escaped = sign == "\\" and not is_escaped
        path += "" if is_escaped else sign
    return path
