"""Git's settings of one repository, and the attributes that it gives to files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from datapin.git.ask import ask_git, ask_names


def local_settings(root: Path) -> dict[str, str]:
    """The repository's own settings, which all of its worktrees share: name and last value."""
    entries = ask_names(root, "config", "--local", "--null", "--list")
    return {name: value for name, _, value in (entry.partition("\n") for entry in entries)}


def set_locally(root: Path, name: str, value: str) -> None:
    """Set one of the repository's own settings, in place of all values that it has."""
    ask_git(root, "config", "--local", "--replace-all", name, value)


def unset_locally(root: Path, name: str) -> None:
    """Remove one of the repository's own settings, which must be there."""
    ask_git(root, "config", "--local", "--unset-all", name)


def local_settings_file(root: Path) -> Path:
    """The file that holds the repository's own settings."""
    folder = root / os.fsdecode(ask_git(root, "rev-parse", "--git-common-dir").removesuffix(b"\n"))
    return Path(os.path.normpath(folder / "config"))


def attributes(root: Path, file: str, names: Sequence[str]) -> dict[str, str]:
    """What `.gitattributes` say about the file (relative to `root`): a value, or Git's words such as `unspecified`."""
    words = os.fsdecode(ask_git(root, "check-attr", "-z", *names, "--", file)).split("\0")
    return dict(zip(words[1::3], words[2::3], strict=False))
