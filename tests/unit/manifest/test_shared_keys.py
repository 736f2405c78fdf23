"""Keys that two sorted columns share are those of two sets, whatever way they are found."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from datapin.manifest.columns.columns import Mask
from datapin.manifest.comparing import pair_counts as module
from datapin.manifest.comparing.pair_counts import shared_keys

NAMES = [f"{number:05d}" for number in range(6000)]
LENGTHS = sorted(("ä" * (number % 7) + f"{number}" for number in range(5000)), key=str.encode)


def check(old: list[str], new: list[str]) -> None:
    masks = shared_keys(pa.array(old, pa.string()), pa.array(new, pa.string()))
    for mask, keys, others in zip(masks, (old, new), (new, old), strict=True):
        known = set(others)
        assert mask.tolist() == [key in known for key in keys]


@pytest.mark.parametrize("keys", [NAMES, LENGTHS], ids=["one length", "many lengths"])
@pytest.mark.parametrize("gone", [0, 1, 20, 300, 2000])
def test_rows_gone_anywhere_on_either_side(keys: list[str], gone: int) -> None:
    rng = random.Random(gone)
    sides = []
    for _ in range(2):
        dropped = set(rng.sample(range(len(keys)), gone))
        sides.append([key for number, key in enumerate(keys) if number not in dropped])
    check(*sides)
    check(sides[0], keys)
    check(keys, sides[1])


@pytest.mark.parametrize("keys", [NAMES, LENGTHS], ids=["one length", "many lengths"])
def test_a_block_of_rows_at_the_start_the_end_or_between(keys: list[str]) -> None:
    for part in (keys[1:], keys[:-1], keys[3000:], keys[:2048], keys[:100] + keys[4000:], keys[2500:2501], []):
        check(keys, part)
        check(part, keys)
    check(keys[:3000], keys[3000:])
    check(keys[3000:], keys[:3000])
    check(keys[::2], keys[1::2])


def test_columns_that_are_slices_of_longer_ones() -> None:
    old, new = pa.array(LENGTHS).slice(100, 3000), pa.array(LENGTHS).slice(90, 2900)
    is_old, is_new = shared_keys(old, new)
    assert (int(is_old.sum()), int(is_new.sum())) == (2890, 2890)
    assert is_old[:2890].all()
    assert is_new[10:].all()


def test_the_walk_and_the_join_agree_and_both_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = []
    real = module._join

    def join(old: pa.StringArray, new: pa.StringArray) -> tuple[Mask, Mask]:
        joined.append(len(old))
        return real(old, new)

    monkeypatch.setattr(module, "_join", join)
    few, many = pa.array(NAMES[:40] + NAMES[41:]), pa.array(NAMES[::3])
    for other, expected in ((few, []), (many, [len(NAMES)])):
        joined.clear()
        masks = shared_keys(pa.array(NAMES), other)
        assert joined == expected
        for mask, twin in zip(masks, real(pa.array(NAMES), other), strict=True):
            assert np.array_equal(mask, twin)
