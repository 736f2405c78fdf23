"""Splits by hash: stable under additions, and never across a group or an asset."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from datapin.pipeline.splits.splitting import crossing_rows, keep_given, split_by_hash, units_of
from workspaces import sha256

FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}


def ids(*names: object) -> pa.Array:
    return pa.array([sha256(str(name).encode()) for name in names])


def splits(groups: list[str | None] | None, assets: pa.Array, *others: pa.Array, seed: int = 0) -> list[str]:
    units = units_of(None if groups is None else pa.array(groups, pa.string()), assets, *(others or (assets,)))
    found: list[str] = split_by_hash(units, FRACTIONS, seed).to_pylist()
    return found


def test_shares_come_close_to_the_fractions() -> None:
    found = splits(None, ids(*range(5000)))
    assert [round(found.count(name) / 5000, 1) for name in FRACTIONS] == [0.8, 0.1, 0.1]


def test_new_rows_move_no_old_ones() -> None:
    assert splits(None, ids(*range(100))) == splits(None, ids(*range(1000)))[:100]
    assert splits(None, ids(*range(100))) == splits(None, ids(*range(99, -1, -1)))[::-1]


def test_another_seed_is_another_split() -> None:
    assert splits(None, ids(*range(100))) != splits(None, ids(*range(100)), seed=1)


def test_a_group_stays_together() -> None:
    groups: list[str | None] = [f"patient {number % 20}" for number in range(400)]
    found: npt.NDArray[np.str_] = np.array(splits(groups, ids(*range(400))))
    for group in set(groups):
        assert len(set(found[np.array(groups) == group])) == 1


def test_the_split_of_a_group_does_not_depend_on_its_assets() -> None:
    assert splits(["a", "b"], ids(1, 2)) == splits(["a", "b"], ids(3, 4))


def test_rows_without_a_group_go_by_their_asset() -> None:
    some = splits([None, "g", None], ids(1, 2, 3))
    assert some[0::2] == splits(None, ids(1, 3))


def test_equal_assets_stay_together() -> None:
    found = splits(None, ids(*range(50), *range(50)))
    assert found[:50] == found[50:]


@pytest.mark.parametrize("seed", range(8))
def test_groups_that_share_an_asset_stay_together(seed: int) -> None:
    groups = [f"g{number}" for number in range(6)]
    chain = ids(0, 1, 2, 3, 4, 5), ids(0, 0, 2, 2, 4, 5)
    found = splits([*groups, "g1", "g3"], ids(0, 1, 2, 3, 4, 5, 2, 9), ids(0, 0, 2, 2, 4, 5, 2, 9), seed=seed)
    assert len({found[0], found[1], found[2], found[3], found[6], found[7]}) == 1
    units = units_of(pa.array(groups), *chain)
    assert units.bridged == 2


def test_what_is_made_of_two_assets_keeps_them_together() -> None:
    units = units_of(None, ids(*range(200)), ids(*[number // 2 for number in range(200)]))
    found = split_by_hash(units, FRACTIONS, 0).to_pylist()
    assert found[0::2] == found[1::2]
    assert set(found) == set(FRACTIONS)


def test_a_given_split_is_kept_and_spreads_to_its_unit() -> None:
    units = units_of(pa.array(["a", "a", "b", "c"]), ids(1, 2, 3, 4))
    given = pa.array([None, "test", None, "val"], pa.string())
    otherwise = pa.array(["train"] * 4)
    assert keep_given(units, given, otherwise).to_pylist() == ["test", "test", "train", "val"]


def test_rows_that_cross_are_found() -> None:
    units = units_of(pa.array(["a", "a", "b", "b"]), ids(1, 2, 3, 4))
    assert crossing_rows(units, pa.array(["train", "test", "val", "val"])).tolist() == [1]
