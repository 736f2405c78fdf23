"""Reads source files, hashes them on the way and appends the new ones; the same code in a worker and in-process.

Which assets are new is asked per batch: the ids travel, the bytes stay here until the answer comes. The next batch
is read meanwhile, so at most two are held. Standard library and zstandard only.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from datapin.base.placeholders import placeholder_tool, refusal
from datapin.store.adding.copies import KnownPlace, StoredCopies
from datapin.store.adding.filling import Filled, Filler, LooseWriter
from datapin.store.adding.sources import ATTEMPTS, SourceChanged, SourceRefused, read_source, stream_source
from datapin.store.layout import Limits

NEW = 0  # append it
KNOWN = 1  # the store has it: compare, and append it again if the stored copy is damaged
REPEATED = 2  # another file of this call has the same bytes

BATCH_FILES = 256
BATCH_BYTES = 4 << 20
_TOLD_BYTES = 4 << 20
_NO_ID = bytes(32)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """For each asset of a batch NEW, KNOWN or REPEATED, and for each KNOWN one, in order, its place."""

    codes: bytes
    known: list[KnownPlace]


@dataclass(slots=True)
class PutBatch:
    """What was read of the files `first`, `first + 1`, …: ids (32 bytes each), stats (4 numbers each), problems."""

    first: int
    ids: list[bytes] = field(default_factory=list)
    stats: array[int] = field(default_factory=lambda: array("q"))
    problems: list[tuple[int, str]] = field(default_factory=list)
    # The bytes; a loose file; or the path of a large file that was only hashed, as the store may have it.
    contents: list[bytes | LooseWriter | str | None] = field(default_factory=list)
    size_bytes: int = 0


class Desk(Protocol):
    """Where ids are handed in and verdicts come back, in the same order."""

    def hand_in(self, batch: PutBatch) -> None:
        """Ask about the ids of `batch`. At most two batches may wait for their verdicts."""
        ...

    def verdicts(self) -> Verdicts:
        """The answer to the oldest unanswered batch."""
        ...

    def refuse(self, number: int, problem: str) -> None:
        """File `number`, already handed in, cannot be added after all."""
        ...

    def advance(self, size_bytes: int) -> None:
        """So many bytes of a large file were read."""
        ...


class _Told:
    """Passes chunks on, and tells a desk from time to time how many bytes they were."""

    def __init__(self, desk: Desk, write: Callable[[memoryview], None] | None) -> None:
        self._desk = desk
        self._write = write
        self._untold = 0

    def __call__(self, chunk: memoryview) -> None:
        if self._write is not None:
            self._write(chunk)
        self._untold += len(chunk)
        if self._untold >= _TOLD_BYTES:
            self.end()

    def end(self) -> None:
        """Tell the rest."""
        if self._untold:
            self._desk.advance(self._untold)
            self._untold = 0


class Adder:
    """Adds runs of source files; `finish` hands over what was written. Raises OSError of the store only."""

    def __init__(self, root: str, staging: str, limits: Limits, loose_sizes: frozenset[int], desk: Desk) -> None:
        self._limits = limits
        self._copies = StoredCopies(root)
        self._loose_sizes = loose_sizes  # of loose assets the store has: worth hashing before copying
        self._desk = desk
        self._filler = Filler(staging, limits)
        self._waiting: list[PutBatch] = []
        self._is_refused = False

    def add_run(self, first: int, paths: Sequence[str]) -> None:
        """Read the files `paths`, which are number `first` and following of the call."""
        batch = PutBatch(first)
        large_asset = self._limits.large_asset
        for number, path in enumerate(paths, first):
            try:
                data, found = read_source(path, large_asset)
                if data is None:
                    found = self._take_large(batch, path, found)
                else:
                    tool = placeholder_tool(path, data)
                    if tool is not None:
                        raise SourceRefused(refusal(tool))
                    batch.ids.append(hashlib.sha256(data).digest())
                    batch.contents.append(data)
                    batch.size_bytes += len(data)
                batch.stats.extend((found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))
            except SourceRefused as problem:
                batch.problems.append((number, str(problem)))
                batch.ids.append(_NO_ID)
                batch.contents.append(None)
                batch.stats.extend((0, 0, 0, 0))
                self._is_refused = True
            if len(batch.ids) >= BATCH_FILES or batch.size_bytes >= BATCH_BYTES:
                self._hand_in(batch)
                batch = PutBatch(number + 1)
        if batch.ids:
            self._hand_in(batch)

    def finish(self) -> Filled:
        """Append what still waits for its verdict, seal, make durable."""
        while self._waiting:
            self._settle()
        self._copies.close()
        return self._filler.finish()

    def abandon(self) -> None:
        """Close what is open; the files go with the staging directory."""
        self._copies.close()
        self._filler.abandon()

    def _hand_in(self, batch: PutBatch) -> None:
        self._desk.hand_in(batch)
        self._waiting.append(batch)
        if len(self._waiting) > 1:
            self._settle()

    def _settle(self) -> None:
        """Do what the verdicts on the oldest waiting batch say."""
        batch, verdicts = self._waiting.pop(0), self._desk.verdicts()
        places = iter(verdicts.known)
        append = self._filler.append
        for position, code in enumerate(verdicts.codes):
            raw_id, content = batch.ids[position], batch.contents[position]
            place = next(places) if code == KNOWN else None
            data = content if isinstance(content, bytes) else None
            is_wanted = code == NEW or (place is not None and not self._copies.is_intact(place, raw_id, data))
            if data is not None:
                if is_wanted and not self._is_refused:  # once a file is refused nothing will be published
                    append(raw_id, data)
            elif isinstance(content, LooseWriter):
                self._keep_or_discard(content, raw_id, is_wanted)
            elif isinstance(content, str) and is_wanted:
                self._copy_hashed(content, raw_id, batch.first + position)

    def _keep_or_discard(self, loose: LooseWriter, raw_id: bytes, is_wanted: bool) -> None:
        if is_wanted:
            self._filler.keep_loose(loose, raw_id)
        else:
            loose.discard()

    def _copy_hashed(self, path: str, raw_id: bytes, number: int) -> None:
        """Write a large file that so far was only hashed."""
        try:
            loose, seen, _ = self._copy_large(path, None)  # told when it was hashed
        except SourceRefused as problem:
            self._desk.refuse(number, str(problem))
            return
        self._keep_or_discard(loose, raw_id, seen == raw_id)
        if seen != raw_id:
            self._desk.refuse(number, str(SourceChanged()))

    def _take_large(self, batch: PutBatch, path: str, found: os.stat_result) -> os.stat_result:
        if found.st_size in self._loose_sizes:
            raw_id, found = _attempted(path, self._desk)
            batch.contents.append(path)
        else:
            loose, raw_id, found = self._copy_large(path, self._desk)
            batch.contents.append(loose)
        batch.ids.append(raw_id)
        batch.size_bytes += BATCH_BYTES  # a large file ends its batch: its verdict decides over much disk space
        return found

    def _copy_large(self, path: str, desk: Desk | None) -> tuple[LooseWriter, bytes, os.stat_result]:
        for attempt in range(ATTEMPTS):
            loose = self._filler.open_loose()
            try:
                raw_id, found = _streamed(path, loose.write_hashed, desk if attempt == 0 else None)
                return loose, raw_id, found
            except SourceChanged:
                loose.discard()
                if attempt + 1 == ATTEMPTS:
                    raise
            except (SourceRefused, OSError):
                loose.discard()
                raise
        raise AssertionError


def _attempted(path: str, desk: Desk) -> tuple[bytes, os.stat_result]:
    with suppress(SourceChanged):
        return _streamed(path, None, desk)
    for _ in range(ATTEMPTS - 2):
        with suppress(SourceChanged):
            return stream_source(path, None)
    return stream_source(path, None)


def _streamed(path: str, write: Callable[[memoryview], None] | None, desk: Desk | None) -> tuple[bytes, os.stat_result]:
    """As `stream_source`; what is read is told to `desk`."""
    if desk is None:
        return stream_source(path, write)
    told = _Told(desk, write)
    result = stream_source(path, told)
    told.end()
    return result
