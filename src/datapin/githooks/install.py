"""Hooks in the folder where Git looks for them: written beside whatever the user, DVC or another tool has there.

Stock `dvc install` cannot do it: it ignores `core.hooksPath`, fails in a linked worktree, and gives up if there is any
hook. Our pre-push hook does not call DVC's: `dvc push` would send every output of the work tree, and refuse the push
if one was never computed here; who wants that runs `dvc install`, and both hooks share the file.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datapin.base.files import fsync_path, make_directory, publish_file, temporary_name
from datapin.base.findings import Finding
from datapin.base.state import git_folders
from datapin.git.ask import hooks_directory
from datapin.git.git_settings import local_settings, set_locally, unset_locally
from datapin.githooks.block import (
    FOLLOWING,
    HOOKS,
    block_of,
    has_block,
    is_current,
    is_shell,
    with_block,
    without_block,
)

_WANTED = "datapin.hooks"
_INSTALL = "run `datapin init --hooks`"
_WITHOUT_PUSH = "no hook sees to it that pushed commits have their data on the remote"
_WITHOUT_FOLLOWING = "no hook makes manifests follow `git checkout`, `merge`, `pull`, `rebase` and `reset`"


@dataclass(frozen=True, slots=True)
class LeftHook:
    """A hook that is not ours to edit: which, why, and what to do."""

    file: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class InstalledFiles:
    """Files that were written, changed or removed, relative to the root where they lie below it."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    left: list[LeftHook] = field(default_factory=list)


def install_hooks(root: Path) -> InstalledFiles:
    """Put our part into each hook that Git would run for the repository at `root`; safe to repeat."""
    changes = InstalledFiles()
    folder = hooks_directory(root)
    for hook in HOOKS:
        path = folder / hook
        left = _reason_to_leave(root, path, hook)
        if left is not None:
            changes.left.append(left)
            continue
        old = _text(path)
        new = with_block(old or "", block_of(hook, _command(root, path)))
        if old == new and os.access(path, os.X_OK):
            continue
        make_directory(folder)
        _write(path, new)
        (changes.created if old is None else changes.changed).append(shown(root, path))
    return changes


def remove_hooks(root: Path) -> InstalledFiles:
    """Take our part out again, also where `core.hooksPath` no longer leads; a hook with nothing else in it goes."""
    changes = InstalledFiles()
    for folder in _folders(root):
        for hook in HOOKS:
            path = folder / hook
            old = _text(path)
            if old is None or not has_block(old):
                continue
            new = without_block(old)
            if new:
                _write(path, new)
            else:
                path.unlink()
            changes.changed.append(shown(root, path))
    return changes


def hooks_are_refused(root: Path) -> bool:
    """Whether `datapin init --no-hooks` has said so in this repository's settings."""
    return local_settings(root).get(_WANTED) == "false"


def note_wish(root: Path, *, wanted: bool) -> None:
    """Remember for the next `init` whether this repository is to have our hooks."""
    if hooks_are_refused(root) == wanted:
        unset_locally(root, _WANTED) if wanted else set_locally(root, _WANTED, "false")


def lacks_hooks(root: Path) -> bool:
    """Whether our hooks are missing here, and nobody wanted it so; quick where they lie in their usual place."""
    found = git_folders(root)
    texts = [] if found is None else [_text(found[2] / "hooks" / hook) for hook in HOOKS]
    if texts and all(text is not None and has_block(text) for text in texts):
        return False
    return not hooks_are_refused(root) and bool(hooks_state(root))


def hooks_state(root: Path) -> list[Finding]:
    """What is wrong with our hooks; a note if there are none. What is true of several is said of the first one."""
    findings: dict[tuple[str, str], Finding] = {}
    folders = _folders(root)
    refused = hooks_are_refused(root)
    for hook in HOOKS:
        found = _state_of(root, folders, hook, is_refused=refused)
        if found is not None:
            findings.setdefault((found.message, found.hint), found)
    return list(findings.values())


def _state_of(root: Path, folders: Sequence[Path], hook: str, *, is_refused: bool) -> Finding | None:
    active, *others = folders
    path = active / hook
    text = _text(path)
    where = shown(root, path)
    if text is not None and has_block(text):
        if not os.access(path, os.X_OK):
            message = "the hook is not executable, so Git does not run it"
            return Finding("warning", "hooks", where, message, f"run `chmod +x {where}`")
        if not is_current(text, hook):
            message = "datapin's part of the hook is another version's, or not at its beginning"
            return Finding("warning", "hooks", where, message, _INSTALL)
        return None
    for folder in others:
        if has_block(_text(folder / hook) or ""):
            message = f"Git looks for hooks in {shown(root, active)}, datapin's is in {shown(root, folder)}"
            return Finding("warning", "hooks", where, message, _INSTALL)
    if _runs_under_pre_commit(root, text or "", hook):
        return None
    return Finding(
        "note" if is_refused else "warning",
        "hooks",
        where,
        _WITHOUT_FOLLOWING if hook in FOLLOWING else _WITHOUT_PUSH,
        _INSTALL,
    )


def _folders(root: Path) -> list[Path]:
    """Where Git looks for hooks, and where it looked before somebody set `core.hooksPath`."""
    return list(dict.fromkeys((hooks_directory(root), hooks_directory(root, by_default=True))))


def _reason_to_leave(root: Path, path: Path, hook: str) -> LeftHook | None:
    name = shown(root, path)
    again = "then run `datapin init --hooks` again"
    if path.parent.exists() and not path.parent.is_dir():
        advice = f"run `git config --unset core.hooksPath`, {again}"
        return LeftHook(name, f"{path.parent} is no folder, so Git runs no hooks", advice)
    if path.is_symlink() and not path.exists():
        return LeftHook(name, "it is a link to nothing", f"remove it, {again}")
    text = _text(path)
    if text is None:
        return None
    if not is_shell(text):
        call = f'let it call `git-datapin hook {hook} "$@"`'
        advice = call if hook in FOLLOWING else f"{call} with its own stdin first, and fail if that fails"
        return LeftHook(name, "it is no shell script", advice)
    if not os.access(path, os.X_OK) and not has_block(text):
        # Making it executable would switch on what somebody has switched off.
        return LeftHook(name, "it is not executable, so Git does not run it", f"`chmod +x` or remove it, {again}")
    return None


def _runs_under_pre_commit(root: Path, text: str, hook: str) -> bool:
    """Whether the pre-commit tool runs our hook: it writes the file anew, and knows us by its own settings."""
    settings = _text(root / ".pre-commit-config.yaml") or ""
    return "pre-commit" in text and f"datapin-{hook}" in settings


def _command(root: Path, path: Path) -> Path | None:
    """This installation's `git-datapin`; None for a hook in the work tree, which may be committed for others."""
    is_shared = path.resolve().is_relative_to(root.resolve()) and ".git" not in path.resolve().parts
    return None if is_shared else own_command()


def own_command() -> Path | None:
    """This installation's `git-datapin`, for where none is on PATH, as in a graphical client."""
    command = Path(sys.executable).parent / "git-datapin"
    return command if command.is_file() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write(path: Path, text: str) -> None:
    """Write a hook at once and executable; a link keeps leading to it."""
    path = path.resolve()
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o777 & ~_umask()
    temporary = path.parent / temporary_name()
    temporary.write_bytes(text.encode("utf-8", "surrogateescape"))
    temporary.chmod(mode | stat.S_IXUSR | (mode & (stat.S_IRGRP | stat.S_IROTH)) >> 2)
    fsync_path(temporary)
    publish_file(temporary, path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def shown(root: Path, path: Path) -> str:
    """The path, relative to the root where it lies below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
