"""Counts along a history are those of `count_changes`, whatever was held from the pairs before."""

from __future__ import annotations

import hashlib
import random
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapin.base.errors import DamagedManifest
from datapin.manifest.comparing import pair_counts
from datapin.manifest.comparing.diff import Changes, count_changes
from datapin.manifest.comparing.held_shard import HeldShard
from datapin.manifest.comparing.pair_counts import PairCounter
from datapin.manifest.files.shards import CutRules
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest
from sweeps import some

SMALL = CutRules(least_rows=2, most_rows=9, modulus=4)

Rows = dict[int, tuple[str | None, float | None]]


def write(folder: Path, rows: Rows, *, rules: CutRules = SMALL, **columns: pa.Array) -> Manifest:
    table = pa.table(
        {
            "key": pa.array([f"{number % 3}/{number:03d}.png" for number in rows], pa.string()),
            "asset_id": pa.array([hashlib.sha256(b"%d" % number).hexdigest() for number in rows], pa.string()),
            "size": pa.array(list(rows), pa.int64()),
            "label": pa.array([label for label, _ in rows.values()], pa.string()),
            "weight": pa.array([weight for _, weight in rows.values()], pa.float64()),
            **columns,
        }
    )
    return write_manifest(table, folder, rules=rules)


def plain(changes: Changes | None) -> tuple[int, int, int]:
    assert changes is not None
    return changes.added, changes.changed, changes.removed


def files(manifest: Manifest) -> list[tuple[str, Path]]:
    return [(path.name, path) for path in sorted(manifest.directory.iterdir())]


def count(one: Manifest, other: Manifest, counter: PairCounter | None = None) -> Changes | None:
    return (counter or PairCounter()).count_files(files(one), files(other), where="data/raw")


def expected(before: Rows, after: Rows) -> tuple[int, int, int]:
    shared = before.keys() & after.keys()
    changed = sum(repr(before[number]) != repr(after[number]) for number in shared)
    return len(after) - len(shared), changed, len(before) - len(shared)


@pytest.mark.parametrize("seed", range(12))
def test_a_random_history_counts_like_a_dict_and_like_count_changes(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    values = [("a", 1.0), ("b", None), (None, float("nan")), ("a", 0.0), ("a", -0.0)]
    rows: Rows = {number: rng.choice(values) for number in range(rng.choice([0, 1, 40]))}
    counter = PairCounter()
    before, manifest = rows, write(tmp_path / "first", rows)
    for step in range(8):
        rows = dict(before)
        for _ in range(rng.choice([0, 1, 3, 30])):
            number = rng.randrange(60)
            if rng.random() < 0.4:
                rows.pop(number, None)
            else:
                rows[number] = rng.choice(values)
        after = write(tmp_path / str(step), rows)
        if before and rows:  # a manifest without rows bears no mark of ours
            assert plain(count(manifest, after, counter)) == expected(before, rows)
            assert plain(count(after, manifest, counter)) == expected(rows, before)
        assert plain(count_changes(manifest, after)) == expected(before, rows)
        before, manifest = rows, after


ALL: Rows = {number: (label, 1.0) for number, label in enumerate("abcdefgh" * 10)}
EDITS: dict[str, Rows] = {
    "nothing": ALL,
    "new rows before all": {**dict.fromkeys((900, 903, 906), ("a", None)), **ALL},
    "new rows behind all": {**ALL, **dict.fromkeys(range(500, 540), ("z", 2.0))},
    "the first rows gone": {number: row for number, row in ALL.items() if number > 7},
    "the last rows gone": {number: row for number, row in ALL.items() if number < 70},
    "every label another": {number: ((label or "") + "x", weight) for number, (label, weight) in ALL.items()},
    "labels in another order": {number: ALL[79 - number] for number in ALL},
    "no labels": {number: (None, weight) for number, (_, weight) in ALL.items()},
    "some labels, no weights": {number: (label if number % 3 else None, None) for number, (label, _) in ALL.items()},
    "other rows altogether": {number + 1000: row for number, row in ALL.items()},
    "every second row": {number: row for number, row in ALL.items() if number % 2},
    "one row": {40: ("q", 1.0)},
}


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())], ids=["text", "dictionary"])
@pytest.mark.parametrize("rules", [(CutRules(1000, 1000, 4), SMALL), (SMALL, SMALL), (SMALL, CutRules(1000, 1000, 4))])
def test_every_edit_of_every_layout_counts_like_a_dict(
    tmp_path: Path, kind: pa.DataType, rules: tuple[CutRules, CutRules]
) -> None:
    sides = []
    for number, cut in enumerate(rules):
        versions = {}
        for name, rows in EDITS.items():
            extra = pa.array([label for label, _ in rows.values()], pa.string()).cast(kind)
            versions[name] = write(tmp_path / f"{number} {name}", rows, rules=cut, extra=extra)
        sides.append(versions)
    counter = PairCounter()
    for before, after in some(product(EDITS, EDITS), 42):
        one, other = sides[0][before], sides[1][after]
        found = plain(count(one, other, counter))
        assert found == expected(EDITS[before], EDITS[after]), (before, after)
        assert found == plain(count_changes(one, other)), (before, after)


def test_columns_that_come_go_and_change_their_type(tmp_path: Path) -> None:
    rows: Rows = dict.fromkeys(range(20), ("a", 1.0))
    plain_rows = write(tmp_path / "plain", rows)
    numbers = pa.array([number if number % 2 else None for number in range(20)], pa.int64())
    wide = write(tmp_path / "wide", rows, note=numbers)
    text = write(tmp_path / "text", rows, note=numbers.cast(pa.string()))
    empty = write(tmp_path / "empty", rows, note=pa.nulls(20, pa.string()))
    for one in (plain_rows, wide, text, empty):
        for other in (plain_rows, wide, text, empty):
            assert plain(count(one, other)) == plain(count_changes(one, other))
    assert plain(count(plain_rows, wide)) == (0, 10, 0)


def test_vectors_and_files_of_others_are_left_to_the_other_way_of_counting(tmp_path: Path) -> None:
    rows: Rows = dict.fromkeys(range(20), ("a", 1.0))
    here = write(tmp_path / "here", rows)
    vector = pa.array([[float(number), 1.0] for number in range(20)], pa.list_(pa.float32(), 2))
    assert count(here, write(tmp_path / "vectors", rows, vector=vector)) is None
    (tmp_path / "foreign").mkdir()
    pq.write_table(here.to_table().slice(5), tmp_path / "foreign" / "part-00000.parquet")
    assert count(here, Manifest.open(tmp_path / "foreign")) is None
    assert count(Manifest.open(tmp_path / "foreign"), here) is None
    foreign = Manifest.open(tmp_path / "foreign")
    assert plain(PairCounter().count(here, foreign)) == (0, 0, 5)
    assert plain(PairCounter().count(None, foreign)) == (15, 0, 0)
    assert plain(PairCounter().count(here, None)) == (0, 0, 20)
    swapped = [(name, path) for (name, _), (_, path) in zip(files(here), reversed(files(here)), strict=True)]
    assert PairCounter().count_files(files(here), swapped, where="data/raw") is None


def test_versions_too_large_to_be_held_count_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: Rows = dict.fromkeys(range(60), ("a", 1.0))
    versions = [write(tmp_path / "0", rows), write(tmp_path / "1", {**rows, 5: ("b", 1.0), 70: ("c", 1.0)})]
    monkeypatch.setattr(pair_counts, "_MOST_HELD_ROWS", 10)
    counter = PairCounter()
    assert plain(count(versions[0], versions[1], counter)) == (1, 1, 0)
    assert plain(count(versions[1], versions[0], counter)) == (0, 1, 1)


def test_a_shard_that_lies_about_its_rows_is_damage(tmp_path: Path) -> None:
    here = write(tmp_path / "here", {1: ("a", 1.0)})
    other = write(tmp_path / "other", {1: ("b", 1.0)})
    path = other.shards[0].path
    assert path is not None
    data = bytearray(path.read_bytes())
    data[10:30] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(DamagedManifest):
        count(here, other)


def test_a_dictionary_column_that_names_values_that_are_not_there_is_damage(tmp_path: Path) -> None:
    shard = HeldShard(files(write(tmp_path / "here", {1: ("a", 1.0)}))[0][1], "data/raw")
    values = pa.array(["a", "b"])
    for indices in ([0, 2], [None, -1]):
        lying = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), values, safe=False)
        with pytest.raises(DamagedManifest, match="values that are not there"):
            shard._check_indices("label", lying)
    shard._check_indices("label", pa.DictionaryArray.from_arrays(pa.array([0, None, 1], pa.int32()), values))
