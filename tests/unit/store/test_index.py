"""The index: vectorised look-up, files named by their hash, merges, rebuilds."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapin.base.errors import AssetsMissing, DamagedPack
from datapin.store import index_files
from datapin.store.index import NO_ENTRIES, Entries, Index, entries_of_loose, join_entries
from datapin.store.index_files import choose_merge, decode_index, encode_index, index_file_name, list_index_files
from datapin.store.store import Store

from .conftest import SMALL, batch_of, file_names, matrix_of


def entries(
    ids: Sequence[bytes], packs: Sequence[bytes | None] | None = None, offsets: Sequence[int] | None = None
) -> Entries:
    count = len(ids)
    names = tuple(sorted({pack for pack in packs or [] if pack is not None}))
    return Entries(
        ids=np.frombuffer(b"".join(ids), dtype=np.uint8).reshape(count, 32),
        pack=np.array([-1 if p is None else names.index(p) for p in packs or [None] * count], dtype=np.int32),
        offset=np.array(offsets or range(count), dtype=np.int64),
        length=np.full(count, 7, dtype=np.int64),
        raw_length=np.full(count, 7, dtype=np.int64),
        codec=np.zeros(count, dtype=np.uint8),
        packs=names,
    )


def rows_of(found: Entries) -> list[tuple[bytes, bytes | None, int]]:
    return [
        (found.ids[n].tobytes(), None if found.pack[n] < 0 else found.packs[found.pack[n]], int(found.offset[n]))
        for n in range(len(found))
    ]


PACKS = [bytes([n]) * 32 for n in (3, 1, 2)]
# Few distinct prefixes, so that equal ones are the rule, as they never are in life.
ids_with_equal_prefixes = st.builds(
    lambda prefix, rest: bytes([prefix]) * 8 + bytes([rest]) * 24, st.integers(0, 3), st.integers(0, 9)
)
rows = st.tuples(ids_with_equal_prefixes, st.sampled_from([None, *PACKS]), st.integers(0, 2))


@given(st.lists(st.lists(rows, max_size=12), max_size=4))
def test_joined_entries_are_sorted_and_each_said_once(parts: list[list[tuple[bytes, bytes | None, int]]]) -> None:
    joined = join_entries([entries(*map(list, zip(*part, strict=True))) if part else NO_ENTRIES for part in parts])
    expected = sorted({row for part in parts for row in part}, key=lambda row: (row[0], row[1] or b"", row[2]))
    assert rows_of(joined) == expected


@given(st.lists(ids_with_equal_prefixes, max_size=20), st.lists(ids_with_equal_prefixes, max_size=20))
def test_looking_up_agrees_with_a_dict_also_for_equal_prefixes(stored: list[bytes], wanted: list[bytes]) -> None:
    index = Index(join_entries([entries(stored)]) if stored else NO_ENTRIES)
    found, places = index.find(np.frombuffer(b"".join(wanted), dtype=np.uint8).reshape(-1, 32))
    assert found.tolist() == [asset in stored for asset in wanted]
    for asset, is_here, row in zip(wanted, found, places, strict=True):
        if is_here:
            assert index.entries.ids[row].tobytes() == asset
            assert row == 0 or index.entries.ids[row - 1].tobytes() != asset
        assert index.find_one(asset) == (row if is_here else None)


def test_a_long_question_is_answered_as_a_short_one() -> None:
    raw = [hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(5000)]
    index = Index(join_entries([entries(raw[::2])]))
    matrix = np.frombuffer(b"".join(raw), dtype=np.uint8).reshape(-1, 32)
    found, places = index.find(matrix)
    assert found.tolist() == [n % 2 == 0 for n in range(5000)]
    assert (index.entries.ids[places[found]] == matrix[found]).all()
    assert [index.find(matrix[n : n + 1])[1][0] for n in range(0, 5000, 500)] == places[::500].tolist()


def test_an_empty_index_finds_nothing() -> None:
    assert Index(NO_ENTRIES).locate(matrix_of([b"a"])).found.tolist() == [False]
    assert len(Index(NO_ENTRIES).locate(matrix_of([])).found) == 0


def test_an_index_file_reads_back_and_is_named_by_its_bytes() -> None:
    original = join_entries([entries([b"a" * 32, b"b" * 32, b"c" * 32], [PACKS[0], None, PACKS[1]], [2**40, 0, 5])])
    data = encode_index(original)
    assert encode_index(original) == data
    assert rows_of(decode_index(index_file_name(data), data, "p")) == rows_of(original)
    table = pq.read_table(io.BytesIO(data))
    assert table.schema.names == ["asset_id", "pack", "offset", "length", "raw_length", "codec"]
    assert table["pack"].to_pylist() == [PACKS[0], None, PACKS[1]]


def test_an_index_file_of_loose_assets_only_reads_back() -> None:
    data = encode_index(join_entries([entries_of_loose([b"a" * 32], [9])]))
    assert rows_of(decode_index(index_file_name(data), data, "p")) == [(b"a" * 32, None, 0)]


def test_any_flipped_bit_or_cut_in_an_index_file_is_seen_before_it_is_parsed() -> None:
    data = encode_index(join_entries([entries([b"a" * 32], [PACKS[0]])]))
    name = index_file_name(data)
    for place in range(0, len(data), 11):
        damaged = bytearray(data)
        damaged[place] ^= 4
        for bad in (bytes(damaged), data[:place]):
            with pytest.raises(DamagedPack, match="do not hash"):
                decode_index(name, bad, "p")


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


GOOD = {
    "asset_id": pa.array([b"a" * 32], pa.binary(32)),
    "pack": pa.array([None], pa.binary(32)),
    "offset": pa.array([0], pa.uint64()),
    "length": pa.array([0], pa.uint64()),
    "raw_length": pa.array([0], pa.uint64()),
    "codec": pa.array([0], pa.uint8()),
}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not a Parquet file"),
        (b"PAR1 no", "not a Parquet file"),
        (parquet(a=pa.array([1])), "its columns are a"),
        (parquet(**(GOOD | {"offset": pa.array([0], pa.int32())})), "other types"),
        (parquet(**(GOOD | {"asset_id": pa.array([None], pa.binary(32))})), "a value is missing"),
        (parquet(**(GOOD | {"length": pa.array([2**63], pa.uint64())})), "beyond all bounds"),
    ],
)
def test_a_file_with_a_right_name_but_wrong_columns_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(DamagedPack, match=problem):
        decode_index(index_file_name(data), data, "p")


def test_a_damaged_index_file_stops_reading_and_is_mended_by_a_rebuild(store: Store) -> None:
    asset_id = store.put(b"bytes")
    (path,) = (store.root / "index").iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    again = Store.open(store.root, SMALL)
    with pytest.raises(DamagedPack) as caught:
        again.read(asset_id)
    assert caught.value.exit_code == 21
    assert "rebuild-index" in caught.value.hint
    assert [finding.severity for finding in again.check()][:1] == ["error"]
    report = again.rebuild_index()
    assert (report.packs, report.loose, report.assets, report.problems) == (1, 0, 1, ())
    assert again.read(asset_id) == b"bytes"
    assert again.check() == []


def test_rebuilding_twice_gives_the_same_bytes_and_loses_nothing(store: Store, source: Path) -> None:
    batch = batch_of(source)
    ids = store.put_files(batch, jobs=1).ids
    store.put(b"one more")
    store.rebuild_index()
    first = {path.name: path.read_bytes() for path in (store.root / "index").iterdir()}
    for path in (store.root / "index").iterdir():
        path.unlink()
    store.rebuild_index()
    assert {path.name: path.read_bytes() for path in (store.root / "index").iterdir()} == first
    assert len(first) == 1
    assert not store.missing(ids).any()


def test_rebuilding_names_a_pack_with_a_damaged_table_and_takes_out_what_is_good(store: Store) -> None:
    store.put(b"good")
    kept = file_names(store.root, "packs")
    with store.filling() as filling:
        ids = [filling.put(data) for data in (b"first", b"second")]
    (bad,) = [path for path in (store.root / "packs").rglob("*.pack") if path.name not in kept]
    data = bytearray(bad.read_bytes()[:-1])
    data[data.index(b"second")] ^= 1
    bad.write_bytes(data)
    report = store.rebuild_index()
    assert (report.packs, report.assets, report.salvaged) == (2, 2, 1)
    assert len(report.problems) == 1
    assert bad.name in report.problems[0]
    assert store.read(ids[0]) == b"first"
    with pytest.raises(AssetsMissing):
        store.read(ids[1])
    (aside,) = (store.root / "quarantine").iterdir()
    assert aside.read_bytes() == data
    assert store.check() == []


def test_rebuilding_mends_a_pack_of_which_only_the_table_is_damaged(store: Store) -> None:
    asset_id = store.put(b"bytes")
    (pack,) = (store.root / "packs").rglob("*.pack")
    pack.write_bytes(pack.read_bytes()[:-1])
    assert (store.rebuild_index().assets, store.rebuild_index().problems) == (1, ())
    assert store.read(asset_id) == b"bytes"
    assert store.check() == []


def test_rebuilding_leaves_out_a_pack_that_nothing_is_known_of(store: Store) -> None:
    store.put(b"bytes")
    (pack,) = (store.root / "packs").rglob("*.pack")
    pack.write_bytes(pack.read_bytes()[:-1])
    next((store.root / "index").iterdir()).unlink()
    assert store.rebuild_index().assets == 0
    assert store.check() == []


def test_strange_names_are_reported_and_never_indexed(store: Store) -> None:
    store.put(b"x")
    for key in ("packs/zz/zz.pack", "assets/ab/abc", "assets/AB/" + "AB" * 32):
        (store.root / key).parent.mkdir(exist_ok=True)
        (store.root / key).write_bytes(b"?")
    assert store.rebuild_index().assets == 1
    assert len(store.rebuild_index().problems) == 3
    assert [finding.severity for finding in store.check()] == ["warning"] * 3


def test_rebuilding_an_empty_store_is_fine(store: Store) -> None:
    assert store.rebuild_index().assets == 0
    assert file_names(store.root, "index") == []


def test_many_small_index_files_become_one_and_readers_follow(store: Store) -> None:
    reader = Store.open(store.root, SMALL)
    ids = []
    for number in range(40):
        ids.append(store.put(b"asset %d" % number))
        assert reader.read(ids[number // 2]) == b"asset %d" % (number // 2)
    assert len(file_names(store.root, "index")) < 16
    assert [reader.read(asset_id) for asset_id in ids] == [b"asset %d" % number for number in range(40)]


def test_a_reader_that_loses_a_file_to_a_merge_lists_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asset_id = store.put(b"bytes")
    reader = Store.open(store.root, SMALL)
    real = index_files.list_index_files
    calls: list[list[str]] = []

    def list_then_rebuild(root: str) -> list[str]:
        names = real(root)
        if not calls:
            calls.append(names)
            store.put(b"other")
            monkeypatch.undo()
            store.rebuild_index()
        return names

    monkeypatch.setattr("datapin.store.store.list_index_files", list_then_rebuild)
    assert reader.read(asset_id) == b"bytes"
    assert calls


@given(st.lists(st.integers(1, 3000), max_size=200))
def test_merging_keeps_few_files_and_rewrites_rows_rarely(publishes: list[int]) -> None:
    files, rewritten = [], 0
    for count in publishes:
        files.append(count)
        chosen = choose_merge(files)
        if chosen:
            merged = sum(files[number] for number in chosen)
            rewritten += merged
            files = [size for number, size in enumerate(files) if number not in chosen] + [merged]
    assert len(files) <= 7 * 7
    assert rewritten <= 7 * sum(publishes)


def test_one_huge_file_is_not_rewritten_for_a_few_small_ones() -> None:
    assert choose_merge([1_000_000, 1, 1, 1, 1, 1, 1, 1]) == []
    assert choose_merge([1_000_000, 1, 1, 1, 1, 1, 1, 1, 1]) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_files_that_are_no_index_are_not_listed(store: Store) -> None:
    store.put(b"x")
    for name in (".tmp-1-aa", "readme", "A" * 64 + ".parquet"):
        (store.root / "index" / name).write_bytes(b"?")
    assert len(list_index_files(str(store.root))) == 1


def test_the_index_state_changes_with_every_publish_and_only_then(store: Store) -> None:
    states = [store.index_state]
    for number in range(3):
        store.put(b"%d" % number)
        states.append(store.index_state)
        store.put(b"%d" % number)
        assert store.index_state == states[-1]
    assert len(set(states)) == 4


def test_check_sees_what_a_quick_look_can_see(store: Store, source: Path) -> None:
    store.put_files(batch_of(source), jobs=1)
    assert store.check() == []
    packs = sorted((store.root / "packs").rglob("*.pack"))
    packs[0].unlink()
    os.truncate(packs[1], 100)
    loose = next(path for path in (store.root / "assets").rglob("*") if path.is_file())
    os.truncate(loose, 10)
    messages = [f"{finding.severity} {finding.where}: {finding.message}" for finding in store.check()]
    assert len(messages) == 3
    assert any(packs[0].name in text and "missing" in text for text in messages)
    assert any(packs[1].name in text for text in messages)
    assert any(loose.name in text and "10 bytes, expected 50000" in text for text in messages)
    for path in (store.root / "index").iterdir():
        path.unlink()
    assert {finding.severity for finding in store.check()} >= {"note"}
