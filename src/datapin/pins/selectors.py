"""`DATASET@VERSION` to the commit and the pointer that it names.

VERSION is a Git revision, `~N` (the version N before HEAD's, along first parents; also `-N`, and `@-N` where it stands
alone: shells expand a `~`, and no revision begins so) or the first digits of a digest. What
could be an abbreviated commit and a digest alike is ambiguous unless both are the same version; a branch, a tag or a
whole commit id is never taken for a digest. A revision that had the dataset under an older name gives that one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from datapin.base.errors import (
    AmbiguousVersion,
    Damage,
    DatasetNotThere,
    ManifestMissing,
    UnknownDataset,
    UnknownVersion,
)
from datapin.dvcfiles.outs import PinnedOut
from datapin.git.ask import has_commit, resolve
from datapin.git.log import commits_with_prefix, ref_names, shallow_commits
from datapin.pins.commits import CommitPins
from datapin.pins.history import PointerChange, iter_pointer_changes
from datapin.pins.read import Pins
from datapin.pins.versions import VersionHistory

LEAST_DIGITS = 8
_BACK = re.compile(r"~(\d{0,9})\Z|@?-(\d{1,9})\Z", re.ASCII)
_DIGITS = re.compile(r"[0-9a-fA-F]{8,64}\Z")
_ABBREVIATED = re.compile(r"[0-9a-fA-F]{4,39}\Z")
_MARK = "sha256:"
_LISTED = 5
_FIRST = "`git commit` with the dataset's pointer makes the first version"

FindDigest = Callable[[PinnedOut], str]


@dataclass(frozen=True, slots=True)
class PinnedVersion:
    """A dataset version that a commit pins.

    `commit` is the revision asked for, or the newest commit that made this version. `pointer.dataset` is the name that
    the dataset had there: another one than `dataset` if it was renamed since.
    """

    dataset: str
    version: str  # as it was written
    commit: str
    pointer: PinnedOut


def resolve_version(root: Path, dataset: str, version: str, find_digest: FindDigest | None = None) -> PinnedVersion:
    """The version of `dataset` that `version` (what stands after `@`) names.

    `find_digest` gives the digest of a version whose pointer does not say it (stage outputs); without it such a
    version is only found by DVC's own hash. Raises UnknownDataset, DatasetNotThere, UnknownVersion, AmbiguousVersion,
    each with candidates.
    """
    try:
        return _Search(root, dataset, version, find_digest).find()
    except UnknownVersion as error:
        if type(error) is UnknownVersion and shallow_commits(root):
            raise replace(error, is_shallow=True) from None
        raise


@dataclass(frozen=True, slots=True)
class _Found:
    commit: str
    pointer: PinnedOut


class _Search:
    def __init__(self, root: Path, dataset: str, version: str, find_digest: FindDigest | None) -> None:
        self._root = root
        self._dataset = dataset
        self._version = version
        self._find_digest = find_digest
        self._pins = CommitPins(root)

    def find(self) -> PinnedVersion:
        back = _BACK.match(self._version)
        if back is not None:
            found = self._back(int(back[1] or back[2] or 1))
        elif self._version.startswith(_MARK):
            found = self._by_digits(self._version.removeprefix(_MARK))
        else:
            found = self._by_name()
        if not self._pins.is_dataset(found.pointer):
            raise _no_dataset(self._root, self._dataset, found.pointer.file)
        return PinnedVersion(self._dataset, self._version, found.commit, found.pointer)

    @property
    def _selector(self) -> str:
        return f"{self._dataset}@{self._version}"

    def _back(self, count: int) -> _Found:
        history = self._history(first_parent=True)
        versions = list(history.versions())
        # A dataset that HEAD does not have has no version 0: 1 is the last one that it had.
        place = count - history.first_back
        if not versions:
            raise self._unknown("no commit before HEAD pins this dataset")
        if place < 0:
            raise DatasetNotThere(self._selector, "HEAD does not have it", self._nearest())
        if place >= len(versions):
            last = history.first_back + len(versions) - 1
            problem = f"it has {len(versions)} version(s) on this line, ~{history.first_back} to ~{last}"
            raise UnknownVersion(self._selector, problem)
        commit, pointer = versions[place]
        return _Found(commit.name, pointer)

    def _by_name(self) -> _Found:
        commit = self._commit()
        version = self._version.lower()
        may_be_digits = bool(_DIGITS.match(version)) and not (commit is not None and len(version) == len(commit))
        if commit is not None and not (may_be_digits and commit.startswith(version)):
            return self._in_commit(commit)
        candidates = self._matching(version) if may_be_digits else []
        pointer = None if commit is None else self._pinned(commit)
        if commit is not None and (pointer is not None or not candidates):
            if pointer is None:
                return self._in_commit(commit)
            others = [one for one in candidates if one.pointer.md5 != pointer.md5]
            if others:
                raise self._ambiguous([f"commit {commit[:12]}", *map(self._text, others)])
            return _Found(commit, pointer)
        if not candidates:
            raise self._unknown("no such revision in Git" + (", and no such digest" if may_be_digits else ""))
        return self._only(candidates)

    def _by_digits(self, digits: str) -> _Found:
        if not _DIGITS.match(digits):
            raise self._unknown(f"a digest is selected by {LEAST_DIGITS} to 64 hex digits")
        candidates = self._matching(digits.lower(), is_digest=True)
        if not candidates:
            raise self._unknown("no version in Git's history has this digest")
        return self._only(candidates)

    def _only(self, candidates: list[_Found]) -> _Found:
        if len(candidates) > 1:
            raise self._ambiguous([self._text(one) for one in candidates])
        return candidates[0]

    def _matching(self, digits: str, *, is_digest: bool = False) -> list[_Found]:
        """The distinct versions in all of Git's history whose digest, or DVC's hash, begins with these digits."""
        names = {self._dataset, *(self._history().names if has_commit(self._root) else ())}
        found: dict[str, _Found] = {}
        seen: set[str] = set()
        for change in iter_pointer_changes(self._root):
            if not isinstance(change, PointerChange):
                continue
            for pointer in change.pointers:
                if pointer.dataset not in names or pointer.md5 in seen or not self._pins.is_dataset(pointer):
                    continue
                seen.add(pointer.md5)
                digest = self._digest(pointer)
                if digest.startswith(digits) or (not is_digest and pointer.md5.startswith(digits)):
                    found.setdefault(digest or pointer.md5, _Found(change.commit, pointer))
        return list(found.values())

    def _digest(self, pointer: PinnedOut) -> str:
        """The hex digits of the digest, empty if nobody here can tell."""
        if pointer.digest is None and self._find_digest is not None:
            try:
                return self._find_digest(pointer).removeprefix(_MARK)
            except (ManifestMissing, Damage):
                return ""
        return (pointer.digest or "").removeprefix(_MARK)

    def _commit(self) -> str | None:
        """The commit that the version names as a Git revision, None if there is none."""
        try:
            return resolve(self._root, self._version)
        except UnknownVersion:
            if _ABBREVIATED.match(self._version):
                several = commits_with_prefix(self._root, self._version.lower())
                if len(several) > 1:
                    raise self._ambiguous([f"commit {one[:12]}" for one in several]) from None
            return None

    def _in_commit(self, commit: str) -> _Found:
        pointer = self._pinned(commit)
        if pointer is not None:
            return _Found(commit, pointer)
        here = tuple(sorted({one.dataset for one in Pins(self._root, commit).datasets}))
        if not self._was_ever():
            raise UnknownDataset(self._dataset, here)
        raise DatasetNotThere(self._selector, f"that revision has no dataset {self._dataset}", here)

    def _pinned(self, commit: str) -> PinnedOut | None:
        """What `commit` pins, also under a name that the dataset had before."""
        pointer = Pins.at(self._root, commit).dataset(self._dataset)
        if pointer is None:
            for name in self._history().names[1:]:
                pointer = Pins.at(self._root, commit).dataset(name)
                if pointer is not None and self._pins.is_dataset(pointer):
                    return pointer
            return None
        return pointer

    def _history(self, *, first_parent: bool = False) -> VersionHistory:
        if not has_commit(self._root):
            raise UnknownVersion(self._selector, "nothing is committed yet", advice=_FIRST)
        head = resolve(self._root, "HEAD")
        return VersionHistory(self._root, self._dataset, head, first_parent=first_parent, pins=self._pins)

    def _unknown(self, problem: str) -> UnknownVersion | UnknownDataset:
        if not has_commit(self._root):
            return UnknownVersion(self._selector, "nothing is committed yet", advice=_FIRST)
        if not self._was_ever():
            return _no_dataset(self._root, self._dataset, self._pins.strange.get(self._dataset))
        return UnknownVersion(self._selector, problem, self._nearest())

    def _was_ever(self) -> bool:
        if self._history().entries:
            return True
        pointer = Pins(self._root).dataset(self._dataset)
        return pointer is not None and self._pins.is_dataset(pointer)

    def _nearest(self) -> tuple[str, ...]:
        """Names like the one that was asked for, then the newest versions."""
        close = difflib.get_close_matches(self._version, ref_names(self._root), n=_LISTED, cutoff=0.5)
        history = self._history(first_parent=True)
        versions = enumerate(islice(history.versions(), _LISTED), history.first_back)
        return (*close, *(f"~{number} ({commit.name[:7]})" for number, (commit, _) in versions))

    def _ambiguous(self, candidates: list[str]) -> AmbiguousVersion:
        return AmbiguousVersion(self._selector, f"{len(candidates)} versions begin so", tuple(candidates))

    def _text(self, found: _Found) -> str:
        digest = self._digest(found.pointer)
        name = f"{_MARK}{digest[:16]}" if digest else f"DVC's {found.pointer.md5[:16]}"
        return f"{name} (commit {found.commit[:7]})"


def _no_dataset(root: Path, dataset: str, file: str | None) -> UnknownDataset:
    known = tuple(sorted({pointer.dataset for pointer in Pins(root).datasets}))
    problem = f"{file} pins files that are no manifest" if file else ""
    return UnknownDataset(dataset, known, problem)
