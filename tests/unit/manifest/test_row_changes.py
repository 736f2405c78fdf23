from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datapin.base.errors import BadQuery, ManifestMissing
from datapin.manifest.comparing.diff import equally_stored
from datapin.manifest.comparing.row_changes import RowChange, compare_rows, list_changes
from datapin.manifest.files.shards import CutRules
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest

Rows = Callable[..., pa.Table]

SMALL = CutRules(least_rows=4, most_rows=16, modulus=2)


def test_each_row_comes_in_key_order_with_the_cells_that_differ_and_no_others(rows_of: Rows, tmp_path: Path) -> None:
    before = write_manifest(rows_of(["a", "b", "d"], label=["1", "2", "3"], split=["x", "x", "x"]), tmp_path / "1")
    after = write_manifest(rows_of(["a", "c", "d"], label=["1", "9", "4"], split=["x", None, "x"]), tmp_path / "2")
    found = compare_rows(before, after)
    rows = list_changes(before, after, found)
    assert [(row.key, row.change) for row in rows] == [("b", "removed"), ("c", "added"), ("d", "changed")]
    assert rows[2] == RowChange("d", "changed", {"label": "3"}, {"label": "4"})
    assert rows[1].before is None
    assert rows[1].after is not None
    assert (rows[1].after["label"], rows[1].after["split"]) == ("9", None)
    assert set(rows[1].after) == {"asset_id", "size", "label", "split"}
    assert found.columns == (("label", 1),)


def test_a_limit_takes_the_first_rows_of_all_kinds_together(rows_of: Rows, tmp_path: Path) -> None:
    before = write_manifest(rows_of(["a", "b", "c"], label=["1", "1", "1"]), tmp_path / "1")
    after = write_manifest(rows_of(["aa", "b", "c", "d"], label=["1", "2", "2", "2"]), tmp_path / "2")
    found = compare_rows(before, after)
    every = list_changes(before, after, found)
    assert [row.key for row in every] == ["a", "aa", "b", "c", "d"]
    for limit in range(7):
        assert list_changes(before, after, found, limit) == every[:limit]


def test_a_vector_counts_as_changed_and_its_type_stands_for_it(rows_of: Rows, tmp_path: Path) -> None:
    def with_vectors(values: list[float], folder: str) -> Manifest:
        array = pa.FixedSizeListArray.from_arrays(pa.array(values, pa.float32()), 2)
        return write_manifest(rows_of(["a", "b"], features=array), tmp_path / folder)

    before, after = with_vectors([1, 2, 3, 4], "1"), with_vectors([1, 2, 3, 5], "2")
    found = compare_rows(before, after)
    assert found.columns == (("features", 1),)
    (row,) = list_changes(before, after, found)
    assert row.key == "b"
    assert row.after is not None
    assert "float" in row.after["features"]
    (_, added) = list_changes(None, after, compare_rows(None, after))
    assert added.after is not None
    assert "features" not in added.after


def test_columns_that_one_side_lacks_or_has_in_another_type_differ_where_they_have_values(
    rows_of: Rows, tmp_path: Path
) -> None:
    before = write_manifest(rows_of(["a", "b"], score=["1", None], old=[None, "x"]), tmp_path / "1")
    after = write_manifest(rows_of(["a", "b"], score=pa.array([1, None], pa.int64()), new=[7, None]), tmp_path / "2")
    found = compare_rows(before, after)
    assert dict(found.columns) == {"score": 1, "new": 1, "old": 1}
    one, other = list_changes(before, after, found)
    assert (one.before, one.after) == ({"score": "1", "new": None}, {"score": 1, "new": 7})
    assert (other.before, other.after) == ({"old": "x"}, {"old": None})


def test_where_is_asked_of_the_row_before_and_of_the_row_after(rows_of: Rows, tmp_path: Path) -> None:
    before = write_manifest(
        rows_of(["a", "b", "c", "d"], label=["7", "1", "1", "7"], split=list("xxxx")), tmp_path / "1"
    )
    after = write_manifest(
        rows_of(["a", "b", "c", "e"], label=["1", "7", "2", "7"], split=list("yxyx")), tmp_path / "2"
    )
    found = compare_rows(before, after, "label = '7'")
    assert found.changed.to_pylist() == ["a", "b"]  # no longer a 7, and become one
    assert (found.removed.to_pylist(), found.added.to_pylist()) == (["d"], ["e"])
    assert dict(found.columns) == {"label": 2, "split": 1}
    assert compare_rows(before, after, "key = 'c'").columns == (("label", 1), ("split", 1))


def test_where_may_name_a_column_that_one_side_lacks_and_no_other(rows_of: Rows, tmp_path: Path) -> None:
    before = write_manifest(rows_of(["a", "b"]), tmp_path / "1")
    after = write_manifest(rows_of(["a", "b", "c"], weight=[1.0, None, 3.0]), tmp_path / "2")
    assert compare_rows(before, after, "weight > 2").added.to_pylist() == ["c"]
    assert compare_rows(before, after, "weight > 0").changed.to_pylist() == ["a"]
    with pytest.raises(BadQuery):
        compare_rows(before, before, "nonsense = 1")
    with pytest.raises(BadQuery):
        compare_rows(before, None, "nonsense = 1")


def test_shards_that_are_the_same_on_both_sides_are_never_read(rows_of: Rows, tmp_path: Path) -> None:
    keys = [f"{n:05d}" for n in range(2000)]
    labels = ["1"] * 2000
    before = write_manifest(rows_of(keys, label=labels), tmp_path / "1", rules=SMALL)
    labels[1000] = "2"
    after = write_manifest(rows_of(keys, label=labels), tmp_path / "2", rules=SMALL)
    known = {shard.digest for shard in before.shards} & {shard.digest for shard in after.shards}
    assert len(known) > 50
    for manifest in (before, after):
        for shard in manifest.shards:
            if shard.digest in known:
                assert shard.path is not None
                shard.path.unlink()
    found = compare_rows(before, after, "label = '2'")
    assert [row.key for row in list_changes(before, after, found)] == ["01000"]


Cells = st.dictionaries(
    st.integers(0, 60).map(lambda n: f"{n:02d}"), st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 2))
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(was=Cells.filter(bool), now=Cells.filter(bool), limit=st.none() | st.integers(0, 9))
def test_any_two_versions_differ_as_two_dicts_do(
    was: dict[str, tuple[str, int | None]],
    now: dict[str, tuple[str, int | None]],
    limit: int | None,
    rows_of: Rows,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("pair")

    def written(rows: dict[str, tuple[str, int | None]], name: str) -> Manifest:
        labels, notes = zip(*rows.values(), strict=True)
        table = rows_of(list(rows), label=list(labels), note=pa.array(notes, pa.int64()))
        return write_manifest(table, folder / name, rules=SMALL)

    before, after = written(was, "1"), written(now, "2")
    found = compare_rows(before, after)
    names = ("label", "note")
    wanted: list[tuple[str, str, dict[str, object] | None, dict[str, object] | None]] = []
    for key in sorted(was.keys() | now.keys()):
        old, new = was.get(key), now.get(key)
        if old is None or new is None:
            wanted.append((key, "added" if old is None else "removed", None, None))
        elif old != new:
            cells = [n for n in range(2) if old[n] != new[n]]
            wanted.append((key, "changed", {names[n]: old[n] for n in cells}, {names[n]: new[n] for n in cells}))
    rows = list_changes(before, after, found, limit)
    got = [(r.key, r.change, *((r.before, r.after) if r.change == "changed" else (None, None))) for r in rows]
    assert got == wanted[:limit]
    assert len(found.added) + len(found.removed) + len(found.changed) == len(wanted)
    counts = np.sum([[n in (cells or {}) for n in names] for *_, cells in wanted] or [[False, False]], axis=0)
    assert dict(found.columns) == {n: c for n, c in zip(names, counts.tolist(), strict=True) if c}


def test_rows_with_the_same_keys_differ_where_any_bit_of_a_value_does(rows_of: Rows, tmp_path: Path) -> None:
    keys = [f"{n:02d}" for n in range(40)]
    floats = [float(n) for n in range(40)]
    lists = [[n, None] for n in range(40)]
    labels: list[str | None] = ["x"] * 40
    before = write_manifest(rows_of(keys, f=floats, l=lists, label=labels), tmp_path / "1", rules=SMALL)
    floats[0], lists[17], labels[39] = -0.0, [17], None
    after = write_manifest(rows_of(keys, f=floats, l=lists, label=labels), tmp_path / "2", rules=SMALL)
    found = compare_rows(before, after)
    assert found.changed.to_pylist() == ["00", "17", "39"]
    assert dict(found.columns) == {"f": 1, "l": 1, "label": 1}
    assert len(before.shards) > 2


def test_columns_stored_in_the_same_bytes_are_found_without_unpacking(rows_of: Rows, tmp_path: Path) -> None:
    keys = [f"{n:02d}" for n in range(40)]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([0.5] * 80, pa.float32()), 2)
    one = write_manifest(rows_of(keys, label=["x"] * 40, v=vectors, only=keys), tmp_path / "1")
    two = write_manifest(rows_of(keys, label=["y"] + ["x"] * 39, v=vectors), tmp_path / "2")
    paths = [manifest.shards[0].path for manifest in (one, two)]
    assert paths[0] is not None
    assert paths[1] is not None
    assert equally_stored(paths[0], paths[1], "x") == {"key", "asset_id", "size", "v"}
    assert equally_stored(paths[0], paths[0], "x") == set(one.schema.names)
    three = write_manifest(rows_of(keys, label=pa.array([None] * 40, pa.int64()), v=vectors), tmp_path / "3")
    assert three.shards[0].path is not None
    assert "label" not in equally_stored(paths[0], three.shards[0].path, "x")


def test_kept_columns_answer_again_without_their_file_as_far_as_they_fit(rows_of: Rows, tmp_path: Path) -> None:
    keys = [f"{number:02}" for number in range(40)]
    manifest = write_manifest(rows_of(keys, label=[key[0] for key in keys]), tmp_path / "1", rules=SMALL)
    assert len(manifest.shards) > 2
    expected = manifest.to_table()
    manifest.keep_columns()
    assert manifest.to_table(["label"]).equals(expected.select(["label"]))
    assert manifest.to_table().equals(expected)
    for shard in manifest.shards:
        assert shard.path is not None
        shard.path.unlink()
    assert manifest.to_table().equals(expected)

    again = write_manifest(rows_of(keys), tmp_path / "2", rules=SMALL)
    again.keep_columns(most_bytes=manifest.read_shard(0).nbytes)
    held = again.to_table()
    first = again.shards[0].path
    assert first is not None
    first.unlink()
    assert again.read_shard(len(again.shards) - 1).equals(held.slice(len(held) - again.shards[-1].rows))
    with pytest.raises(ManifestMissing):
        again.read_shard(0)
