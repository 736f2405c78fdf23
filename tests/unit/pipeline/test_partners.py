"""Copies that take something from a second train row: who is chosen, what is remembered, what is never mixed in."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datapin.base.errors import StageRefused
from datapin.base.id_columns import ids_from_hex
from datapin.pipeline.kinds import text
from datapin.pipeline.mapping.derived import DerivedAssets, derive_assets
from datapin.pipeline.mapping.map import Rows
from datapin.pipeline.operators.operator import CopyOperator, Derived
from datapin.pipeline.operators.partners import choose_partners, pair_ids, with_partner
from datapin.pipeline.record.fingerprint import fingerprint_of
from datapin.pipeline.splits.copies_again import make_again
from datapin.pipeline.stages import augment as augmenting
from datapin.pipeline.stages.augment import run_augment
from workspaces import Workspace


@dataclass(frozen=True)
class Join:
    """A text, a plus sign, and the partner's."""

    seed: int = 0
    takes_partner: bool = True
    name: str = "join"

    @property
    def fingerprint(self) -> str:
        return fingerprint_of({"op": self.name, **self.parts})

    @property
    def environment(self) -> dict[str, str]:
        return {}

    @property
    def parts(self) -> dict[str, Any]:
        return {"kind": "text", "operators": {}, "seed": self.seed}

    @property
    def moves_places(self) -> bool:
        return False

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        raise AssertionError("a partner was asked for")

    def derive_pair(self, data: bytes, partner: bytes, asset_id: str, partner_id: str, copy: int) -> Derived:
        assert (hashlib.sha256(data).hexdigest(), hashlib.sha256(partner).hexdigest()) == (asset_id, partner_id)
        return Derived(data + b" + " + partner)


def ids(count: int, start: int = 0) -> Any:
    return ids_from_hex(pa.array([hashlib.sha256(b"%d" % n).hexdigest() for n in range(start, start + count)]))


def chosen(operator: Join, count: int, candidates: Any, copy: int = 1) -> list[str]:
    found = choose_partners(operator, ids(count), np.full(count, copy, dtype=np.int64), candidates)
    return [row.tobytes().hex() for row in found]


def test_the_partner_depends_on_asset_copy_seed_and_the_set_of_candidates_alone() -> None:
    first = chosen(Join(), 200, ids(300))
    shuffled = np.random.default_rng(0).permutation(np.concatenate([ids(300), ids(100)]))
    assert chosen(Join(), 200, shuffled) == first
    assert chosen(Join(), 100, ids(300)) == first[:100]
    assert chosen(Join(seed=1), 200, ids(300)) != first
    assert chosen(Join(), 200, ids(300), copy=2) != first
    own = [row.tobytes().hex() for row in ids(200)]
    assert not [n for n in range(200) if own[n] == first[n]], "nobody is its own partner"
    assert chosen(Join(), 2, ids(2)) == [own[1], own[0]]


def test_partners_are_spread_over_all_candidates() -> None:
    found = [one for copy in range(20) for one in chosen(Join(), 500, ids(500), copy)]
    counts = np.unique(np.array(found), return_counts=True)[1]
    assert len(counts) == 500
    assert counts.max() < 60, "20 on average"


def test_one_more_candidate_changes_few_partners() -> None:
    before, after = chosen(Join(), 2000, ids(2000)), chosen(Join(), 2000, ids(2001))
    assert sum(one != other for one, other in zip(before, after, strict=True)) < 20


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_candidates_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} different"):
        chosen(Join(), 3, np.concatenate([ids(count), ids(count)]))


def rows_with_partners(workspace: Workspace, count: int, partners: list[int]) -> Rows:
    with workspace.store.filling() as filling:
        given = ids_from_hex(pa.array([str(filling.put(b"text %d" % n)) for n in range(count)]))
    keys, zeros = pa.array([f"{n}.txt" for n in range(count)]), np.ones(count, dtype=np.int64)
    return Rows(keys, given, zeros, zeros, given[partners])


def joined(workspace: Workspace, rows: Rows, jobs: int = 1) -> DerivedAssets:
    return derive_assets(rows, Join(), workspace.context(jobs), title="test")


def test_the_memo_tells_pairs_apart_and_workers_do_not_show(workspace: Workspace, tmp_path: Path) -> None:
    count = 300
    partners = [(n * 7 + 1) % count for n in range(count)]
    rows = rows_with_partners(workspace, count, partners)
    first = joined(workspace, rows)
    made = [workspace.store.read(one.tobytes().hex()) for one in first.results["id"]]
    assert made == [b"text %d + text %d" % (n, partners[n]) for n in range(count)]
    assert joined(workspace, rows).computed == 0
    other = [*partners[:-1], 5]
    changed = joined(workspace, rows_with_partners(workspace, count, other))
    assert (changed.computed, changed.reused) == (1, count - 1)
    far = Workspace.make(tmp_path / "far")
    again = joined(far, rows_with_partners(far, count, partners), jobs=2)
    assert (again.results == first.results).all()
    same = make_again(rows, Join(), workspace.context(), title="test")[0]
    assert (same == first.results["id"]).all()
    assert pair_ids(rows.ids[:1], rows.ids[1:2]).tobytes() == hashlib.sha256(rows.ids[:2].tobytes()).digest()


def stage(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, operator: CopyOperator, text_of_params: str) -> None:
    kind = replace(text.KIND, copy=lambda params, root: operator)
    monkeypatch.setattr(augmenting, "kind_named", lambda name: kind)
    run_augment(workspace.context(), workspace.params(text_of_params))


OFFLINE = "{augment: {kind: text, copies: 2}}"


def prepared(workspace: Workspace, splits: list[str], **columns: Any) -> None:
    shutil.rmtree(workspace.root / "data" / "prepared", ignore_errors=True)
    assets = {f"{n:02d}.txt": b"text %d" % n for n in range(len(splits))}
    workspace.write("data/prepared", assets, split=splits, **columns)


def test_augment_names_partners_that_are_train_rows_and_no_others(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(workspace, ["train", "val", "test"] * 10)
    stage(workspace, monkeypatch, Join(), OFFLINE)
    rows = workspace.read("data/augmented")
    own = {row["asset_id"]: row["split"] for row in rows if row["parent"] is None}
    copies = [row for row in rows if row["parent"] is not None]
    assert len(copies) == 20
    assert {own[row["partner_id"]] for row in copies} == {"train"}
    assert all(row["partner_id"] != row["parent_id"] for row in copies)
    assert {row["partner_id"] for row in rows if row["parent"] is None} == {None}
    for row in copies:
        text_of = [workspace.store.read(row[name]) for name in ("asset_id", "parent_id", "partner_id")]
        assert text_of[0] == b" + ".join(text_of[1:])


def test_augment_refuses_too_few_rows_a_recipe_and_a_foreign_column(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(workspace, ["train", "val", "val"])
    with pytest.raises(StageRefused, match=r"seen 1 different asset\(s\) in train"):
        stage(workspace, monkeypatch, Join(), OFFLINE)
    with pytest.raises(StageRefused, match="second train row") as refused:
        stage(workspace, monkeypatch, Join(), "{augment: {kind: text, mode: online}}")
    assert "mode: offline" in refused.value.hint
    prepared(workspace, ["train"] * 3, partner_id=[1, 2, 3])
    with pytest.raises(StageRefused, match="partner_id"):
        stage(workspace, monkeypatch, Join(), OFFLINE)
    assert not (workspace.root / "data" / "augmented").exists()


def test_a_partner_of_another_split_is_a_leak(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = ["train", "train", "val"]
    prepared(workspace, splits)
    val = workspace.read("data/prepared")[2]["asset_id"]
    parents = [None, "00.txt", None]
    prepared(workspace, splits, parent=parents, partner_id=[None, val, None])
    with pytest.raises(StageRefused, match=r"1 asset\(s\) are in two splits"):
        stage(workspace, monkeypatch, Join(), OFFLINE)


def test_an_operator_without_use_for_a_partner_gets_none() -> None:
    assert with_partner(Join(takes_partner=False)) is None
    assert with_partner(Join()) == Join()
