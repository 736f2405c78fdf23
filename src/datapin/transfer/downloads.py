"""Single reads from a remote, checked: a whole pack, a loose asset, ranges of a pack. Every call may run in a thread.

Bytes that come wrong are read again twice: a server or a network may have spoilt them on the way.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from datapin.base import failpoints
from datapin.base.errors import DamagedPack, ObjectMissing
from datapin.base.files import write_all
from datapin.base.ids import RAW_ID_BYTES
from datapin.pack.codec import CodecError, decode
from datapin.pack.encoded import EncodedAsset
from datapin.pack.format import CODEC_RAW
from datapin.pack.reader import Span, coalesce, read_stored
from datapin.pack.table import Table, read_table_of_file
from datapin.pack.writer import SealedPack
from datapin.store.adding.filling import Filler, LooseWriter
from datapin.store.index import Entries
from datapin.store.layout import loose_key, pack_key
from datapin.store.remote import RemoteStore
from datapin.transfer.plan import Rows

READS = 3

_SPAN_BYTES = 1 << 20
_CALL_BYTES = 2 << 20  # of one request for ranges: with those under way and waiting it bounds the memory of a fetch
_CALL_SPANS = 256
_CHECKED_BYTES = 1 << 20


class Stopped(Exception):  # no error: the user has stopped the fetch
    """Raised in threads after `stop` was set."""


@dataclass(frozen=True, slots=True)
class RangeCall:
    """Pieces of one pack that are read by one call: rows of the index, and the spans that cover them."""

    pack: bytes
    rows: Rows
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """The asset of one row; None if it could not be had, and why (nothing if its pack is gone)."""

    row: int
    asset: EncodedAsset | None
    problem: str = ""


class Downloads:
    """Reads of one fetch, into files that `filler` names."""

    def __init__(self, remote: RemoteStore, filler: Filler, stop: threading.Event) -> None:
        self._remote = remote
        self._filler = filler
        self._stop = stop

    def pack(self, pack: bytes) -> SealedPack | None:
        """The pack in a durable file; None if it is damaged there. Raises ObjectMissing, RemoteUnreachable, OSError."""
        for _ in range(READS):
            path = self._filler.new_path()
            size = self._write(pack_key(pack.hex()), path, pack)
            if size is not None:
                break
            os.unlink(path)
        else:
            return None
        try:
            table = read_table_of_file(path)
        except DamagedPack:
            return None
        # A pack may be whole and still name wrong ids: whoever may write to the remote can lie about what is in it.
        return SealedPack(path, pack.hex(), size, table.tobytes()) if _assets_are_right(path, table) else None

    def loose(self, raw_id: bytes) -> LooseWriter | None:
        """The loose asset in a file; None if it is damaged there. Raises ObjectMissing, RemoteUnreachable, OSError."""
        for _ in range(READS):
            writer = self._filler.open_loose()
            try:
                for chunk in self._chunks(loose_key(raw_id.hex())):
                    writer.write(chunk)
            except BaseException:
                writer.discard()
                raise
            if writer.raw_id() == raw_id:
                return writer
            writer.discard()
        return None

    def ranges(self, entries: Entries, call: RangeCall) -> list[Piece]:
        """The assets of these rows of the index, each checked. Raises RemoteUnreachable."""
        self._check()
        key = pack_key(call.pack.hex())
        try:
            blocks = self._remote.backend.get_ranges(key, [(span.offset, span.length) for span in call.spans])
            pieces = []
            for span, block in zip(call.spans, blocks, strict=True):
                for row in call.rows[span.first : span.last + 1].tolist():
                    start = int(entries.offset[row]) - span.offset
                    pieces.append(self._piece(entries, row, block[start : start + int(entries.length[row])]))
            return pieces
        except ObjectMissing:
            return [Piece(int(row), None) for row in call.rows]

    def _piece(self, entries: Entries, row: int, stored: bytes) -> Piece:
        raw_id, codec, raw_length = entries.ids[row].tobytes(), int(entries.codec[row]), int(entries.raw_length[row])
        asset = EncodedAsset(raw_id, codec, stored, raw_length)
        problem = asset.problem()
        key = pack_key(entries.packs[entries.pack[row]].hex())
        for _ in range(READS - 1):
            if not problem:
                break
            self._check()
            (data,) = self._remote.backend.get_ranges(key, [(int(entries.offset[row]), int(entries.length[row]))])
            asset = EncodedAsset(raw_id, codec, data, raw_length)
            problem = asset.problem()
        return Piece(row, None if problem else asset, problem)

    def _write(self, key: str, path: str, content: bytes) -> int | None:
        """Write the object to `path`, durably; its size, or None if it does not hash to `content`."""
        digest, size = hashlib.sha256(), 0
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            for chunk in self._chunks(key):
                digest.update(chunk)
                write_all(number, chunk)
                size += len(chunk)
            if digest.digest() != content:
                return None
            os.fsync(number)
            failpoints.hit("fetch.pack.synced")
        except BaseException:
            with suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(number)
        return size

    def _chunks(self, key: str) -> Iterator[bytes]:
        self._check()
        for chunk in self._remote.backend.iter_chunks(key):
            self._check()
            yield chunk

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped


def range_calls(entries: Entries, rows: Rows, gap_bytes: int) -> Iterator[RangeCall]:
    """Calls that read `rows`; pieces at most `gap_bytes` apart are read as one span. In the order of their places."""
    rows = rows[np.lexsort((entries.offset[rows], entries.pack[rows]))]
    packs = entries.pack[rows]
    ends = [*(np.flatnonzero(np.diff(packs)) + 1).tolist(), len(rows)] if len(rows) else []
    start = 0
    for end in ends:
        group, pack = rows[start:end], entries.packs[packs[start]]
        spans = coalesce(
            entries.offset[group].tolist(), entries.length[group].tolist(), gap=gap_bytes, most=_SPAN_BYTES
        )
        yield from _calls_of_pack(pack, group, spans)
        start = end


def _calls_of_pack(pack: bytes, rows: Rows, spans: Sequence[Span]) -> Iterator[RangeCall]:
    waiting: list[Span] = []
    waiting_bytes = 0
    for span in spans:
        if waiting and (waiting_bytes + span.length > _CALL_BYTES or len(waiting) >= _CALL_SPANS):
            yield _call(pack, rows, waiting)
            waiting, waiting_bytes = [], 0
        waiting.append(span)
        waiting_bytes += span.length
    if waiting:
        yield _call(pack, rows, waiting)


def _call(pack: bytes, rows: Rows, spans: Sequence[Span]) -> RangeCall:
    first = spans[0].first
    own = tuple(Span(span.offset, span.length, span.first - first, span.last - first) for span in spans)
    return RangeCall(pack, rows[first : spans[-1].last + 1], own)


def _assets_are_right(path: str, table: Table) -> bool:
    """Whether each asset of the pack hashes to its id."""
    offsets, lengths = table["offset"].tolist(), table["stored"].tolist()
    raw_lengths, codecs = table["raw"].tolist(), table["codec"].tolist()
    ids = table["id"].tobytes()
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for span in coalesce(offsets, lengths, gap=0, most=_CHECKED_BYTES):
            block = memoryview(read_stored(number, span.offset, span.length))
            for place in range(span.first, span.last + 1):
                start = offsets[place] - span.offset
                stored: bytes | memoryview = block[start : start + lengths[place]]
                raw_id = ids[RAW_ID_BYTES * place : RAW_ID_BYTES * (place + 1)]
                if codecs[place] != CODEC_RAW:
                    stored = decode(codecs[place], bytes(stored), raw_lengths[place], raw_id)
                if hashlib.sha256(stored).digest() != raw_id:
                    return False
        return True
    except CodecError:
        return False
    finally:
        os.close(number)
