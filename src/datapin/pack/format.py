"""The bytes of a pack: magic, assets, table, trailer. No I/O, standard library only (docs/format.md#packs).

magic "DPK1" | asset bytes | asset bytes | … | table | trailer
table    one record per asset, in file order
trailer  count u64 | table offset u64 | SHA-256 of the table | magic "DPKT"
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from datapin.base.errors import DamagedPack

MAGIC = b"DPK1"
TRAILER_MAGIC = b"DPKT"
SUFFIX = ".pack"

CODEC_RAW = 0
CODEC_ZSTD = 1

RECORD = struct.Struct("<32sQQQB7x")  # id, offset, stored length, raw length, codec
TRAILER = struct.Struct("<QQ32s4s")
RECORD_BYTES = RECORD.size
TRAILER_BYTES = TRAILER.size
SMALLEST_PACK = len(MAGIC) + TRAILER_BYTES


@dataclass(frozen=True, slots=True)
class Trailer:
    """Where a pack's table lies: `count` records of 64 bytes from `table_offset` on, hashing to `table_hash`."""

    count: int
    table_offset: int
    table_hash: bytes


def encode_trailer(table: bytes, table_offset: int) -> bytes:
    """The last bytes of a pack whose `table` starts at `table_offset`."""
    digest = hashlib.sha256(table).digest()
    return TRAILER.pack(len(table) // RECORD_BYTES, table_offset, digest, TRAILER_MAGIC)


def decode_trailer(data: bytes, pack_bytes: int, path: str) -> Trailer:
    """The trailer from the last 52 bytes of a pack of `pack_bytes`.

    Raises DamagedPack if it is not one, or places the table elsewhere than right before itself.
    """
    if pack_bytes < SMALLEST_PACK or len(data) != TRAILER_BYTES:
        raise DamagedPack(path, f"{pack_bytes} bytes are too few for a pack")
    count, table_offset, digest, magic = TRAILER.unpack(data)
    if magic != TRAILER_MAGIC:
        raise DamagedPack(path, f"ends with {magic!r}, expected {TRAILER_MAGIC!r}; it may be cut off")
    # Python integers do not overflow, so a hostile count cannot wrap around here.
    if table_offset < len(MAGIC) or table_offset + count * RECORD_BYTES + TRAILER_BYTES != pack_bytes:
        raise DamagedPack(path, f"its table of {count} records at byte {table_offset} does not fit {pack_bytes} bytes")
    return Trailer(count, table_offset, digest)
