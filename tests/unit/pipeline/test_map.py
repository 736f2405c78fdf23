"""The incremental map: what is computed, what is reused, and what a problem looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datapin.base.errors import AssetsMissing, DamagedAsset
from datapin.base.id_columns import ids_from_hex
from datapin.pipeline.mapping.derived import DerivedAssets, derive_assets
from datapin.pipeline.mapping.engines.local import LocalEngine
from datapin.pipeline.mapping.map import Rows, distinct
from datapin.pipeline.operators.images.prepare import NormaliseImage
from datapin.pipeline.operators.operator import Derived
from workspaces import Workspace, picture, sha256

OPERATOR = NormaliseImage((6, 6), "stretch", "L")


def rows(workspace: Workspace, assets: Sequence[bytes], copies: Sequence[int] | None = None) -> Rows:
    with workspace.store.filling() as filling:
        ids = [filling.put(data) for data in assets]
    return Rows(
        pa.array([f"{number}.png" for number in range(len(assets))]),
        ids_from_hex(pa.array(ids, pa.string())),
        np.array(copies or [0] * len(assets), dtype=np.int64),
        np.array([len(data) for data in assets], dtype=np.int64),
    )


def derive(workspace: Workspace, given: Rows, jobs: int = 1, engine: LocalEngine | None = None) -> DerivedAssets:
    context = workspace.context(jobs)
    if engine is not None:
        context = replace(context, engines=lambda apart: engine)
    return derive_assets(given, OPERATOR, context, title="test")


def test_a_second_run_computes_nothing(workspace: Workspace) -> None:
    given = rows(workspace, [picture(number) for number in range(30)])
    first, second = derive(workspace, given), derive(workspace, given)
    assert (first.computed, first.reused) == (30, 0)
    assert (second.computed, second.reused) == (0, 30)
    assert (first.results == second.results).all()


def test_after_one_change_one_row_is_computed(workspace: Workspace) -> None:
    assets = [picture(number) for number in range(30)]
    derive(workspace, rows(workspace, assets))
    assets[7] = picture(1000)
    changed = derive(workspace, rows(workspace, assets))
    assert (changed.computed, changed.reused) == (1, 29)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("alone_s", [None, 100.0])
def test_results_do_not_depend_on_where_they_were_computed(
    workspace: Workspace, tmp_path: Path, jobs: int, alone_s: float | None
) -> None:
    assets = [picture(number % 40) for number in range(300)]
    here = derive(workspace, rows(workspace, assets))
    other = Workspace.make(tmp_path / "other")
    there = derive(other, rows(other, assets), engine=LocalEngine(jobs, alone_s=alone_s))
    assert (here.results == there.results).all()
    assert there.computed == 300


def test_rows_that_share_an_asset_are_computed_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    original = NormaliseImage.derive

    def counted(self: NormaliseImage, data: bytes, asset_id: str, copy: int) -> Derived:
        calls.append(asset_id)
        return original(self, data, asset_id, copy)

    monkeypatch.setattr(NormaliseImage, "derive", counted)
    found = derive(workspace, rows(workspace, [picture(1), picture(2), picture(1), picture(1)]))
    assert len(calls) == 2
    assert (found.results[0], found.results[2]) == (found.results[3], found.results[0])
    assert found.computed == 4


def test_a_broken_asset_is_a_problem_of_its_row_and_is_remembered(workspace: Workspace) -> None:
    given = rows(workspace, [picture(1), b"text", picture(2)])
    for _ in range(2):
        found = derive(workspace, given)
        assert found.is_broken.tolist() == [False, True, False]
        assert found.problems[1].as_py() == "not an image that Pillow knows"
        assert len(found.good) == 2
    assert found.reused == 3


def test_a_result_that_the_store_lost_is_computed_again(workspace: Workspace, tmp_path: Path) -> None:
    assets = [picture(number) for number in range(5)]
    before = derive(workspace, rows(workspace, assets))
    bare = Workspace.make(tmp_path / "bare")
    (workspace.root / ".datapin/memo").rename(bare.root / ".datapin/memo")
    again = derive(bare, rows(bare, assets))
    assert again.computed == 5
    assert (again.results == before.results).all()
    ids = np.ascontiguousarray(again.results["id"])
    assert not bare.store.missing(ids).any()


def test_an_asset_that_is_not_here_is_named_by_its_row(workspace: Workspace, tmp_path: Path) -> None:
    given = rows(workspace, [picture(1), picture(2)])
    bare = Workspace.make(tmp_path / "bare")
    rows(bare, [picture(1)])
    with pytest.raises(AssetsMissing) as caught:
        derive(bare, given)
    assert caught.value.names == ("1.png",)
    assert caught.value.exit_code == 20


def test_a_damaged_asset_stops_the_run(workspace: Workspace) -> None:
    data = picture(1, 60)
    given = rows(workspace, [data])
    (pack,) = (workspace.root / ".datapin/store/packs").rglob("*.pack")
    content = bytearray(pack.read_bytes())
    content[100] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    with pytest.raises(DamagedAsset) as caught:
        derive(workspace, given)
    assert caught.value.asset_id == sha256(data)


def test_distinct_rows_are_numbered_in_row_order() -> None:
    ids = ids_from_hex(pa.array([sha256(b"%d" % number) for number in (5, 1, 5, 5, 1, 9)]))
    first, number = distinct(ids, np.array([0, 0, 0, 1, 0, 0]))
    assert first.tolist() == [0, 1, 3, 5]
    assert number.tolist() == [0, 1, 0, 2, 1, 3]


def test_ids_made_to_share_their_beginning_are_never_taken_for_each_other() -> None:
    ids = np.zeros((6, 32), dtype=np.uint8)
    ids[:, 31] = [5, 1, 5, 5, 1, 9]
    first, number = distinct(ids, np.zeros(6, dtype=np.int64))
    assert (ids[first[number]] == ids).all()
