"""Near pairs of hashes: exactly those that comparing all with all finds."""

from __future__ import annotations

import numpy as np
import pytest

from datapin.pipeline.splits.near_pairs import distances, near_pairs


def all_pairs(hashes: np.ndarray, kinds: np.ndarray, bits: int) -> set[tuple[int, int]]:
    one, other = np.triu_indices(len(hashes), 1)
    near = (np.bitwise_count(hashes[one] ^ hashes[other]) <= bits) & (kinds[one] != kinds[other])
    return set(zip(one[near].tolist(), other[near].tolist(), strict=True))


@pytest.mark.parametrize("bits", [0, 1, 3, 4, 7, 12, 32])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_near_pairs_are_those_of_comparing_all_with_all(bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, 40, dtype=np.uint64)
    flips = np.array(
        [sum(1 << int(bit) for bit in rng.choice(64, rng.integers(0, 9), replace=False)) for _ in range(300)]
    )
    hashes = centres[rng.integers(0, 40, 300)] ^ flips.astype(np.uint64)
    kinds = rng.integers(0, 3, 300)
    one, other = near_pairs(hashes, kinds, bits)
    found = list(zip(one.tolist(), other.tolist(), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == all_pairs(hashes, kinds, bits)
    assert (distances(hashes[one], hashes[other]) <= bits).all()


def test_bits_at_the_seams_of_all_parts_are_seen() -> None:
    hashes = np.array([0, *(1 << bit for bit in range(64))], dtype=np.uint64)
    kinds = np.array([0] + [1] * 64)
    one, other = near_pairs(hashes, kinds, 1)
    assert one.tolist() == [0] * 64
    assert other.tolist() == list(range(1, 65))


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_near_to_nothing(count: int) -> None:
    one, other = near_pairs(np.zeros(count, dtype=np.uint64), np.zeros(count, dtype=np.int64), 4)
    assert len(one) == len(other) == 0


def test_equal_hashes_pair_with_those_of_the_other_kind_only() -> None:
    kinds = np.arange(2000) % 2
    one, _ = near_pairs(np.zeros(2000, dtype=np.uint64), kinds, 0)
    assert len(one) == 1000 * 1000
