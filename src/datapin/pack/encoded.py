"""Assets as packs hold them: moved from pack to pack without decoding twice, but never without being hashed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from datapin.pack.codec import CodecError, decode, encode


@dataclass(frozen=True, slots=True)
class EncodedAsset:
    """One asset in its stored form."""

    raw_id: bytes
    codec: int
    stored: bytes
    raw_length: int

    def problem(self) -> str:
        """What is wrong with it, or empty: it is decoded and hashed."""
        try:
            data = decode(self.codec, self.stored, self.raw_length, self.raw_id)
        except CodecError as error:
            return str(error)
        return "" if hashlib.sha256(data).digest() == self.raw_id else "hash mismatch"


def encoded(raw_id: bytes, data: bytes) -> EncodedAsset:
    """The asset `data` in the form in which a pack would hold it."""
    codec, stored = encode(data)
    return EncodedAsset(raw_id, codec, stored, len(data))
