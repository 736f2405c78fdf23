"""Pairs of 64-bit hashes that differ in few bits, without comparing all with all.

Two hashes that differ in at most `bits` bits agree wholly in at least `parts - bits` of any `parts` parts that the 64
bits are cut into (the pigeonhole principle; Manku, Jain, Sarma 2007). So for every choice of that many parts, hashes
are sorted by them, and only those that agree there are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

HASH_BITS = 64
_AT_ONCE = 1 << 18
_SORT_COST = 15.0  # of one hash, against comparing one pair
_MOST_TABLES = 500


def near_pairs(hashes: Hashes, kinds: Rows, bits: int) -> tuple[Rows, Rows]:
    """Every pair of rows whose hashes differ in at most `bits` bits and whose kinds differ, each once, one < other.

    Cost: about n log n for hashes that are spread out; quadratic only where very many are nearly equal.
    """
    count = max(1, len(hashes))
    pairs = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *_found(hashes, kinds, bits)]))
    return pairs // count, pairs % count


def distances(one: Hashes, other: Hashes) -> Rows:
    """In how many bits each hash differs from its fellow."""
    apart: Rows = np.bitwise_count(one ^ other).astype(np.int64)
    return apart


def _found(hashes: Hashes, kinds: Rows, bits: int) -> Iterator[Rows]:
    """Near pairs of different kinds, some more than once, each as one number: smaller row * count + greater row."""
    parts = _parts(len(hashes), bits)
    for chosen in combinations(range(parts), parts - bits):
        mask = np.uint64(sum(_part_mask(part, parts) for part in chosen))
        keys = hashes & mask
        order = np.argsort(keys)
        yield from _near_neighbours(keys[order], hashes[order], order, kinds, bits)


def _near_neighbours(keys: Hashes, hashes: Hashes, order: Rows, kinds: Rows, bits: int) -> Iterator[Rows]:
    """Near pairs among rows with the same key; `keys` and `hashes` are sorted by key, `order` are their rows."""
    sizes = np.diff(np.append(np.flatnonzero(np.append(True, keys[1:] != keys[:-1])), len(keys)))
    left_behind = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(keys)) - 1  # rows of the same key behind each
    places = np.flatnonzero(left_behind > 0)
    step = 1
    while len(places):
        for start in range(0, len(places), _AT_ONCE):
            part = places[start : start + _AT_ONCE]
            near = part[np.bitwise_count(hashes[part] ^ hashes[part + step]) <= bits]
            one, other = order[near], order[near + step]
            differs = kinds[one] != kinds[other]
            one, other = one[differs], other[differs]
            yield np.minimum(one, other) * len(kinds) + np.maximum(one, other)
        step += 1
        places = places[left_behind[places] >= step]


def _parts(count: int, bits: int) -> int:
    """Into how many parts to cut: many make few chance candidates, and many tables to sort."""

    def cost(parts: int) -> float:
        agreeing = HASH_BITS * (parts - bits) / parts
        return comb(parts, bits) * (count * _SORT_COST + count * count / math.exp2(agreeing) / 2)

    fitting = [parts for parts in range(bits + 1, HASH_BITS + 1) if comb(parts, bits) <= _MOST_TABLES]
    return min(fitting, key=cost)


def _part_mask(part: int, parts: int) -> int:
    start, end = HASH_BITS * part // parts, HASH_BITS * (part + 1) // parts
    return (1 << end) - (1 << start)
