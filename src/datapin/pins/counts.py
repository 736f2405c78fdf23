"""What the log says of versions, kept: rows and bytes by manifest, counts of changes by pair of manifests.

Everything is named by its content, so what is kept is never stale; a lost or damaged file costs time only.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datapin.base.documents import keep_sealed, read_sealed
from datapin.base.errors import DatapinError
from datapin.base.state import cache_of, slug_of
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.manifest.comparing.diff import Changes, count_changes
from datapin.manifest.comparing.pair_counts import PairCounter
from datapin.manifest.manifest import Manifest
from datapin.pins.manifests import open_linked

_MOST_BYTES = 64 << 20
_MOST_THREADS, _LEAST_LOT = 4, 4
_NONE = "none"  # in the place of a manifest's name: there was none


@dataclass(frozen=True, slots=True)
class Facts:
    """What a manifest says of itself."""

    digest: str
    rows: int
    bytes: int


class VersionCounts:
    """Facts and counts of the versions of one dataset, kept in the work tree's cache."""

    def __init__(self, root: Path, dataset: str) -> None:
        self._root = root
        self._cache = DvcCache(root)
        self._path = cache_of(root) / "log" / f"{slug_of(dataset)}.json"
        self._facts: dict[str, Facts] = {}
        self._changes: dict[str, Changes] = {}
        self._counter = PairCounter()
        self._is_saved = True
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            kept = read_sealed(self._path, most_bytes=_MOST_BYTES)
            self._facts = {md5: _facts(*values) for md5, values in kept["facts"].items()}
            self._changes = {pair: _changes(values) for pair, values in kept["changes"].items()}

    def knows_facts(self, pointer: PinnedOut) -> bool:
        """Whether `facts` needs no manifest."""
        return pointer.md5 in self._facts or _from_summary(pointer) is not None

    def knows_changes(self, before: PinnedOut | None, after: PinnedOut | None) -> bool:
        """Whether `changes` needs no manifest."""
        return _pair(before, after) in self._changes

    def facts(self, pointer: PinnedOut) -> Facts:
        """Digest, rows and bytes: from the pointer, as kept, or from the manifest in DVC's cache.

        Raises ManifestMissing, DamagedManifest or BadRows.
        """
        found = _from_summary(pointer) or self._facts.get(pointer.md5)
        if found is None:
            manifest = self.open(pointer)
            found = self._facts[pointer.md5] = Facts(manifest.digest, manifest.rows, manifest.bytes)
            self._is_saved = False
        return found

    def changes(self, before: PinnedOut | None, after: PinnedOut | None) -> Changes:
        """How many rows were added, changed and removed from one version to the next; None has no rows.

        Raises ManifestMissing, DamagedManifest or BadRows.
        """
        pair = _pair(before, after)
        found = self._changes.get(pair)
        if found is None:
            found = self._changes[pair] = self._count(before, after, self._counter)
            self._is_saved = False
        return found

    def count_ahead(self, pairs: Sequence[tuple[PinnedOut | None, PinnedOut]], *, jobs: int) -> None:
        """Find the changes of all these pairs, in threads; what cannot be read is left for `changes` to say."""
        unknown = [pair for pair in pairs if not self.knows_changes(*pair)]
        lots = max(1, min(jobs, _MOST_THREADS, len(unknown) // _LEAST_LOT))
        share = -(-len(unknown) // lots) or 1
        # Neighbours share a version, which is then read once: each thread takes a run of them.
        with ThreadPoolExecutor(lots) as threads:
            runs = [unknown[start : start + share] for start in range(0, len(unknown), share)]
            for counted in threads.map(self._count_run, runs):
                self._changes.update(counted)
                self._is_saved = self._is_saved and not counted

    def _count_run(self, pairs: Sequence[tuple[PinnedOut | None, PinnedOut]]) -> dict[str, Changes]:
        counter = PairCounter()
        counted = {}
        for before, after in pairs:
            with suppress(DatapinError):
                counted[_pair(before, after)] = self._count(before, after, counter)
        return counted

    def _count(self, before: PinnedOut | None, after: PinnedOut | None, counter: PairCounter) -> Changes:
        if before is None or after is None:
            rows = [0 if pointer is None else self.open(pointer).rows for pointer in (before, after)]
            return Changes(rows[1], 0, rows[0])
        files = [self._cache.shards(pointer) for pointer in (before, after)]
        found = counter.count_files(files[0], files[1], where=after.dataset)
        return count_changes(self.open(before), self.open(after)) if found is None else found

    def open(self, pointer: PinnedOut) -> Manifest:
        """The manifest, from DVC's cache. Raises ManifestMissing, DamagedManifest or BadRows."""
        return open_linked(self._root, pointer)

    def save(self) -> None:
        """Keep what was found for the next time, if it can be kept."""
        if self._is_saved:
            return
        facts = {md5: [one.digest, one.rows, one.bytes] for md5, one in self._facts.items()}
        changes = {pair: [one.added, one.changed, one.removed] for pair, one in self._changes.items()}
        keep_sealed(self._path, {"facts": facts, "changes": changes})
        self._is_saved = True


def _pair(before: PinnedOut | None, after: PinnedOut | None) -> str:
    return " ".join(_NONE if one is None else one.md5 for one in (before, after))


def _from_summary(pointer: PinnedOut) -> Facts | None:
    size = pointer.summary.get("bytes") if pointer.summary else None
    if pointer.digest is None or pointer.rows is None or not isinstance(size, int):
        return None
    return Facts(pointer.digest, pointer.rows, size)


def _facts(digest: str, rows: int, size: int) -> Facts:
    if type(digest) is not str or type(rows) is not int or type(size) is not int:
        raise TypeError
    return Facts(digest, rows, size)


def _changes(values: Sequence[int]) -> Changes:
    added, changed, removed = values
    if not all(type(value) is int for value in values):
        raise TypeError
    return Changes(added, changed, removed)
