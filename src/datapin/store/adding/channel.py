"""What a worker and its parent say to each other: framed messages over two pipes. Plain bytes and JSON, no pickle.

A worker speaks first: it asks for a run of files, hands in batches and gets verdicts. The parent sends runs only when
asked and a verdict per batch, so neither can be stuck writing while the other is.
"""

from __future__ import annotations

import json
import os
import struct
from array import array
from typing import Any

from datapin.base.files import write_all
from datapin.pack.writer import SealedPack
from datapin.store.adding.adding import PutBatch, Verdicts
from datapin.store.adding.copies import KnownPlace
from datapin.store.adding.filling import Filled, LooseAsset

ASK_RUN = 1  # worker: nothing -> RUN or NO_MORE
BATCH = 2  # worker: ids, stats, problems -> VERDICTS
REFUSED = 3  # worker: one more problem
FILLED = 4  # worker: what was written; its last word
FAILED = 5  # worker: the store's file system refused; its last word
ADVANCED = 6  # worker: so many bytes of a large file were read
RUN = 11
NO_MORE = 12
VERDICTS = 13

_FRAME = struct.Struct("<BQ")
_BATCH = struct.Struct("<QQ")  # first, count
_PLACE = struct.Struct("<?32sQQQB")  # is loose, pack, offset, length, raw length, codec


class ChannelClosed(Exception):
    """The other side is gone."""


class Channel:
    """One end: reads from the file number `incoming`, writes to `outgoing`."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self.incoming = incoming
        self._outgoing = outgoing

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Send one message. Raises ChannelClosed."""
        try:
            write_all(self._outgoing, _FRAME.pack(kind, len(payload)) + payload)
        except (BrokenPipeError, ConnectionResetError):
            raise ChannelClosed from None

    def receive(self) -> tuple[int, bytes]:
        """The next message. Raises ChannelClosed."""
        kind, length = _FRAME.unpack(self._read(_FRAME.size))
        return kind, self._read(length)

    def close(self) -> None:
        """Close both directions."""
        os.close(self.incoming)
        os.close(self._outgoing)

    def _read(self, length: int) -> bytes:
        parts, missing = [], length
        while missing:
            part = os.read(self.incoming, missing)
            if not part:
                raise ChannelClosed
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def encode_json(value: Any) -> bytes:
    """`value` as JSON in ASCII: names that are not UTF-8 pass as lone surrogates."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def encode_batch(batch: PutBatch) -> bytes:
    """A batch without its contents."""
    head = _BATCH.pack(batch.first, len(batch.ids))
    return b"".join((head, *batch.ids, batch.stats.tobytes(), encode_json(batch.problems)))


def decode_batch(payload: bytes) -> tuple[int, bytes, bytes, list[tuple[int, str]]]:
    """First number, ids, stats and problems of a batch."""
    first, count = _BATCH.unpack_from(payload)
    ids_end = _BATCH.size + 32 * count
    stats_end = ids_end + 4 * array("q").itemsize * count
    problems = [(number, problem) for number, problem in json.loads(payload[stats_end:])]
    return first, payload[_BATCH.size : ids_end], payload[ids_end:stats_end], problems


def encode_verdicts(verdicts: Verdicts) -> bytes:
    """Codes, then the known places."""
    places = (
        _PLACE.pack(not p.pack_id, bytes.fromhex(p.pack_id), p.offset, p.length, p.raw_length, p.codec)
        for p in verdicts.known
    )
    return b"".join((struct.pack("<Q", len(verdicts.codes)), verdicts.codes, *places))


def decode_verdicts(payload: bytes) -> Verdicts:
    """The inverse of `encode_verdicts`."""
    (count,) = struct.unpack_from("<Q", payload)
    places = _PLACE.iter_unpack(payload[8 + count :])
    return Verdicts(
        codes=payload[8 : 8 + count],
        known=[KnownPlace("" if loose else pack.hex(), *rest) for loose, pack, *rest in places],
    )


def encode_filled(filled: Filled) -> bytes:
    """What a worker wrote, as one JSON line and the tables of its packs."""
    head = {
        "packs": [[pack.path, pack.pack_id, pack.size_bytes, len(pack.table)] for pack in filled.packs],
        "loose": [[loose.path, loose.raw_id.hex(), loose.size_bytes] for loose in filled.loose],
    }
    return b"".join((encode_json(head), b"\n", *(pack.table for pack in filled.packs)))


def decode_filled(payload: bytes) -> Filled:
    """The inverse of `encode_filled`."""
    head, tables = payload.split(b"\n", 1)
    filled, start = Filled(), 0
    said = json.loads(head)
    for path, pack_id, size_bytes, table_bytes in said["packs"]:
        filled.packs.append(SealedPack(path, pack_id, size_bytes, tables[start : start + table_bytes]))
        start += table_bytes
    filled.loose = [LooseAsset(path, bytes.fromhex(raw_id), size) for path, raw_id, size in said["loose"]]
    return filled
