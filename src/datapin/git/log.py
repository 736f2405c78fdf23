"""Git's history as the log of a dataset needs it: commits that changed some files, tags, renames; one call each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datapin.git.ask import ask_git, git_path

_LOG = (
    "log", "--date-order", "-z", "--no-show-signature", "--encoding=UTF-8",
    "--format=%H%x00%P%x00%ct%x00%aN%x00%aI%x00%s",
)  # fmt: skip
_FIELDS = 6


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a log; `parents` are the nearest commits before it that are in the log as well."""

    name: str
    parents: tuple[str, ...]
    time_s: int  # when it was committed
    author: str
    date: str  # ISO 8601: when its author made it
    subject: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, the commit that it is on, and when that was committed."""

    name: str
    commit: str
    time_s: int


@dataclass(frozen=True, slots=True)
class Departure:
    """A file that a commit has no more; `became` is the new file that Git finds similar to it."""

    file: str
    became: str | None


def log_of_files(
    root: Path, start: str, files: Sequence[str], names: Sequence[str], *, first_parent: bool = False
) -> list[Commit]:
    """The commits up to `start` (a commit id) that made `files`, or files of these `names` in any folder, as they are.

    Newest first. A merge that took all of them from one parent is passed over, and so are the other parents, as
    `git log -- FILE` does. With `first_parent` a merge is one change of its first parent.
    """
    # Two patterns at least, or the user's `log.follow` would apply.
    selection = [f":(literal){file}" for file in files] + [f":(glob)**/{name}" for name in names]
    lineage = ["--first-parent"] if first_parent else []
    commits = _read(ask_git(root, *_LOG, "--parents", *lineage, start, "--", *selection))
    return [replace(one, parents=one.parents[:1]) for one in commits] if first_parent else commits


def commits_named(root: Path, names: Sequence[str]) -> dict[str, Commit]:
    """These commits (whole ids), by id."""
    if not names:
        return {}
    asked = "".join(f"{name}\n" for name in names).encode()
    return {one.name: one for one in _read(ask_git(root, *_LOG, "--no-walk=unsorted", "--stdin", said=asked))}


def _read(said: bytes) -> list[Commit]:
    fields = [field.decode("utf-8", "replace") for field in said.split(b"\0")]
    commits = []
    for place in range(0, len(fields) - _FIELDS + 1, _FIELDS):
        name, parents, time_s, author, date, subject = fields[place : place + _FIELDS]
        commits.append(Commit(name.strip(), tuple(parents.split()), int(time_s), author, date, subject))
    return commits


def blob_ids(root: Path, names: Sequence[str]) -> list[str | None]:
    """The object id of each `REV:./path`, None where there is no such file."""
    asked = [name for name in names if "\n" not in name]
    if not asked:
        return [None] * len(names)
    said = b"".join(os.fsencode(f"{name}\n") for name in asked)
    lines = ask_git(root, "cat-file", "--batch-check=%(objectname) %(objecttype)", said=said).splitlines()
    found = dict(zip(asked, (_blob(line) for line in lines), strict=True))
    return [found.get(name) for name in names]


def tags_of(root: Path) -> list[Tag]:
    """Every tag, by name."""
    form = "%(objectname)|%(*objectname)|%(committerdate:unix)|%(*committerdate:unix)|%(refname:strip=2)"
    tags = []
    for line in ask_git(root, "for-each-ref", f"--format={form}", "refs/tags").decode("utf-8", "replace").splitlines():
        named, peeled, time_s, peeled_time_s, name = line.split("|", 4)
        tags.append(Tag(name, peeled or named, int(peeled_time_s or time_s or 0)))
    return tags


def ref_names(root: Path) -> list[str]:
    """Branches and tags, those of remotes too, as users write them."""
    form = "--format=%(refname:short)"
    said = ask_git(root, "for-each-ref", form, "refs/tags", "refs/heads", "refs/remotes")
    return said.decode("utf-8", "replace").splitlines()


def parents_of(root: Path, commit: str) -> list[str]:
    """The commits that `commit` was made on, whatever they changed."""
    return ask_git(root, "rev-list", "--parents", "--max-count=1", commit).decode().split()[1:]


def departures(root: Path, before: str, after: str, names: Sequence[str]) -> list[Departure]:
    """The files whose name matches a pattern (`*.dvc`) that are in commit `before` and not in `after`."""
    selection = [f":(glob)**/{name}" for name in names]
    said = ask_git(
        root, "diff-tree", "-r", "-z", "--raw", "--relative", "--find-renames", before, after, "--", *selection
    )
    found = []
    tokens = iter(said.split(b"\0"))
    for token in tokens:
        if not token.startswith(b":"):
            continue
        kind = token.split(b" ")[-1][:1]
        file = os.fsdecode(next(tokens))
        if kind == b"R":
            found.append(Departure(file, os.fsdecode(next(tokens))))
        elif kind == b"D":
            found.append(Departure(file, None))
    return found


def shallow_commits(root: Path) -> frozenset[str]:
    """The commits at which a shallow clone's history ends."""
    try:
        return frozenset(git_path(root, "shallow").read_text(encoding="ascii").split())
    except FileNotFoundError:
        return frozenset()


def commits_with_prefix(root: Path, prefix: str) -> list[str]:
    """The ids of all commits that begin with these hex digits (four at least)."""
    said = ask_git(root, "rev-parse", f"--disambiguate={prefix}")
    lines = ask_git(root, "cat-file", "--batch-check=%(objectname) %(objecttype)", said=said).decode().splitlines()
    return [line.split(" ")[0] for line in lines if line.endswith(" commit")]


def _blob(line: bytes) -> str | None:
    words = line.split(b" ")
    return words[0].decode() if len(words) == 2 and words[1] == b"blob" else None
