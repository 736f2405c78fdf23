"""The memo: results by (asset, copy), durable, and never wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datapin.pipeline.mapping.memo import MOST_SMALL_SEGMENTS, Memo, MemoHits, OperatorMemo

KEY = "ab" * 32


def ids(*numbers: int) -> np.ndarray:
    rows = np.zeros((len(numbers), 32), dtype=np.uint8)
    rows[:, :8] = np.array(numbers, dtype=">u8").view(np.uint8).reshape(-1, 8)
    rows[:, 31] = np.array(numbers) % 251
    return rows


def copies(count: int, copy: int = 0) -> np.ndarray:
    return np.full(count, copy, dtype=np.int64)


def values(memo: OperatorMemo, *numbers: int, copy: int = 0) -> list[bytes | None]:
    hits = memo.find(ids(*numbers), copies(len(numbers), copy))
    assert hits.found.all()
    found: list[bytes | None] = memo.read(hits)["value"].to_pylist()
    return found


@pytest.fixture
def memo(tmp_path: Path) -> OperatorMemo:
    return Memo(tmp_path).of(KEY)


def test_results_come_back_in_the_order_asked(memo: OperatorMemo, tmp_path: Path) -> None:
    memo.append(ids(5, 1, 3), copies(3), [None] * 3, [b"five", b"one", b"three"])
    memo.append(ids(2), copies(1), [None], [b"two"])
    assert values(memo, 3, 2, 5, 1, 3) == [b"three", b"two", b"five", b"one", b"three"]
    assert values(Memo(tmp_path).of(KEY), 2, 1) == [b"two", b"one"]


def test_what_is_not_there_is_not_found(memo: OperatorMemo) -> None:
    assert not memo.find(ids(1, 2), copies(2)).found.any()
    memo.append(ids(1), copies(1), [None], [b"one"])
    assert memo.find(ids(2, 1, 0), copies(3)).found.tolist() == [False, True, False]
    assert memo.read(MemoHits(np.empty(0, np.int64), np.empty(0, np.int64))).num_rows == 0


def test_copies_of_one_asset_are_different_results(memo: OperatorMemo) -> None:
    memo.append(ids(7, 7), np.array([1, 2]), [None, None], [b"first", b"second"])
    assert values(memo, 7, copy=2) == [b"second"]
    assert not memo.find(ids(7), copies(1, 3)).found.any()


def test_operators_do_not_see_each_other(memo: OperatorMemo, tmp_path: Path) -> None:
    memo.append(ids(1), copies(1), [None], [b"x"])
    assert not Memo(tmp_path).of("cd" * 32).find(ids(1), copies(1)).found.any()


def test_ids_that_share_their_first_bytes_are_told_apart(memo: OperatorMemo) -> None:
    near = np.concatenate([ids(9), ids(9)])
    near[1, 20] = 1
    memo.append(near[:1], copies(1), [None], [b"x"])
    assert memo.find(near, copies(2)).found.tolist() == [True, False]


def test_problems_are_remembered(memo: OperatorMemo) -> None:
    memo.append(ids(1, 2), copies(2), ["broken", None], [None, b"fine"])
    table = memo.read(memo.find(ids(2, 1), copies(2)))
    assert table.to_pylist() == [{"problem": None, "value": b"fine"}, {"problem": "broken", "value": None}]


def test_many_small_segments_become_one_and_nothing_is_lost(tmp_path: Path) -> None:
    memo = Memo(tmp_path).of(KEY)
    for number in range(MOST_SMALL_SEGMENTS + 4):
        memo.append(ids(number), copies(1), [None], [b"%d" % number])
    folder = tmp_path / KEY[:2] / KEY
    assert len(list(folder.glob("*.parquet"))) == MOST_SMALL_SEGMENTS + 4
    merged = Memo(tmp_path).of(KEY)
    assert len(list(folder.glob("*.parquet"))) == 1
    wanted = list(range(MOST_SMALL_SEGMENTS + 4))[::-1]
    assert values(merged, *wanted) == [b"%d" % number for number in wanted]
    assert values(memo, *wanted) == [b"%d" % number for number in wanted], "open files outlive the merge"


def test_values_of_thousands_of_rows_survive_the_cut_into_row_groups(memo: OperatorMemo, tmp_path: Path) -> None:
    count = 10_000
    memo.append(ids(*range(count)), copies(count), [None] * count, [b"%d" % number for number in range(count)])
    wanted = [9_999, 0, 4_095, 4_096, 8_191, 8_192]
    assert values(Memo(tmp_path).of(KEY), *wanted) == [b"%d" % number for number in wanted]


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_torn_segment_is_dropped_and_the_others_stay(tmp_path: Path, keep: int) -> None:
    memo = Memo(tmp_path).of(KEY)
    memo.append(ids(1), copies(1), [None], [b"one"])
    (torn,) = (tmp_path / KEY[:2] / KEY).glob("*.parquet")
    memo.append(ids(2), copies(1), [None], [b"two"])
    torn.write_bytes(torn.read_bytes()[:keep])
    again = Memo(tmp_path).of(KEY)
    assert again.find(ids(1, 2), copies(2)).found.tolist() == [False, True]
    assert not torn.exists()
