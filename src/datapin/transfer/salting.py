"""Fresh copies of what a collector has condemned: the same assets behind a small random one, so under a new name."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from datapin.base.errors import DamagedAsset
from datapin.base.files import write_all
from datapin.pack.format import CODEC_RAW, MAGIC, RECORD, encode_trailer
from datapin.pack.reader import read_stored
from datapin.pack.table import records_from_bytes
from datapin.pack.writer import PackWriter, SealedPack

_SALT_BYTES = 16
_CHUNK_BYTES = 1 << 20


def salted_pack(pack: SealedPack, path: str) -> SealedPack:
    """The assets of `pack` in a new one at `path`; the old file is removed. Raises OSError."""
    writer = PackWriter(path)
    number = os.open(pack.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        salt = secrets.token_bytes(_SALT_BYTES)
        writer.append(hashlib.sha256(salt).digest(), salt)
        for record in records_from_bytes(pack.table):
            stored = read_stored(number, int(record["offset"]), int(record["stored"]))
            writer.append_stored(record["id"].tobytes(), int(record["codec"]), stored, int(record["raw"]))
        sealed = writer.seal()
    except BaseException:
        writer.discard()
        raise
    finally:
        os.close(number)
    os.unlink(pack.path)
    return sealed


def salted_pack_of_one(raw_id: bytes, source: Path, path: str) -> SealedPack:
    """A loose asset of any size in a pack of its own at `path`, streamed. Raises DamagedAsset, OSError."""
    salt = secrets.token_bytes(_SALT_BYTES)
    whole, asset = hashlib.sha256(), hashlib.sha256()
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        offset, size = len(MAGIC) + _SALT_BYTES, 0
        whole.update(MAGIC + salt)
        write_all(number, MAGIC + salt)
        with open(source, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                asset.update(chunk)
                whole.update(chunk)
                write_all(number, chunk)
                size += len(chunk)
        if asset.digest() != raw_id:
            raise DamagedAsset(raw_id.hex(), str(source))
        table = RECORD.pack(hashlib.sha256(salt).digest(), len(MAGIC), _SALT_BYTES, _SALT_BYTES, CODEC_RAW)
        table += RECORD.pack(raw_id, offset, size, size, CODEC_RAW)
        end = table + encode_trailer(table, offset + size)
        whole.update(end)
        write_all(number, end)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(number)
    return SealedPack(path, whole.hexdigest(), offset + size + len(end), table)
