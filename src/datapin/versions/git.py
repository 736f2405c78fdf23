"""What Git knows. Questions that `status` asks go to the `git` command: 3 ms, where importing GitPython takes 70."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from datapin.base.errors import NoRepository, ToolFailed, UnknownVersion

_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class CommitState:
    """Where the work tree stands: the commit that is checked out (None before the first) and whether it was changed."""

    commit: str | None
    is_dirty: bool


def find_root(start: Path) -> Path:
    """The folder with `.dvc` around `start`: datapin's root, also where Git's is further up (`dvc init --subdir`).

    Raises NoRepository if there is no Git repository around `start`, or none with DVC.
    """
    here = start.resolve()
    root: Path | None = None
    for folder in (here, *here.parents):
        if root is None and (folder / ".dvc").is_dir():
            root = folder
        if (folder / ".git").exists():
            if root is None:
                raise NoRepository(path=str(start), lacks="DVC")
            return root
    raise NoRepository(path=str(start), lacks="Git")


def git_version() -> tuple[int, ...]:
    """The version of the `git` command, for example (2, 39, 5)."""
    text = _run(Path.cwd(), "--version").decode()
    match = re.search(r"\d+(?:\.\d+)+", text)
    if match is None:
        raise ToolFailed("git", f"says {text.strip()!r} instead of its version")
    return tuple(int(part) for part in match.group().split("."))


def has_commit(root: Path) -> bool:
    """Whether anything was committed yet."""
    return _output(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") is not None


def resolve(root: Path, rev: str) -> str:
    """The commit id that `rev` names. Raises UnknownVersion."""
    if rev and not rev.startswith("-") and ":" not in rev:
        answer = _output(root, "rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}")
        if answer is not None:
            return answer.decode().strip()
    raise UnknownVersion(selector=rev, problem="no such revision in Git")


def blob_at(root: Path, rev: str, path: str) -> bytes | None:
    """The bytes of the file `path` (relative to `root`) in revision `rev`, None if it has no such file.

    Raises UnknownVersion if there is no such revision.
    """
    if rev and not rev.startswith("-") and ":" not in rev:
        answer = _output(root, "cat-file", "blob", f"{rev}:./{path}")
        if answer is not None:
            return answer
    resolve(root, rev)
    return None


def commit_state(root: Path) -> CommitState:
    """The commit that is checked out, and whether tracked files differ from it."""
    import git

    try:
        with git.Repo(root, search_parent_directories=True) as repository:
            commit = repository.head.commit.hexsha if repository.head.is_valid() else None
            return CommitState(commit, repository.is_dirty(untracked_files=False))
    except git.GitError as error:
        raise ToolFailed("git", " ".join(str(error).split())) from None


def files_named(root: Path, *patterns: str, rev: str | None = None) -> list[str]:
    """Files below `root` whose names match a pattern (`*.dvc`), sorted: tracked or not, but not git-ignored.

    With `rev`, those of that revision; a pattern is then the end of a name without `*`.
    """
    if rev is not None:
        ends = tuple(pattern.removeprefix("*") for pattern in patterns)
        listing = _run(root, "ls-tree", "-r", "-z", "--name-only", resolve(root, rev))
        return sorted(name for name in _names(listing) if name.endswith(ends))
    selection = [f":(glob)**/{pattern}" for pattern in patterns]
    listing = _run(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *selection)
    return sorted(name for name in _names(listing) if (root / name).is_file())


def is_ignored(root: Path, path: Path) -> bool:
    """Whether Git ignores `path`."""
    return _output(root, "check-ignore", "--quiet", "--", os.fspath(path)) is not None


def _output(root: Path, *arguments: str) -> bytes | None:
    """What git prints, None if it answers no (status 1) or has no such thing (status 128)."""
    done = _call(root, *arguments)
    if done.returncode == 0:
        return done.stdout
    if b"dubious ownership" in done.stderr or b"not a git repository" in done.stderr:
        raise ToolFailed("git", _first_line(done.stderr))
    return None


def _run(root: Path, *arguments: str) -> bytes:
    done = _call(root, *arguments)
    if done.returncode != 0:
        raise ToolFailed("git", f"`git {arguments[0]}` ended with {done.returncode}: {_first_line(done.stderr)}")
    return done.stdout


def _call(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    # Messages are matched above, and a question must not wait for the lock that refreshing the index takes.
    environment = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(
            ["git", "-C", os.fspath(root), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=environment,
            timeout=_TIMEOUT_S,
        )
    except FileNotFoundError:
        raise ToolFailed("git", "the command is not installed") from None
    except subprocess.TimeoutExpired:
        raise ToolFailed("git", f"`git {arguments[0]}` did not answer within {_TIMEOUT_S:.0f} s") from None


def _names(listing: bytes) -> set[str]:
    return {os.fsdecode(name) for name in listing.split(b"\0") if name}


def _first_line(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[0] if lines else "no message"
