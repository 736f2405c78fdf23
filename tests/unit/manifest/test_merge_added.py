"""Rows that both sides added: cells describe a file, so they go with the side whose file is taken."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from datapin.manifest.manifest import Manifest
from datapin.manifest.merge import WHOLE_ROW, Side, plan_merge, write_merge
from datapin.manifest.write import write_manifest

Row = dict[str, str | None]


def manifest(folder: Path, rows: dict[str, Row], names: str = "label split group") -> Manifest:
    """Rows by key; `bytes` stands for the asset."""
    table = {
        "key": list(rows),
        "asset_id": [(row.get("bytes") or "0") * 64 for row in rows.values()],
        "size": [1] * len(rows),
        "media_type": ["image/png"] * len(rows),
        **{name: pa.array([row.get(name) for row in rows.values()], pa.string()) for name in names.split()},
    }
    return write_manifest(pa.table(table), folder)


OURS: Row = {"bytes": "a", "label": "cat", "split": "val", "group": "p7"}
THEIRS: Row = {"bytes": "b", "label": "dog"}
SAME_FILE: Row = {"bytes": "a", "label": "dog"}


def merged(tmp_path: Path, theirs: Row, choices: dict[tuple[str, str], Side], ours: Row = OURS) -> Row:
    old: dict[str, Row] = {"a": {"label": "x"}}
    tmp_path.mkdir(exist_ok=True)
    versions = [
        manifest(tmp_path / "base", old),
        manifest(tmp_path / "ours", {**old, "n": ours}),
        manifest(tmp_path / "theirs", {**old, "n": theirs}),
    ]
    plan = plan_merge(versions[0], versions[1], versions[2], choices=choices)
    assert not plan.conflicts, plan.conflicts
    table = write_merge(plan, versions[1], tmp_path / "merged").to_table()
    (row,) = (row for row in table.to_pylist() if row["key"] == "n")
    return {"bytes": row["asset_id"][0], **{name: row[name] for name in ("label", "split", "group")}}


def test_the_conflict_says_which_keys_both_added(tmp_path: Path) -> None:
    base = manifest(tmp_path / "base", {"a": {"label": "x"}})
    ours = manifest(tmp_path / "ours", {"a": {"label": "y"}, "n": OURS, "m": OURS})
    theirs = manifest(tmp_path / "theirs", {"a": {"label": "z"}, "n": THEIRS, "m": OURS})
    plan = plan_merge(base, ours, theirs)
    assert {(one.key, one.column) for one in plan.conflicts} == {
        ("a", "label"), ("n", "label"), ("n", "asset_id")}  # fmt: skip
    assert plan.added_by_both == {"n"}


@pytest.mark.parametrize("theirs", [THEIRS, SAME_FILE])
def test_a_whole_row_is_one_sides(tmp_path: Path, theirs: Row) -> None:
    plain = {"split": None, "group": None, **theirs}
    assert merged(tmp_path / "1", theirs, {("n", WHOLE_ROW): Side.THEIRS}) == plain
    assert merged(tmp_path / "2", theirs, {("n", WHOLE_ROW): Side.OURS}) == OURS
    # The other way round: what only they have filled does not come into our row.
    assert merged(tmp_path / "3", OURS, {("n", WHOLE_ROW): Side.OURS}, ours=theirs) == plain
    assert merged(tmp_path / "4", OURS, {("n", WHOLE_ROW): Side.THEIRS}, ours=theirs) == OURS


def test_cells_that_one_side_filled_go_with_the_bytes(tmp_path: Path) -> None:
    theirs = {("n", "asset_id"): Side.THEIRS, ("n", "label"): Side.OURS}
    assert merged(tmp_path / "1", THEIRS, theirs) == {"bytes": "b", "label": "cat", "split": None, "group": None}
    ours = {("n", "asset_id"): Side.OURS, ("n", "label"): Side.THEIRS}
    assert merged(tmp_path / "2", THEIRS, ours) == {**OURS, "label": "dog"}
    assert merged(tmp_path / "3", OURS, ours, ours=THEIRS) == {**THEIRS, "label": "cat", "split": None, "group": None}


def test_of_one_file_that_both_added_cells_are_joined(tmp_path: Path) -> None:
    assert merged(tmp_path / "1", SAME_FILE, {("n", "label"): Side.THEIRS}) == {**OURS, "label": "dog"}
    assert merged(tmp_path / "2", {"bytes": "a"}, {}) == OURS
