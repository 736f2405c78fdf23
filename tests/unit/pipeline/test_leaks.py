"""Leaks between splits are refused by the stages themselves, whichever way the rows came to be so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datapin.base.errors import StageRefused
from datapin.pipeline.splits.leaks import lookalikes
from datapin.pipeline.stages.augment import run_augment
from datapin.pipeline.stages.featurize import run_featurize
from datapin.pipeline.stages.prepare import run_prepare
from datapin.pipeline.stages.train import run_train
from forging import Rows, add_copy, forge, in_split
from workspaces import Workspace, digits, labels_of

PARAMS = """
prepare: {split: {train: 0.6, val: 0.2, test: 0.2}}
augment: {copies: 1}
featurize: {extract: [pixels]}
train: {estimator_params: {n_estimators: 2}}
"""
RUNS = {"augment": run_augment, "featurize": run_featurize, "train": run_train}
INPUTS = {"augment": "data/prepared", "featurize": "data/augmented", "train": "data/features"}


def run(workspace: Workspace, stage: str) -> None:
    RUNS[stage](workspace.context(), workspace.root / "params.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages have run."""
    workspace = Workspace.make(tmp_path_factory.mktemp("leaks") / "repo")
    assets = digits(40)
    workspace.write("data/raw", assets, label=labels_of(assets), group=[f"g{n // 2}" for n in range(40)])
    params = workspace.params(PARAMS)
    run_prepare(workspace.context(), params)
    for stage in RUNS:
        run(workspace, stage)
    return workspace.root


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(finished, tmp_path / "repo")
    return Workspace(tmp_path / "repo")


def refusal(workspace: Workspace, stage: str) -> str:
    """What the stage says when it refuses; it leaves its outputs as they were."""
    before = {folder: workspace.files(folder) for folder in ("data", "models", "reports")}
    with pytest.raises(StageRefused) as caught:
        run(workspace, stage)
    assert caught.value.exit_code == 40
    assert caught.value.hint
    assert {folder: workspace.files(folder) for folder in before} == before
    return caught.value.message


def test_what_the_stages_made_themselves_is_refused_by_none(workspace: Workspace) -> None:
    for stage in RUNS:
        run(workspace, stage)


def copy_of_val(rows: Rows) -> None:
    add_copy(rows, in_split(rows, "val")[0], 7)


def copy_of_val_called_train(rows: Rows) -> None:
    add_copy(rows, in_split(rows, "val")[0], 7, split="train")


def copy_whose_parent_id_is_of_val(rows: Rows) -> None:
    train, val = in_split(rows, "train")[0], in_split(rows, "val")[0]
    add_copy(rows, train, 7, parent_id=rows[val]["asset_id"])


def val_asset_in_train(rows: Rows) -> None:
    train, val = in_split(rows, "train")[0], in_split(rows, "val")[0]
    rows[train]["asset_id"] = rows[val]["asset_id"]


def group_in_two_splits(rows: Rows) -> None:
    train, val = in_split(rows, "train")[0], in_split(rows, "val")[0]
    rows[train]["group"] = rows[val]["group"]


def split_with_a_space(rows: Rows) -> None:
    rows[in_split(rows, "val")[0]]["split"] = "Train "


@pytest.mark.parametrize("stage", ["augment", "featurize", "train"])
@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (copy_of_val, "1 augmented row(s) are not in train"),
        (copy_of_val_called_train, "1 row(s) are in another split than their parent"),
        (copy_whose_parent_id_is_of_val, "asset(s) are in two splits"),
        (val_asset_in_train, "1 asset(s) are in two splits"),
        (group_in_two_splits, "1 group(s) are in two splits"),
        (split_with_a_space, "the split 'Train ' reads like 'train'"),
    ],
)
def test_rows_of_two_splits_that_are_related_are_refused(
    workspace: Workspace, stage: str, edit: Callable[[Rows], None], expected: str
) -> None:
    forge(workspace.root / INPUTS[stage], edit)
    assert expected in refusal(workspace, stage)


def test_a_split_edited_between_prepare_and_augment_is_refused(workspace: Workspace) -> None:
    moved: list[str] = []

    def edit(rows: Rows) -> None:
        group = rows[in_split(rows, "val")[0]]["group"]
        moved.extend(key for key, row in rows.items() if row["group"] == group)
        for key in moved:
            rows[key]["split"] = "train"

    forge(workspace.root / "data/prepared", edit)
    said = refusal(workspace, "augment")
    assert f"{len(moved)} row(s) are not in the split that prepare gives them: {moved[0]} (train)" in said


def test_splits_are_held_against_the_raw_rows_only_as_prepare_read_them(workspace: Workspace) -> None:
    def edit(rows: Rows) -> None:
        for row in rows.values():
            row["group"] = "one"

    forge(workspace.root / "data/raw", edit)
    run(workspace, "augment")


@pytest.mark.parametrize("renamed", [{}, {"part": "train"}])
def test_rows_whose_split_was_removed_or_renamed_are_not_augmented(
    workspace: Workspace, renamed: dict[str, Any]
) -> None:
    def edit(rows: Rows) -> None:
        for row in rows.values():
            row.update(renamed)

    forge(workspace.root / "data/prepared", edit, drop=("split",))
    assert "data/prepared has no split column" in refusal(workspace, "augment")


def test_a_row_whose_split_was_emptied_is_refused_where_prepare_gave_it_one(workspace: Workspace) -> None:
    def edit(rows: Rows) -> None:
        rows[in_split(rows, "val")[0]]["split"] = None

    forge(workspace.root / "data/prepared", edit)
    assert "1 row(s) are not in the split that prepare gives them" in refusal(workspace, "augment")


@pytest.mark.parametrize("splits", ["[train, val]", "[val]", "[test, train]", "[]"])
def test_params_that_ask_for_other_splits_are_refused(workspace: Workspace, splits: str) -> None:
    workspace.params(PARAMS.replace("copies: 1", f"copies: 1, splits: {splits}"))
    assert "only train rows ever are" in refusal(workspace, "augment")


def test_a_pipeline_wired_past_prepare_is_refused(workspace: Workspace) -> None:
    workspace.params(PARAMS.replace("copies: 1", "copies: 1, input: data/raw"))
    assert "data/raw has no split column" in refusal(workspace, "augment")


def test_a_pipeline_wired_past_prepare_with_splits_of_its_own_is_held_to_the_same(workspace: Workspace) -> None:
    def edit(rows: Rows) -> None:
        for number, row in enumerate(rows.values()):
            row["split"] = ("train", "val")[number % 2]  # the two rows of a group are apart

    forge(workspace.root / "data/raw", edit)
    workspace.params(PARAMS.replace("copies: 1", "copies: 1, input: data/raw"))
    assert "group(s) are in two splits" in refusal(workspace, "augment")


def test_a_users_function_cannot_bring_rows_or_splits(workspace: Workspace) -> None:
    before = workspace.read("data/augmented")
    (workspace.root / "mine.py").write_text(
        "import numpy as np\n\ndef run(assets):\n"
        "    for asset in assets:\n        globals().setdefault('split', 'train')\n"
        "    return np.array([[len(a)] for a in assets])\n"
    )
    workspace.params(PARAMS.replace("pixels", "{use: 'mine:run'}"))
    run(workspace, "featurize")
    after = [{name: row[name] for name in row if name != "features"} for row in workspace.read("data/features")]
    assert after == before
    (workspace.root / "foreign.py").write_text(
        "def run(assets):\n    return [{'key': 'x', 'split': 'train'} for a in assets]\n"
    )
    workspace.params(PARAMS.replace("pixels", "{use: 'foreign:run'}"))
    assert "foreign:run raised TypeError" in refusal(workspace, "featurize")


def test_the_recipe_of_online_augmentation_is_refused_for_leaking_rows_too(workspace: Workspace) -> None:
    forge(workspace.root / "data/prepared", copy_of_val)
    workspace.params(PARAMS.replace("copies: 1", "mode: online"))
    assert "augmented row(s) are not in train" in refusal(workspace, "augment")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train", "val", "test"], []),
        (["training", "validation"], []),
        (["Train "], [("Train ", "train")]),
        (["TRAIN", "train"], [("TRAIN", "train")]),
        (["Fold", "fold"], [("Fold", "fold")]),
        (["Fold", "FOLD"], [("FOLD", "Fold")]),
        (["ｔｒａｉｎ"], [("ｔｒａｉｎ", "train")]),
        (["train\u00a0"], [("train\u00a0", "train")]),
    ],
)
def test_names_of_splits_that_read_alike_are_told(names: list[str], expected: list[tuple[str, str]]) -> None:
    assert lookalikes(names) == expected


def test_a_dataset_without_splits_has_nothing_to_leak(workspace: Workspace) -> None:
    forge(workspace.root / "data/augmented", lambda rows: None, drop=("split",))
    run(workspace, "featurize")
