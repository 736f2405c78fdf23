"""Which columns two shards store in the same bytes: their values are the same, and need not be unpacked to know it."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path

from datapin.manifest.files.footers import Chunk, Footer, read_footer, readable

_BLOCK_BYTES = 1 << 20


def equally_stored(one: Path, other: Path, shown: str) -> frozenset[str]:
    """Columns of two files of ours with equal types and equal bytes; others may have equal values all the same.

    Raises DamagedManifest, ManifestMissing or StorageFailed.
    """
    first, second = read_footer(one, shown), read_footer(other, shown)
    if not (first.is_ours and second.is_ours and _group_rows(first) == _group_rows(second)):
        return frozenset()
    chunks, others = _by_column(first), _by_column(second)
    types = {field.name: field.type for field in second.schema}
    names = [f.name for f in first.schema if f.name in chunks and f.name in others and f.type == types.get(f.name)]
    with readable(one, shown), open(one, "rb", buffering=0) as a, open(other, "rb", buffering=0) as b:
        return frozenset(n for n in names if _are_equal(a.fileno(), b.fileno(), chunks[n], others[n]))


def _group_rows(footer: Footer) -> list[int]:
    return [group.rows for group in footer.groups]


def _by_column(footer: Footer) -> dict[str, list[Chunk]]:
    chunks = sorted((chunk for group in footer.groups for chunk in group.chunks), key=lambda chunk: chunk.path[0])
    return {name: list(found) for name, found in groupby(chunks, key=lambda chunk: chunk.path[0])}


def _are_equal(one: int, other: int, chunks: list[Chunk], others: list[Chunk]) -> bool:
    if [_form(chunk) for chunk in chunks] != [_form(chunk) for chunk in others]:
        return False
    return all(
        chunk.start > 0 and _same_bytes(one, other, chunk, twin) for chunk, twin in zip(chunks, others, strict=True)
    )


def _form(chunk: Chunk) -> tuple[object, ...]:
    return chunk.path, chunk.codec, chunk.has_dictionary, chunk.form, chunk.stored_bytes


def _same_bytes(one: int, other: int, chunk: Chunk, twin: Chunk) -> bool:
    for place in range(0, chunk.stored_bytes, _BLOCK_BYTES):
        count = min(_BLOCK_BYTES, chunk.stored_bytes - place)
        block = os.pread(one, count, chunk.start + place)
        if len(block) != count or block != os.pread(other, count, twin.start + place):
            return False
    return True
