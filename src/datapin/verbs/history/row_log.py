"""`log --key`: which versions changed one row, who made them, and from what to what."""

from __future__ import annotations

import heapq
import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import DatapinError, UnknownKey
from datapin.dvcfiles.outs import PinnedOut
from datapin.manifest.columns.values import python_rows
from datapin.manifest.manifest import Manifest
from datapin.manifest.select import rows_of
from datapin.pins.counts import VersionCounts
from datapin.pins.versions import VersionEntry, VersionHistory
from datapin.verbs.history.log import history_of, why_unknown
from datapin.verbs.workspace.bring import bring_versions
from datapin.verbs.workspace.reports import Row
from datapin.verbs.workspace.workspace import Workspace

_LISTED = 5


@dataclass(frozen=True, slots=True)
class RowLogEntry:
    """A version that changed the row: `change` is added, removed or changed, None if nobody can tell (`note` says why).

    `before` and `after` hold the columns that differ; the one is None for an added row, the other for a removed one.
    """

    commit: str
    author: str
    date: str
    subject: str
    dataset: str
    key: str
    change: str | None
    before: Row | None
    after: Row | None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """The row in one version, None if it has none; or why that is not known."""

    row: Row | None
    problem: str | None = None

    def is_same(self, other: _Seen) -> bool:
        # As text: a float that is no number is the same as itself.
        return self.problem is None and other.problem is None and repr(self.row) == repr(other.row)


def row_log(workspace: Workspace, selector: str, key: str, *, limit: int | None = None) -> list[RowLogEntry]:
    """What happened to the row `key` up to HEAD, or up to `DATASET@VERSION`, newest first.

    Of each version only the shard is read that can hold the key, and only if it is another one than before. A merge
    counts only if it made a row that no side had. Raises UnknownDataset, UnknownVersion, or UnknownKey if no version
    has such a row.
    """
    history = history_of(workspace, selector)
    if history is None:
        return []
    counts = VersionCounts(workspace.root, history.dataset)
    pointers = [entry.pin for entry in history.entries if isinstance(entry.pin, PinnedOut)]
    reasons = bring_versions(workspace, pointers)
    reader = _RowReader(counts, key, reasons)
    with ThreadPoolExecutor(max(1, min(workspace.jobs, 4))) as threads:
        seen = list(threads.map(reader.see, history.entries))
    if not any(one.row is not None or one.problem is not None for one in seen):
        raise UnknownKey(history.dataset, key, _like(counts, pointers, key))
    return _changes_of(history, seen, key)[:limit]


def _changes_of(history: VersionHistory, seen: Sequence[_Seen], key: str) -> list[RowLogEntry]:
    found = []
    waiting, known = [0], {0}
    while waiting:
        number = heapq.heappop(waiting)
        entry, now = history.entries[number], seen[number]
        same = [place for place in entry.before if seen[place].is_same(now)]
        if not same:
            before = seen[entry.before[0]] if entry.before else _Seen(None)
            if not (before.problem is None and now.problem is None and before.row is None and now.row is None):
                found.append(_entry(entry, key, before, now))
        for place in same[:1] or entry.before:
            if place not in known:
                known.add(place)
                heapq.heappush(waiting, place)
    return found


def _entry(entry: VersionEntry, key: str, before: _Seen, now: _Seen) -> RowLogEntry:
    change, old, new = None, None, None
    note = now.problem
    if before.problem is not None and note is None:
        note, new = f"the version before it: {before.problem}", now.row
    elif note is None:
        change = "added" if before.row is None else "removed" if now.row is None else "changed"
        old, new = before.row, now.row
        if old is not None and new is not None:
            names = [name for name in dict.fromkeys([*new, *old]) if repr(old.get(name)) != repr(new.get(name))]
            old, new = ({name: row.get(name) for name in names} for row in (old, new))
    commit = entry.commit
    return RowLogEntry(
        commit.name, commit.author, commit.date, commit.subject, entry.dataset, key, change, old, new, note
    )


class _RowReader:
    """Finds one row in many versions; a shard that several of them share is read once."""

    def __init__(self, counts: VersionCounts, key: str, reasons: dict[str, str]) -> None:
        self._counts = counts
        self._key = key
        self._reasons = reasons
        self._rows: dict[str, Row | None] = {}

    def see(self, entry: VersionEntry) -> _Seen:
        """The row in the version that `entry` made."""
        if entry.pin is None:
            return _Seen(None)
        if not isinstance(entry.pin, PinnedOut):
            return _Seen(None, f"its pointer cannot be read: {entry.pin.problem}")
        try:
            return _Seen(self._row(self._counts.open(entry.pin)))
        except DatapinError as error:
            return _Seen(None, why_unknown(error, [entry.pin], self._reasons))

    def _row(self, manifest: Manifest) -> Row | None:
        holder = next((s for s in manifest.shards if s.rows and s.first_key <= self._key <= s.last_key), None)
        if holder is None:
            return None
        if holder.digest not in self._rows:
            table = rows_of(manifest, pa.array([self._key], pa.string()), manifest.schema)
            rows = python_rows(table)
            # A column that a version lacks is null there: neither makes a difference.
            self._rows[holder.digest] = {k: v for k, v in rows[0].items() if v is not None} if rows else None
        return self._rows[holder.digest]


def _like(counts: VersionCounts, pointers: Sequence[PinnedOut], key: str) -> tuple[str, ...]:
    """Keys of the newest version that hold the last part of `key`, or else its first keys."""
    try:
        keys = counts.open(pointers[0]).to_table(["key"])["key"] if pointers else pa.chunked_array([[]], pa.string())
    except DatapinError:
        return ()
    name = posixpath.splitext(posixpath.basename(key))[0]
    like = keys.filter(pc.match_substring(keys, name, ignore_case=True)) if name else keys
    found: list[str] = (like if len(like) else keys).slice(0, _LISTED).to_pylist()
    return tuple(found)
