"""Two people edit one dataset, each on a branch: the merge against a model made of plain dicts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from datapin.manifest.files.shards import CutRules
from datapin.manifest.manifest import Manifest
from datapin.manifest.merge import Side, plan_merge, write_merge
from datapin.manifest.write import write_manifest
from merge_model import Rows, merged
from sweeps import times

KEYS = [f"{number % 3}/{number:02d}.png" for number in range(12)]
ROW = st.fixed_dictionaries(
    {
        "asset_id": st.sampled_from(["0a" * 32, "0b" * 32, "0c" * 32]),
        "label": st.sampled_from([None, "cat", "dog"]),
        "weight": st.sampled_from([None, 1.0, 2.0]),
    }
)
ROWS = st.dictionaries(st.sampled_from(KEYS), ROW, max_size=12)
CELL = st.tuples(st.sampled_from(KEYS), st.sampled_from(["label", "weight", "asset_id"]), ROW)
EDIT = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KEYS), ROW),
    st.tuples(st.just("remove"), st.sampled_from(KEYS), st.none()),
    CELL.map(lambda cell: ("set", cell[0], (cell[1], cell[2][cell[1]]))),
)
EDITS = st.lists(EDIT, max_size=10)


def edited(rows: Rows, edits: list[tuple[str, str, Any]]) -> Rows:
    result = {key: dict(row) for key, row in rows.items()}
    for kind, key, value in edits:
        if kind == "put":
            result[key] = dict(value)
        elif kind == "remove":
            result.pop(key, None)
        elif key in result:
            column, cell = value
            result[key][column] = cell
    return result


def written(rows: Rows, directory: Path) -> Manifest:
    keys = sorted(rows)
    table = pa.table(
        {
            "key": pa.array(keys, pa.string()),
            "asset_id": pa.array([rows[key]["asset_id"] for key in keys], pa.string()),
            "size": pa.array([int(str(rows[key]["asset_id"])[1], 16) for key in keys], pa.int64()),
            "media_type": pa.array(["image/png"] * len(keys), pa.string()),
            "label": pa.array([rows[key]["label"] for key in keys], pa.string()),
            "weight": pa.array([rows[key]["weight"] for key in keys], pa.float64()),
        }
    )
    return write_manifest(table, directory, rules=CutRules(least_rows=2, most_rows=6, modulus=3))


@settings(max_examples=times(150, 50), deadline=None)
@given(ROWS, EDITS, EDITS)
def test_a_merge_is_what_the_model_says_whichever_side_merges(
    base: Rows, mine: list[tuple[str, str, object]], other: list[tuple[str, str, object]]
) -> None:
    ours, theirs = edited(base, mine), edited(base, other)
    expected, conflicts = merged(base, ours, theirs)
    folder = Path(tempfile.mkdtemp())
    try:
        versions = [written(rows, folder / name) for name, rows in (("b", base), ("o", ours), ("t", theirs))]
        plan = plan_merge(versions[0], versions[1], versions[2])
        mirrored = plan_merge(versions[0], versions[2], versions[1])
        assert {(one.key, one.column) for one in plan.conflicts} == conflicts
        assert {(one.key, one.column) for one in mirrored.conflicts} == conflicts
        if conflicts:
            chosen = plan_merge(versions[0], versions[1], versions[2], choices=dict.fromkeys(conflicts, Side.OURS))
            turned = plan_merge(versions[0], versions[2], versions[1], choices=dict.fromkeys(conflicts, Side.THEIRS))
            assert not chosen.conflicts
            one, two = write_merge(chosen, versions[1], folder / "1"), write_merge(turned, versions[2], folder / "2")
        else:
            one = write_merge(plan, versions[1], folder / "1")
            two = write_merge(mirrored, versions[2], folder / "2")
            assert one.digest == written(expected, folder / "e").digest
        assert one.digest == two.digest
        one.verify()
    finally:
        shutil.rmtree(folder)
