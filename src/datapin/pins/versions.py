"""The versions of one dataset over Git's history: one entry for each commit that gave it other rows.

History is followed as `git log -- FILE` does: a merge that took one side's version leads to that side alone; a merge
that made a version of its own is an entry and leads to every side. A dataset that was renamed is followed to its old
name: that of a dataset which the same commit removed, with the same version, a `.dvc` file that Git finds similar, or
the same source tree.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datapin.dvcfiles.outs import PinnedOut
from datapin.git.log import Commit, departures, log_of_files, parents_of
from datapin.pins.commits import CommitPins, Pin, is_same_version
from datapin.pins.files import LOCK, PIPELINE


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """A commit that gave the dataset other rows; `pin` None: it removed the dataset.

    `before` are the places, in the list of entries, of what each parent had; a parent that never had it is left out.
    """

    commit: Commit
    dataset: str  # its name then
    pin: Pin
    before: tuple[int, ...]


@dataclass(slots=True)
class _Segment:
    """The log of one name, back from one commit."""

    dataset: str
    head: str
    commits: dict[str, Commit]
    pins: dict[str, Pin]


_Place = tuple[int, str]  # number of the segment, commit


class VersionHistory:
    """The versions of `dataset` before and at the commit `start`, newest first."""

    def __init__(
        self, root: Path, dataset: str, start: str, *, first_parent: bool = False, pins: CommitPins | None = None
    ) -> None:
        self.root = root
        self.dataset = dataset
        self.start = start
        self.first_parent = first_parent
        self.pins = pins or CommitPins(root)
        self._segments: list[_Segment] = []
        self._numbers: dict[tuple[str, str], int | None] = {}
        self._parents: dict[_Place, list[_Place]] = {}
        self._origins: dict[_Place, _Place | None] = {}
        self.entries = self._collect()

    @property
    def names(self) -> list[str]:
        """Every name that the dataset had, newest first."""
        return list(dict.fromkeys([self.dataset, *(entry.dataset for entry in self.entries)]))

    @property
    def first_back(self) -> int:
        """The N of `@~N` for the first of `versions`: 1 where the dataset is gone, so that nothing is version 0."""
        return 1 if self.entries and self.entries[0].pin is None else 0

    def versions(self) -> Iterator[tuple[Commit, PinnedOut]]:
        """The versions without the times when the dataset was gone; one that comes back at once counts once."""
        last: Pin = None
        for entry in self.entries:
            if isinstance(entry.pin, PinnedOut) and not is_same_version(entry.pin, last):
                last = entry.pin
                yield entry.commit, entry.pin

    def _collect(self) -> list[VersionEntry]:
        first = self._segment(self.dataset, self.start)
        start = None if first is None else self._origin((first, self._segments[first].head))
        if start is None:
            return []
        order: list[tuple[_Place, list[_Place]]] = []
        waiting = [(-self._commit(start).time_s, 0, start)]
        seen = {start}
        while waiting:
            _, _, place = heapq.heappop(waiting)
            before = [origin for parent in self._parents_of(place) if (origin := self._origin(parent)) is not None]
            order.append((place, before))
            for origin in before:
                if origin not in seen:
                    seen.add(origin)
                    heapq.heappush(waiting, (-self._commit(origin).time_s, len(seen), origin))
        numbers = {place: number for number, (place, _) in enumerate(order)}
        return [
            VersionEntry(
                self._commit(place),
                self._segments[place[0]].dataset,
                self._pin(place),
                tuple(dict.fromkeys(numbers[origin] for origin in before)),
            )
            for place, before in order
        ]

    def _origin(self, place: _Place) -> _Place | None:
        """The commit from which the version at `place` came; None if the dataset never was there."""
        passed = []
        current: _Place | None = place
        while current is not None and current not in self._origins:
            passed.append(current)
            pin, parents = self._pin(current), self._parents_of(current)
            same = next((parent for parent in parents if is_same_version(self._pin(parent), pin)), None)
            if same is None:
                self._origins[current] = None if pin is None and not parents else current
                break
            current = same
        found = None if current is None else self._origins[current]
        self._origins.update(dict.fromkeys(passed, found))
        return found

    def _parents_of(self, place: _Place) -> list[_Place]:
        known = self._parents.get(place)
        if known is None:
            known = self._parents[place] = self._find_parents(place)
        return known

    def _find_parents(self, place: _Place) -> list[_Place]:
        number, commit = place
        segment = self._segments[number]
        parents = [(number, parent) for parent in segment.commits[commit].parents if parent in segment.commits]
        pin = segment.pins[commit]
        with_it = [parent for parent in parents if self._pin(parent) is not None]
        if pin is None or (parents and len(with_it) == len(parents)):
            return parents
        # It was not there before: a new dataset, one that comes back, or one that had another name.
        renamed = [old for old in self._old_names(segment, commit, pin) if old is not None]
        return [*with_it, *renamed] if renamed else parents

    def _old_names(self, segment: _Segment, commit: str, pin: Pin) -> Iterator[_Place | None]:
        parents = parents_of(self.root, commit)
        for parent in parents[:1] if self.first_parent else parents:
            if self.pins.of(segment.dataset, [parent])[parent] is None and isinstance(pin, PinnedOut):
                old = self._old_name(pin, parent, commit)
                number = None if old is None else self._segment(old, parent)
                yield None if number is None else (number, self._segments[number].head)

    def _old_name(self, pin: PinnedOut, parent: str, commit: str) -> str | None:
        """The dataset of commit `parent` that became the one which `commit` pins by `pin`."""
        gone = departures(self.root, parent, commit, ("*.dvc", LOCK))
        files = list(dict.fromkeys([one.file for one in gone] + ([pin.file] if pin.stage is not None else [])))
        kept = {pointer.dataset for pointer in self.pins.all_in(commit, files)}
        before = [one for one in self.pins.all_in(parent, files) if one.dataset not in kept]
        for pointer in before:
            if pointer.md5 == pin.md5 and pointer.dataset != pin.dataset:
                return pointer.dataset
        similar = {one.file for one in gone if one.became == pin.file}
        for pointer in before:
            # An edit in the same commit changes half of these few lines: the source tree tells more than their text.
            is_like = pointer.file in similar or (bool(pin.sources) and pointer.sources == pin.sources)
            if is_like and pin.stage is None and pointer.stage is None and self.pins.is_dataset(pointer):
                return pointer.dataset
        return None

    def _segment(self, dataset: str, start: str) -> int | None:
        """The number of the log of `dataset` back from `start`, None if nothing is in it."""
        key = (dataset, start)
        if key not in self._numbers:
            commits = log_of_files(
                self.root, start, [f"{dataset}.dvc"], (LOCK, PIPELINE), first_parent=self.first_parent
            )
            self._numbers[key] = len(self._segments) if commits else None
            if commits:
                pins = self.pins.of(dataset, [commit.name for commit in commits])
                named = {commit.name: commit for commit in commits}
                self._segments.append(_Segment(dataset, commits[0].name, named, pins))
        return self._numbers[key]

    def _commit(self, place: _Place) -> Commit:
        return self._segments[place[0]].commits[place[1]]

    def _pin(self, place: _Place) -> Pin:
        return self._segments[place[0]].pins[place[1]]
