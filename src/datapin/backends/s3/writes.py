"""Storing on S3 under a condition, on servers that differ in what they make of conditions.

Some ignore them, and Ceph's takes a tag only without its quotes. What this one does is learned on the way, or by
`abilities`; until then we look before we put. An answer that was lost is settled by what lies there afterwards.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from datapin.backends.backend import Abilities
from datapin.backends.s3 import failures as failures
from datapin.backends.s3.failures import S3Failure
from datapin.backends.s3.reads import find_object, open_object
from datapin.backends.s3.retry import ATTEMPTS, again, pause
from datapin.backends.s3.wires import S3Wires
from datapin.base import failpoints

_MOST_BYTES_TO_PUT_TWICE = 1 << 20
_NOBODYS_TAG = '"' + "0" * 32 + '"'
_IF_NONE_MATCH, _IF_MATCH = "If-None-Match", "If-Match"


class S3Writes:
    """Writes to one bucket, and what was learned about its server. Keys are the bucket's own; raises S3Failure."""

    def __init__(self, wires: S3Wires) -> None:
        self._wires = wires
        self._excludes: bool | None = None  # it heeds If-None-Match; None: not known yet
        self._swaps: bool | None = None  # it heeds If-Match
        self._wants_bare_tags: bool | None = None  # it knows a tag only without its quotes

    def put_if_absent(self, key: str, source: bytes | Path) -> bool:
        """See Backend."""
        if not self._excludes and find_object(self._wires, key) is not None:
            return False
        failpoints.hit("backend.put.sending")
        is_new = self._write(key, source, if_absent=self._excludes is not False)
        failpoints.hit("backend.put.sent")
        if is_new and self._excludes is None and _size_bytes(source) <= _MOST_BYTES_TO_PUT_TWICE:
            # A server that takes it a second time ignores the condition.
            self._excludes = not self._takes(key, source, if_absent=True)
        return is_new

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        """See Backend."""
        if not self._swaps and not self._has_tag(key, tag):
            return False
        if self._swaps is False:
            return self._write(key, data)
        if self._wants_bare_tags is not None:
            return self._write(key, data, if_tag=_as_wanted(tag, bare=self._wants_bare_tags))
        if self._write(key, data, if_tag=tag):
            self._wants_bare_tags = False
            return True
        # If the tag is the right one after all, this server wants it bare.
        if not self._has_tag(key, tag) or not self._write(key, data, if_tag=_as_wanted(tag, bare=True)):
            return False
        self._wants_bare_tags = True
        return True

    def abilities(self, key: str, data: bytes, server: str) -> Abilities:
        """See Backend. Four to six requests."""
        excludes = not self._takes(key, data, if_absent=True)
        bare = next((bare for bare in (False, True) if self._takes(key, data, if_tag=self._tag(key, bare=bare))), None)
        swaps = bare is not None and not self._takes(key, data, if_tag=_as_wanted(_NOBODYS_TAG, bare=bare))
        self._excludes, self._swaps, self._wants_bare_tags = excludes, swaps, bare
        lacks = [header for header, can in ((_IF_NONE_MATCH, excludes), (_IF_MATCH, swaps)) if not can]
        return Abilities(excludes, swaps, f"{server} does not heed {' and '.join(lacks)}" if lacks else "")

    def _write(self, key: str, source: bytes | Path, *, if_absent: bool = False, if_tag: str = "") -> bool:
        """Store it; False if the condition did not hold. Tried again, and settled by content if an answer was lost."""
        may_be_ours = False
        failure = S3Failure(failures.OTHER)
        for attempt in range(ATTEMPTS):
            asked = self._wires.region
            try:
                self._wires.writing(_size_bytes(source)).put(key, source, if_absent=if_absent, if_tag=if_tag)
                return True
            except S3Failure as seen:
                failure = seen
            if failure.code == failures.TAKEN or (if_tag and failure.code == failures.MISSING):
                self._excludes = True if if_absent else self._excludes
                return may_be_ours and self._holds(key, source)
            if failure.code == failures.NOT_SUPPORTED and (if_absent or if_tag):
                return self._write_to_a_simple_server(key, source, if_absent=if_absent)
            if self._wires.finds_a_way(failure, asked):
                continue
            if not failure.may_pass:
                break
            may_be_ours = may_be_ours or failure.may_have_happened
            if attempt + 1 < ATTEMPTS:
                pause(attempt)
        if may_be_ours:
            with suppress(S3Failure):
                if self._holds(key, source):
                    return True
        raise failure

    def _write_to_a_simple_server(self, key: str, source: bytes | Path, *, if_absent: bool) -> bool:
        # Whoever called has just looked: that is as good as it gets here.
        if if_absent:
            self._excludes = False
        else:
            self._swaps = False
        return self._write(key, source)

    def _takes(self, key: str, source: bytes | Path, *, if_absent: bool = False, if_tag: str = "") -> bool:
        wire = self._wires.writing(_size_bytes(source))
        try:
            again(lambda: wire.put(key, source, if_absent=if_absent, if_tag=if_tag))
        except S3Failure as failure:
            if failure.code in (failures.TAKEN, failures.MISSING):
                return False
            if failure.code == failures.NOT_SUPPORTED:
                return if_absent
            raise
        return True

    def _has_tag(self, key: str, tag: str) -> bool:
        found = find_object(self._wires, key)
        return found is not None and found[1] == tag

    def _tag(self, key: str, *, bare: bool) -> str:
        found = find_object(self._wires, key)
        if found is None:
            raise S3Failure(failures.MISSING)
        return _as_wanted(found[1], bare=bare)

    def _holds(self, key: str, source: bytes | Path) -> bool:
        """The key has our bytes."""
        try:
            there = open_object(self._wires, key)
        except S3Failure as failure:
            if failure.code == failures.MISSING:
                return False
            raise
        if there.size_bytes != _size_bytes(source):
            return False
        if isinstance(source, bytes):
            return b"".join(there.chunks) == source
        with source.open("rb") as ours:
            return all(ours.read(len(chunk)) == chunk for chunk in there.chunks)


def _size_bytes(source: bytes | Path) -> int:
    return source.stat().st_size if isinstance(source, Path) else len(source)


def _as_wanted(tag: str, *, bare: bool) -> str:
    return tag.strip('"') if bare else tag
