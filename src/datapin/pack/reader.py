"""Reads assets out of an open pack, and plans coalesced ranges for places where a request costs more than bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

_TRUSTED_BYTES = 64 << 20


def read_stored(number: int, offset: int, length: int) -> bytes:
    """`length` bytes at `offset` of the open file `number`; fewer only if the file ends there. Raises OSError."""
    if length > _TRUSTED_BYTES:  # reserved before it is read: an index may claim more than the file has
        length = max(0, min(length, os.fstat(number).st_size - offset))
    data = os.pread(number, length, offset)
    if len(data) == length or not data:
        return data
    parts = [data]  # Linux reads at most 2 GiB at once, and a signal may cut a read short
    missing = length - len(data)
    while missing and data:
        data = os.pread(number, missing, offset + length - missing)
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Span:
    """One range to read that covers the wanted pieces `first` to `last` (in the given order), both included."""

    offset: int
    length: int
    first: int
    last: int


def coalesce(offsets: Sequence[int], lengths: Sequence[int], *, gap: int, most: int) -> list[Span]:
    """Spans that cover pieces sorted by offset: pieces at most `gap` bytes apart share one, up to `most` bytes.

    A single piece longer than `most` is one span of its own.
    """
    spans: list[Span] = []
    start = end = first = 0
    for number, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
        if number and (offset > end + gap or offset + length - start > most):
            spans.append(Span(start, end - start, first, number - 1))
            start, first, end = offset, number, offset
        elif not number:
            start = end = offset
        end = max(end, offset + length)
    if len(offsets):
        spans.append(Span(start, end - start, first, len(offsets) - 1))
    return spans
