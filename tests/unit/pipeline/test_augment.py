"""augment: only train rows, children that inherit, the same images offline and online."""

from __future__ import annotations

import json
from typing import Any

import pytest

from datapin.base.errors import StageRefused
from datapin.manifest.manifest import Manifest
from datapin.pipeline.mapping.context import StageReport
from datapin.pipeline.operators.recipe import RECIPE, apply_recipe
from datapin.pipeline.params.image import ImageAugmentParams
from datapin.pipeline.stages.augment import augment
from workspaces import Workspace, digits, labels_of, picture

SPLITS = ["train", "val", "test"]


def fill(workspace: Workspace, count: int = 12, **columns: Any) -> dict[str, bytes]:
    assets = digits(count)
    columns.setdefault("label", labels_of(assets))
    columns.setdefault("split", [SPLITS[number % 4 if number % 4 < 3 else 0] for number in range(count)])
    workspace.write("data/prepared", assets, properties={"datapin.classes": '["0","1","2"]'}, **columns)
    return assets


def run(workspace: Workspace, jobs: int = 1, **params: Any) -> StageReport:
    return augment(workspace.context(jobs), ImageAugmentParams.model_validate(params))


def children(workspace: Workspace) -> list[dict[str, Any]]:
    return [row for row in workspace.read("data/augmented") if row.get("parent") not in (None, row["key"])]


def test_only_train_rows_get_copies(workspace: Workspace) -> None:
    fill(workspace)
    report = run(workspace, copies=2)
    parents = {row["key"]: row for row in workspace.read("data/prepared")}
    train = [key for key, row in parents.items() if row["split"] == "train"]
    found = children(workspace)
    assert report.rows == 12 + 2 * len(train)
    assert report.computed == 2 * len(train)
    assert sorted({row["parent"] for row in found}) == sorted(train)
    assert {row["split"] for row in found} == {"train"}


def test_rows_without_a_split_get_no_copies(workspace: Workspace) -> None:
    fill(workspace, 3, split=[None, "train", None])
    run(workspace)
    assert [row["parent"] for row in children(workspace)] == ["1/0001.png"]


def test_other_rows_pass_through_as_they_are(workspace: Workspace) -> None:
    fill(workspace)
    run(workspace)
    before = workspace.read("data/prepared")
    after = {row["key"]: row for row in workspace.read("data/augmented")}
    for row in before:
        assert {name: after[row["key"]][name] for name in row} == row
        assert after[row["key"]]["parent"] is None


@pytest.mark.parametrize("splits", [["train", "val"], ["test"], []])
def test_a_request_to_augment_other_splits_is_refused(workspace: Workspace, splits: list[str]) -> None:
    fill(workspace)
    with pytest.raises(StageRefused, match="only train rows") as caught:
        run(workspace, splits=splits)
    assert caught.value.exit_code == 40
    assert not (workspace.root / "data/augmented").exists()


def test_rows_without_splits_are_refused(workspace: Workspace) -> None:
    workspace.write("data/prepared", digits(3))
    with pytest.raises(StageRefused, match="no split column"):
        run(workspace)


def test_children_inherit_and_name_their_parent(workspace: Workspace) -> None:
    fill(workspace, 3, split=["train"] * 3, group=["g0", "g1", "g2"], note=["x", "y", "z"])
    run(workspace, copies=2)
    parents = {row["key"]: row for row in workspace.read("data/augmented") if row["parent"] is None}
    found = children(workspace)
    assert [row["key"] for row in found][:2] == ["0/0000~1.png", "0/0000~2.png"]
    for row in found:
        parent = parents[row["parent"]]
        assert row["parent_id"] == parent["asset_id"]
        assert row["asset_id"] != parent["asset_id"]
        assert all(row[name] == parent[name] for name in ("label", "split", "group", "note"))
        assert len(workspace.store.read(row["asset_id"])) == row["size"]
        assert row["media_type"] == "image/png"
        assert len(row["pixels"]) == 64
    assert len({row["operator"] for row in found}) == 1


def test_classes_and_inputs_are_handed_on(workspace: Workspace) -> None:
    fill(workspace)
    run(workspace)
    properties = Manifest.open(workspace.root / "data/augmented").properties
    assert properties["datapin.classes"] == '["0","1","2"]'
    digest = Manifest.open(workspace.root / "data/prepared").digest
    assert json.loads(properties["datapin.inputs"]) == {"data/prepared": digest}


def test_copies_per_class(workspace: Workspace) -> None:
    fill(workspace, 12, split=["train"] * 12)
    run(workspace, copies={"0": 3, "1": 1})
    labels = [row["label"] for row in children(workspace)]
    assert (labels.count("0"), labels.count("1"), labels.count("2")) == (12, 4, 0)


def test_a_class_that_no_row_has_is_refused(workspace: Workspace) -> None:
    fill(workspace, 6, label=["cat", "dog"] * 3, split=["train"] * 6)
    with pytest.raises(StageRefused, match="'cats'") as caught:
        run(workspace, copies={"cats": 1})
    assert caught.value.hint == "did you mean 'cat'?"


def test_copies_per_class_need_classes(workspace: Workspace) -> None:
    fill(workspace, 6, label=[1.5] * 6)
    with pytest.raises(StageRefused, match="no classes"):
        run(workspace, copies={"1.5": 1})


def test_no_copies_change_nothing_and_say_so(workspace: Workspace) -> None:
    fill(workspace)
    report = run(workspace, copies=0)
    assert (report.rows, report.computed) == (12, 0)
    assert [one.check for one in report.findings] == ["nothing-augmented"]
    assert report.digest == Manifest.open(workspace.root / "data/prepared").digest


def test_more_copies_compute_only_the_new_ones(workspace: Workspace) -> None:
    fill(workspace, 12, split=["train"] * 12)
    run(workspace, copies=1)
    first = {row["key"]: row["asset_id"] for row in children(workspace)}
    report = run(workspace, copies=3)
    assert (report.computed, report.reused) == (24, 12)
    again = {row["key"]: row["asset_id"] for row in children(workspace)}
    assert {key: again[key] for key in first} == first


def test_another_seed_makes_other_images(workspace: Workspace) -> None:
    fill(workspace)
    run(workspace)
    first = {row["asset_id"] for row in children(workspace)}
    run(workspace, seed=1)
    assert not first & {row["asset_id"] for row in children(workspace)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_workers_and_memo_do_not_show_in_the_output(workspace: Workspace, jobs: int) -> None:
    fill(workspace, 40)
    run(workspace, copies=3)
    cold = workspace.files("data/augmented")
    run(workspace, jobs, copies=3)
    assert workspace.files("data/augmented") == cold


def test_keys_of_copies_that_are_taken_are_refused(workspace: Workspace) -> None:
    assets = {"0/a.png": picture(1), "0/a~1.png": picture(2)}
    workspace.write("data/prepared", assets, label=["0", "0"], split=["train", "val"])
    with pytest.raises(StageRefused, match=r"0/a~1\.png"):
        run(workspace)


def test_images_that_differ_only_in_their_ending_are_refused(workspace: Workspace) -> None:
    assets = {"0/a.png": picture(1), "0/a.bmp": picture(2)}
    workspace.write("data/prepared", assets, label=["0", "0"], split=["train", "train"])
    with pytest.raises(StageRefused, match=r"0/a~1\.png"):
        run(workspace)


def test_a_dot_in_a_name_is_no_ending(workspace: Workspace) -> None:
    assets = {"0/v1.2": picture(1), "0/b.JPG": picture(2)}
    workspace.write("data/prepared", assets, label=["0", "0"], split=["train", "train"])
    run(workspace)
    assert [row["key"] for row in children(workspace)] == ["0/b~1.png", "0/v1.2~1.png"]


def test_a_row_that_is_no_image_is_refused_by_name(workspace: Workspace) -> None:
    workspace.write("data/prepared", {"0/a.bin": b"text"}, label=["0"], split=["train"])
    with pytest.raises(StageRefused, match=r"0/a\.bin \(not an image"):
        run(workspace)


def test_online_stores_the_recipe_and_changes_no_row(workspace: Workspace) -> None:
    fill(workspace)
    before = workspace.read("data/prepared")
    report = run(workspace, mode="online")
    assert (report.rows, report.computed) == (12, 0)
    assert workspace.read("data/augmented") == before
    assert RECIPE in Manifest.open(workspace.root / "data/augmented").properties


def test_online_and_offline_make_the_same_images(workspace: Workspace) -> None:
    operators: dict[str, dict[str, Any]] = {"rotate": {}, "noise": {}, "cutout": {}}
    assets = fill(workspace, 6, split=["train"] * 6)
    run(workspace, mode="online", operators=operators, seed=4, output="data/online")
    recipe = Manifest.open(workspace.root / "data/online").properties[RECIPE]
    run(workspace, copies=2, operators=operators, seed=4)
    for row in children(workspace):
        copy = int(row["key"].split("~")[1].split(".")[0])
        made = apply_recipe(recipe, assets[row["parent"]], row["parent_id"], copy)
        assert made == workspace.store.read(row["asset_id"])
