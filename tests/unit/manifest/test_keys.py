"""Keys: what is refused, what is not, and how it is said."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapin.base.errors import BadKeys
from datapin.manifest.columns.keys import (
    MAX_PROBLEMS,
    _suspects,
    case_collisions,
    check_keys,
    key_problem,
)
from datapin.testing.hostile_keys import HOSTILE_BYTES, HOSTILE_KEYS, NEAR_MISSES


def test_the_corpus_of_hostile_keys_is_large() -> None:
    assert len(HOSTILE_KEYS) >= 300


@pytest.mark.parametrize("key", HOSTILE_KEYS, ids=ascii)
def test_a_hostile_key_is_refused_alone_and_among_good_ones(key: str) -> None:
    assert key_problem(key)
    for keys in ([key], ["a.png", key, "b.png"]):
        with pytest.raises(BadKeys) as caught:
            check_keys(keys, where="data/raw")
        assert len(caught.value.problems) == 1


@pytest.mark.parametrize("name", HOSTILE_BYTES, ids=ascii)
def test_bytes_that_are_not_text_are_refused(name: bytes) -> None:
    column = pa.array([b"a.png", name], pa.binary()).view(pa.string())
    with pytest.raises(BadKeys, match="is not valid UTF-8"):
        check_keys(column, where="data/raw")


@pytest.mark.parametrize("key", NEAR_MISSES, ids=ascii)
def test_a_near_miss_is_a_legal_key(key: str) -> None:
    assert key_problem(key) is None
    check_keys([key], where="data/raw")


@pytest.mark.parametrize(
    "key", [key for key in HOSTILE_KEYS if key.isascii() is False or not key.isprintable()], ids=ascii
)
def test_what_is_said_of_a_key_is_safe_to_print(key: str) -> None:
    with pytest.raises(BadKeys) as caught:
        check_keys([key], where="data/raw")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


_PIECES = st.sampled_from(
    [*"./~19: aB\\\n\x00é．ｇ$-¹ſİıK\u200c\u202e", "..", "git", ".git", "con", "NUL", "com", "e\u0301", "x" * 300]
)


@given(st.one_of(st.lists(_PIECES, max_size=8).map("".join), st.text(max_size=12)))
def test_the_column_check_overlooks_no_key_that_the_rule_refuses(key: str) -> None:
    try:
        column = pa.array([key], pa.string())
    except UnicodeEncodeError:
        return
    if key_problem(key):
        assert len(_suspects(column)) == 1


def test_slices_chunks_and_large_strings_are_checked_in_full() -> None:
    column = pa.chunked_array(
        [pa.array(["..", "a", "b"], pa.large_string())[1:], pa.array(["c", "../d"], pa.large_string())]
    )
    with pytest.raises(BadKeys) as caught:
        check_keys(column, where="data/raw")
    assert caught.value.problems == ("'../d' has a part '..'",)


def test_at_most_a_hundred_problems_are_listed() -> None:
    with pytest.raises(BadKeys) as caught:
        check_keys([f"../{number}" for number in range(500)], where="data/raw")
    assert len(caught.value.problems) == MAX_PROBLEMS


def test_a_null_key_is_a_problem() -> None:
    with pytest.raises(BadKeys, match="is null"):
        check_keys(pa.array(["a", None]), where="data/raw")


def test_keys_that_differ_only_in_case_are_paired() -> None:
    keys = ["A.png", "a.png", "b/C.png", "b/c.png", "d.png", "straße", "STRASSE", "Éa", "éA"]
    assert case_collisions(keys) == [("A.png", "a.png"), ("b/C.png", "b/c.png"), ("straße", "STRASSE"), ("Éa", "éA")]


def test_repeated_keys_are_not_case_collisions() -> None:
    assert case_collisions(["a", "a", "b"]) == []
