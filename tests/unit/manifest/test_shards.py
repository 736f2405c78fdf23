"""The stable cut."""

from __future__ import annotations

from hashlib import sha256

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapin.manifest.files.shards import CUT, CutRules, cut, iter_cut_ends

SMALL = CutRules(least_rows=3, most_rows=11, modulus=5)


def _cut_as_documented(keys: list[str], rules: CutRules) -> list[int]:
    counts, held = [], 0
    for key in keys:
        held += 1
        hashed = int.from_bytes(sha256(key.encode()).digest()[:4], "big")
        if held >= rules.most_rows or (held >= rules.least_rows and hashed % rules.modulus == 0):
            counts.append(held)
            held = 0
    return [*counts, held] if held else counts


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=200))
def test_the_cut_is_the_documented_one(numbers: list[int]) -> None:
    keys = [f"k{number:05d}" for number in sorted(numbers)]
    assert cut(pa.array(keys, pa.string()), SMALL) == _cut_as_documented(keys, SMALL)


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=120), st.integers(1, 40))
def test_keys_that_come_in_batches_are_cut_the_same(numbers: list[int], batch: int) -> None:
    keys = pa.array([f"k{number:05d}" for number in sorted(numbers)], pa.string())
    ends, carried = [], 0
    for start in range(0, len(keys), batch):
        part = keys.slice(start, batch)
        found = list(iter_cut_ends(part, carried, SMALL))
        ends += [start + end for end in found]
        carried = len(part) - found[-1] if found else carried + len(part)
    assert ends == list(iter_cut_ends(keys, rules=SMALL))


def test_the_production_cut_is_the_documented_one() -> None:
    keys = [f"{number:07d}" for number in range(350_000)]
    counts = cut(pa.array(keys))
    assert counts == _cut_as_documented(keys, CUT)
    assert len(counts) > 2


def test_a_shard_ends_at_the_most_rows_when_no_key_ends_it() -> None:
    keys = [key for key in (f"{number:06d}" for number in range(40)) if not SMALL.ends_shard(key.encode())][:25]
    assert cut(pa.array(keys), SMALL) == [11, 11, 3]


@pytest.mark.parametrize(("rule", "value"), [("least_rows", 16_384), ("most_rows", 262_144), ("modulus", 65_536)])
def test_the_numbers_of_the_format_do_not_move(rule: str, value: int) -> None:
    assert getattr(CUT, rule) == value


def test_no_keys_make_no_shard() -> None:
    assert cut(pa.array([], pa.string())) == []
