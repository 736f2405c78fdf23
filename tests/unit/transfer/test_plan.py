"""Plans: which packs move whole, what is taken out of others; tables in, tables out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datapin.base.id_columns import IdMatrix
from datapin.store.index import NO_ENTRIES, Entries, Index, join_entries
from datapin.transfer.plan import plan_transfer


def raw_id(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def ids_of(names: Iterable[str]) -> IdMatrix:
    return np.frombuffer(b"".join(map(raw_id, names)), dtype=np.uint8).reshape(-1, 32)


def index_of(packs: dict[str, str], loose: str = "", length: int = 10) -> Index:
    """Packs by name, each asset one letter and `length` bytes long."""
    rows: list[tuple[str, str | None, int]] = [
        (letter, pack, place) for pack, letters in packs.items() for place, letter in enumerate(letters)
    ]
    rows += [(letter, None, 0) for letter in loose]
    if not rows:
        return Index(NO_ENTRIES)
    names = tuple(raw_id(pack) for pack in packs)
    lengths = np.full(len(rows), length, dtype=np.int64)
    return Index(
        join_entries(
            [
                Entries(
                    ids_of([row[0] for row in rows]),
                    np.array([-1 if row[1] is None else names.index(raw_id(row[1])) for row in rows], dtype=np.int32),
                    np.array([4 + length * row[2] for row in rows], dtype=np.int64),
                    lengths,
                    lengths,
                    np.zeros(len(rows), dtype=np.uint8),
                    names,
                )
            ]
        )
    )


def shown(wanted: str, source: Index, target: Index) -> tuple[list[str], str, str, int, str]:
    """The plan in letters: packs that move whole, pieces, loose, present, absent."""
    plan = plan_transfer(ids_of(wanted), source, target)
    letters = {raw_id(letter): letter for letter in "abcdefghijklmnopqrstuvwxyz"}
    packs = {raw_id(pack): pack for pack in ("one", "two", "three")}

    def text(rows: Iterable[int]) -> str:
        return "".join(letters[source.entries.ids[row].tobytes()] for row in rows)

    assert plan.bytes == 10 * plan.assets
    return (
        [packs[source.entries.packs[number]] for number in plan.whole],
        text(plan.pieces),
        text(plan.loose),
        plan.present,
        "".join(wanted[position] for position in plan.absent),
    )


NOTHING = index_of({})
SOURCE = index_of({"one": "abcd", "two": "efgh"}, loose="x")


def test_a_wholly_wanted_pack_moves_whole() -> None:
    assert shown("abcd", SOURCE, NOTHING) == (["one"], "", "", 0, "")


def test_a_pack_moves_whole_when_more_than_half_of_it_is_wanted() -> None:
    assert shown("abc", SOURCE, NOTHING) == (["one"], "", "", 0, "")
    assert shown("ab", SOURCE, NOTHING) == ([], "ab", "", 0, "")


def test_a_pack_of_which_the_target_has_anything_is_taken_apart() -> None:
    assert shown("abcd", SOURCE, index_of({"three": "d"})) == ([], "abc", "", 1, "")


def test_pieces_come_in_the_order_of_their_places() -> None:
    assert {*map(str, shown("gbfa", SOURCE, NOTHING)[1])} == set("abfg")
    assert shown("ba", SOURCE, NOTHING)[1] == "ab"


def test_loose_assets_move_by_themselves() -> None:
    assert shown("xa", SOURCE, NOTHING) == ([], "a", "x", 0, "")
    assert shown("x", SOURCE, index_of({"three": "x"})) == ([], "", "", 1, "")


def test_what_is_there_is_counted_once_however_often_it_is_asked() -> None:
    assert shown("aaaa", SOURCE, index_of({"three": "a"})) == ([], "", "", 1, "")
    assert shown("eeaa", SOURCE, index_of({"three": "a"})) == ([], "e", "", 1, "")


def test_what_the_source_lacks_is_named() -> None:
    assert shown("azb", SOURCE, NOTHING) == ([], "ab", "", 0, "z")
    assert shown("az", NOTHING, NOTHING) == ([], "", "", 0, "az")


def test_nothing_asked_is_nothing_planned() -> None:
    assert shown("", SOURCE, NOTHING) == ([], "", "", 0, "")


@given(
    st.lists(st.sampled_from("abcdefghijxz"), max_size=20),
    st.dictionaries(st.sampled_from(["one", "two", "three"]), st.text("abcdefghij", max_size=6), max_size=3),
    st.text("abcdefghijx", max_size=6),
)
def test_after_a_transfer_the_target_has_everything_that_could_be_had(
    wanted: str, packs: dict[str, str], there: str
) -> None:
    source = index_of({name: "".join(dict.fromkeys(letters)) for name, letters in packs.items()}, loose="x")
    target = index_of({"three": "".join(dict.fromkeys(there))} if there else {})
    plan = plan_transfer(ids_of(wanted), source, target)
    entries = source.entries
    arrived = {entries.ids[row].tobytes() for row in (*plan.pieces, *plan.loose)}
    for number in plan.whole:
        arrived |= {entries.ids[row].tobytes() for row in np.flatnonzero(entries.pack == number)}
    held = {row.tobytes() for row in target.entries.ids}
    absent = {raw_id(wanted[position]) for position in plan.absent}
    assert arrived | held >= {raw_id(letter) for letter in wanted} - absent
    assert absent == {raw_id(w) for w in wanted} - held - {row.tobytes() for row in entries.ids}
    assert not arrived & held  # nothing moves that is there
