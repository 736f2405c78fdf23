"""The stable cut: which rows share a shard. A function of the sorted keys alone, whatever their history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import pyarrow as pa

from datapin.manifest.columns.columns import text_bytes

_HASHED_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class CutRules:
    """How rows are cut into shards. Only tests use other numbers than `CUT`, to meet many shards in few rows."""

    least_rows: int
    most_rows: int
    modulus: int

    def ends_shard(self, key: bytes | memoryview) -> bool:
        """Whether a shard that holds enough rows ends after this key."""
        return int.from_bytes(sha256(key).digest()[:4], "big") % self.modulus == 0


CUT = CutRules(least_rows=16_384, most_rows=262_144, modulus=65_536)


def iter_cut_ends(keys: pa.StringArray, carried: int = 0, rules: CutRules = CUT) -> Iterator[int]:
    """Row numbers (exclusive) after which a shard ends, for sorted keys of which `carried` rows came before.

    Each key is hashed at most once, and none of the first rows of a shard, which cannot end it.
    """
    offsets, data = text_bytes(keys)
    places = offsets.tolist()
    count = len(keys)
    start = -carried  # where the current shard began
    while True:
        limit = start + rules.most_rows
        end = _first_end(places, data, max(start + rules.least_rows - 1, 0), min(limit - 1, count), rules)
        if end is None:
            if limit > count:
                return
            end = limit
        yield end
        start = end


def _first_end(places: list[int], data: memoryview, begin: int, stop: int, rules: CutRules) -> int | None:
    """One more than the first row in [begin, stop) whose key ends a shard."""
    if rules.modulus != 65_536:
        found = (row + 1 for row in range(begin, stop) if rules.ends_shard(data[places[row] : places[row + 1]]))
        return next(found, None)
    # The production modulus asks whether the digest's third and fourth byte are zero; the loop is the cost of a cut.
    for block in range(begin, stop, _HASHED_AT_ONCE):
        until = min(block + _HASHED_AT_ONCE, stop)
        bounds = zip(places[block:until], places[block + 1 : until + 1], strict=True)
        hits = [sha256(data[a:b]).digest()[2:4] for a, b in bounds]
        if b"\0\0" in hits:
            return block + hits.index(b"\0\0") + 1
    return None


def cut(keys: pa.StringArray, rules: CutRules = CUT) -> list[int]:
    """The number of rows of each shard of these sorted keys, the last one included."""
    ends = list(iter_cut_ends(keys, rules=rules))
    if len(keys) and (not ends or ends[-1] != len(keys)):
        ends.append(len(keys))
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
