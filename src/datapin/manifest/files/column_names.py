"""The names of a shard's columns, from its last bytes, where loading Arrow would take too long."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from datapin.manifest.files.thrift import BrokenThrift, decode_struct

_MOST_FOOTER_BYTES = 16 << 20


def column_names(path: Path) -> list[str]:
    """The columns of a Parquet file, in order; none if its footer cannot be read. Raises OSError."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        (length,) = struct.unpack("<I", file.read(4))
        if file.read(4) != b"PAR1" or length > _MOST_FOOTER_BYTES:
            return []
        file.seek(-8 - length, os.SEEK_END)
        try:
            schema = decode_struct(file.read(length))[2]
        except BrokenThrift:
            return []
    names: list[str] = []
    number = 1
    for _ in range(schema[0][5]):
        names.append(schema[number][4].decode("utf-8"))
        number = _past(schema, number)
    return names


def _past(schema: list[dict[int, Any]], number: int) -> int:
    """The number after an element and all that it holds."""
    following = number + 1
    for _ in range(schema[number].get(5, 0)):
        following = _past(schema, following)
    return following
