"""`log`: the versions of a dataset over Git's history, and what each did to its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from datapin.base.errors import DatapinError
from datapin.dvcfiles.outs import PinnedOut
from datapin.git.ask import has_commit, resolve
from datapin.git.log import shallow_commits, tags_of
from datapin.pins.commits import Pin, is_same_version
from datapin.pins.counts import VersionCounts
from datapin.pins.versions import VersionEntry, VersionHistory
from datapin.verbs.workspace.bring import bring_versions
from datapin.verbs.workspace.selector import name_version
from datapin.verbs.workspace.workspace import Workspace

_UNREADABLE = "its pointer cannot be read"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One version: who made it when, and what it changed against the version before it; None where nobody can tell.

    `back` is the N of `@~N`, None for a version that came in by a merge. `digest` None and no rows: the dataset was
    removed. `tags` are on commits that pin this version. `note` says what could not be found out, and why.
    """

    commit: str
    tags: list[str]
    author: str
    date: str
    subject: str
    dataset: str
    digest: str | None
    rows: int | None
    bytes: int | None
    added: int | None
    removed: int | None
    changed: int | None
    back: int | None = None
    note: str | None = None

    @property
    def is_unreadable(self) -> bool:
        """Whether the commit has a pointer that nobody can read."""
        return self.note is not None and self.note.startswith(_UNREADABLE)


def log(workspace: Workspace, selector: str, *, limit: int | None = None) -> list[LogEntry]:
    """The versions of a dataset up to HEAD, or up to `DATASET@VERSION`, newest first.

    Manifests that are not here are brought from the remote, if there is one and it answers; else their entries say so.
    Raises UnknownDataset or UnknownVersion.
    """
    history = history_of(workspace, selector)
    if history is None:
        return []
    shown = history.entries[:limit]
    counts = VersionCounts(workspace.root, history.dataset)
    reasons = bring_versions(workspace, _needed(history, shown, counts))
    pairs = [(_before(history, entry), entry.pin) for entry in shown if isinstance(entry.pin, PinnedOut)]
    counts.count_ahead(pairs, jobs=workspace.jobs)
    places, tags = _places_back(workspace, history), _tags(history)
    ends = shallow_commits(workspace.root) if any(not entry.before for entry in shown) else frozenset()
    entries = []
    for number, entry in enumerate(shown):
        is_cut = not entry.before and entry.commit.name in ends
        made = _entry(history, entry, counts, reasons, is_cut=is_cut)
        entries.append(replace(made, tags=tags.get(number, []), back=places.get(number)))
    counts.save()
    return entries


def history_of(workspace: Workspace, selector: str) -> VersionHistory | None:
    """The history of the dataset that `selector` names; None if no commit pins it yet.

    Raises UnknownDataset or UnknownVersion.
    """
    if "@" in selector:
        named = name_version(workspace, selector)
        if named.pinned is not None:
            return VersionHistory(workspace.root, named.dataset, named.pinned.commit)
    names = workspace.names_meant(selector)
    for name in names if has_commit(workspace.root) else ():
        # One that was removed is in no work tree, and has a history all the same.
        history = VersionHistory(workspace.root, name, resolve(workspace.root, "HEAD"))
        if history.entries:
            return history
    name_version(workspace, selector)
    return None


def why_unknown(error: DatapinError, pins: Sequence[Pin], reasons: dict[str, str]) -> str:
    """Why a manifest could not be read: that it could not be fetched, else what was seen when it was read."""
    return next((reasons[pin.md5] for pin in pins if isinstance(pin, PinnedOut) and pin.md5 in reasons), error.message)


def _needed(history: VersionHistory, shown: Sequence[VersionEntry], counts: VersionCounts) -> list[PinnedOut]:
    """The versions whose manifests must be read."""
    needed = []
    for entry in shown:
        before, pin = _before(history, entry), entry.pin
        if isinstance(pin, PinnedOut) and not counts.knows_changes(before, pin):
            needed += [pointer for pointer in (before, pin) if pointer is not None]
        of_facts = before if pin is None else pin
        if isinstance(of_facts, PinnedOut) and not counts.knows_facts(of_facts):
            needed.append(of_facts)
    return needed


def _before(history: VersionHistory, entry: VersionEntry) -> PinnedOut | None:
    """The version that an entry is counted against: that of its first parent."""
    pin = history.entries[entry.before[0]].pin if entry.before else None
    return pin if isinstance(pin, PinnedOut) else None


def _entry(
    history: VersionHistory, entry: VersionEntry, counts: VersionCounts, reasons: dict[str, str], *, is_cut: bool
) -> LogEntry:
    pin, before = entry.pin, _before(history, entry)
    commit = entry.commit
    made = LogEntry(
        commit=commit.name, tags=[], author=commit.author, date=commit.date, subject=commit.subject,
        dataset=entry.dataset, digest=pin.digest if isinstance(pin, PinnedOut) else None,
        rows=None, bytes=None, added=None, removed=None, changed=None,
    )  # fmt: skip
    notes: list[str] = []
    try:
        if pin is None:
            made = replace(made, rows=0, bytes=0)
            if before is not None:
                made = replace(made, added=0, removed=counts.facts(before).rows, changed=0)
        elif isinstance(pin, PinnedOut):
            facts = counts.facts(pin)
            made = replace(made, digest=facts.digest, rows=facts.rows, bytes=facts.bytes)
            if is_cut:
                notes.append("the history of this shallow clone begins here")
            elif entry.before and not isinstance(history.entries[entry.before[0]].pin, PinnedOut | None):
                notes.append("the version before it cannot be read")
            else:
                changes = counts.changes(before, pin)
                made = replace(made, added=changes.added, removed=changes.removed, changed=changes.changed)
        else:
            notes.append(f"{_UNREADABLE}: {pin.problem}")
    except DatapinError as error:
        is_before = isinstance(before, PinnedOut) and before.md5 in reasons
        is_mine = isinstance(pin, PinnedOut) and pin.md5 in reasons
        whose = "the version before it: " if is_before and not is_mine else ""
        notes.append(f"{whose}{why_unknown(error, [pin, before], reasons)}")
    return replace(made, note="; ".join(notes) or None)


def _places_back(workspace: Workspace, history: VersionHistory) -> dict[int, int]:
    """For each entry that `@~N` names, its N."""
    if history.start != resolve(workspace.root, "HEAD"):
        return {}
    line = VersionHistory(workspace.root, history.dataset, history.start, first_parent=True, pins=history.pins)
    places: dict[int, int] = {}
    begin = 0
    for back, (_, pointer) in enumerate(line.versions(), line.first_back):
        for number in range(begin, len(history.entries)):
            if is_same_version(history.entries[number].pin, pointer):
                places[number] = back
                begin = number + 1
                break
    return places


def _tags(history: VersionHistory) -> dict[int, list[str]]:
    """The tags whose commits pin each entry's version; of a version that came back, those of the time in between."""
    found: dict[int, list[str]] = {}
    tags = tags_of(history.root)
    pins: dict[str, Pin] = {}
    for name in history.names:
        rest = [tag.commit for tag in tags if pins.get(tag.commit) is None]
        pins.update(history.pins.of(name, rest))
    for tag in tags:
        pin = pins[tag.commit]
        same = [n for n, entry in enumerate(history.entries) if pin is not None and is_same_version(entry.pin, pin)]
        if same:
            exact = [n for n in same if history.entries[n].commit.name == tag.commit]
            earlier = [n for n in same if history.entries[n].commit.time_s <= tag.time_s]
            found.setdefault((exact or earlier or same[-1:])[0], []).append(tag.name)
    return found
