"""Merges that are not ours: by DVC's own driver where it is set up, else line by line, as Git by itself would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from datapin.base.errors import ToolFailed
from datapin.base.processes import git_words, module_words
from datapin.git.ask import first_line

_TIMEOUT_S = 600.0
_LABELS = ("-L", "ours", "-L", "base", "-L", "theirs")


def merge_otherwise(top: Path, base: Path, ours: Path, theirs: Path, *, is_pointer: bool) -> bool:
    """Merge three files into the file `ours`; True if nothing is left in conflict. `top` is the work tree's top.

    Raises ToolFailed if Git cannot even leave a conflict.
    """
    if is_pointer and _has_dvcs_driver(top) and _merge_by_dvc(top, base, ours, theirs):
        return True
    # DVC's driver leaves no marks where it gives up (treeverse/dvc#8638).
    done = _run(git_words(top, "merge-file", *_LABELS, os.fspath(ours), os.fspath(base), os.fspath(theirs)), top)
    if done.returncode < 0 or done.returncode > 127:
        raise ToolFailed("git", f"`git merge-file`: {first_line(done.stderr)}")
    return done.returncode == 0


def _has_dvcs_driver(top: Path) -> bool:
    return _run(git_words(top, "config", "--get", "merge.dvc.driver"), top).returncode == 0


def _merge_by_dvc(top: Path, base: Path, ours: Path, theirs: Path) -> bool:
    before = ours.read_bytes()
    files = ["--ancestor", os.fspath(base), "--our", os.fspath(ours), "--their", os.fspath(theirs)]
    if _run(module_words("dvc", "git-hook", "merge-driver", *files), top).returncode == 0:
        return True
    ours.write_bytes(before)
    return False


def _run(words: list[str], top: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "LC_ALL": "C", "DVC_NO_ANALYTICS": "1"}
    try:
        return subprocess.run(words, cwd=top, capture_output=True, check=False, env=environment, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ToolFailed("git", f"a merge did not end within {_TIMEOUT_S:.0f} s") from None
