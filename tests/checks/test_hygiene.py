"""Faults of hygiene, planted in a real pipeline behind the stages' backs; by rows alone, no image is read."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from checks.planted import Planted
from clones import Clone
from datapin.base.findings import Finding
from datapin.base.ids import AssetId
from datapin.base.progress import SILENT
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest
from datapin.pipeline.operators.images.augment_image import AugmentImage
from datapin.pipeline.operators.recipe import apply_recipe, recipe_of
from datapin.pipeline.params.image import ImageAugmentParams
from datapin.repo import Repo
from datapin.verbs.verify.verify import verify
from datapin.verbs.workspace.workspace import Workspace
from forging import Rows, add_copy, forge, in_split
from workspaces import picture

PIPELINE = """\
stages:
  prepare:
    cmd: datapin run prepare
    deps: [data/raw]
    params: [prepare]
    outs: [data/prepared]
  augment:
    cmd: datapin run augment
    deps: [data/prepared]
    params: [augment]
    outs: [data/augmented]
  featurize:
    cmd: datapin run featurize
    deps: [data/augmented]
    params: [featurize]
    outs: [data/features]
  train:
    cmd: datapin run train
    deps: [data/features]
    params: [prepare, augment, featurize, train]
    outs: [models/model.skops, reports/predictions.parquet]
    metrics:
      - reports/metrics.json: {cache: false}
      - reports/run.json: {cache: false}
    plots:
      - reports/plots: {cache: false}
"""
PARAMS = """\
prepare: {resize: 8, split: {train: 0.5, val: 0.25, test: 0.25}}
augment: {copies: 1}
featurize: {extract: [pixels]}
train: {estimator: sklearn.naive_bayes.GaussianNB}
"""
DERIVED = ("data/prepared", "data/augmented", "data/features")
EXTRA = "data/extra"
Edit = Callable[[Rows], None]


@pytest.fixture(scope="module")
def once(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped pipeline on forty images in groups of two, run and committed; and a source that has splits itself."""
    clone = Clone(tmp_path_factory.mktemp("hygiene") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    rows = ["key,group"]
    for number in range(40):
        key = f"{'ab'[number % 2]}/{number:02}.png"
        place = clone.path / "img" / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(number, side=10))
        rows.append(f"{key},g{number // 4}{number % 2}")
    (clone.path / "groups.csv").write_text("\n".join(rows) + "\n")
    (clone.path / ".gitignore").write_text("/img\n/groups.csv\n/reports/run.git.json\n")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "--metadata", "groups.csv", "-q")
    clone.datapin("add", "img", "--to", EXTRA, "--label", "parent", "--metadata", "groups.csv", "-q")
    clone.datapin("update", EXTRA, "--set", "split=CASE WHEN \"group\" < 'g6' THEN 'train' ELSE 'val' END", "-q")
    (clone.path / "dvc.yaml").write_text(PIPELINE)
    (clone.path / "params.yaml").write_text(PARAMS)
    clone.dvc("repro", "-q")
    clone.commit("healthy")
    return clone.path


@pytest.fixture
def repo(once: Path, tmp_path: Path) -> Clone:
    shutil.copytree(once, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def look(repo: Clone, rev: str | None = None, *, names: Sequence[str] = ("hygiene",)) -> list[Finding]:
    return verify(Workspace.find(repo.path, progress=SILENT), rev, names=names).findings


def plant(repo: Clone, first: str, edit: Edit, drop: tuple[str, ...] = ()) -> Rows:
    """Edit the rows of a dataset, and of those that are made of it as if the stages had handed the edit on."""
    there = DERIVED[DERIVED.index(first) :] if first in DERIVED else (first,)
    seen = [forge(repo.path / dataset, edit, drop) for dataset in there]
    return seen[0]


def pick(rows: Rows, split: str, number: int = 0) -> str:
    return in_split(rows, split)[number]


def test_a_healthy_pipeline_has_no_findings_in_the_work_tree_and_as_a_commit(repo: Clone) -> None:
    assert look(repo) == []
    assert look(repo, names=["hygiene.same-pixels", "hygiene.copy-forged"]) == []
    for dataset in (*DERIVED, EXTRA, "data/raw"):
        shutil.rmtree(repo.path / dataset)
    assert look(repo, "HEAD") == []


@pytest.mark.planted("hygiene.asset-in-two-splits", "an asset is in train and in val")
def test_an_asset_in_two_splits(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        rows[pick(rows, "val")]["asset_id"] = rows[pick(rows, "train")]["asset_id"]

    rows = plant(repo, EXTRA, edit)
    (finding,) = planted.seen(look(repo))
    train, val = pick(rows, "train"), pick(rows, "val")
    assert finding.where == f"{EXTRA}:{train}"
    assert finding.message == (
        f"in split 'train', but {val} with the same asset {rows[train]['asset_id'][:12]} is in split 'val'"
    )


def test_many_assets_in_two_splits_are_counted_and_twenty_are_named(repo: Clone) -> None:
    def edit(rows: Rows) -> None:
        train, val = in_split(rows, "train"), in_split(rows, "val")
        for number in range(len(train)):
            rows[f"copy/{number:02}.png"] = {**rows[train[number]], "key": f"copy/{number:02}.png", "split": "val"}
            rows[f"copy/{number:02}.png"]["group"] = None
        assert len(train) == 24
        assert val

    plant(repo, EXTRA, edit)
    findings = look(repo, names=["hygiene.asset-in-two-splits"])
    assert len(findings) == 21
    assert findings[-1].message == "and 4 more, 24 assets in all"
    assert findings[-1].where == EXTRA


@pytest.mark.planted("hygiene.group-in-two-splits", "a group is in train and in val")
def test_a_group_in_two_splits(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        rows[pick(rows, "val")]["group"] = rows[pick(rows, "train")]["group"]

    plant(repo, EXTRA, edit)
    (finding,) = planted.seen(look(repo))
    assert "with the same group 'g00' is in split 'val'" in finding.message


@pytest.mark.planted(
    "hygiene.recorded-pixels-in-two-splits", "an encoded copy with the pixels of a train row is in val"
)
def test_recorded_pixels_in_two_splits(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        for row in rows.values():
            row["pixels"] = None
        rows[pick(rows, "train")]["pixels"] = rows[pick(rows, "val")]["pixels"] = "5" * 64

    plant(repo, EXTRA, edit)
    planted.seen(look(repo))


@pytest.mark.planted("hygiene.split-names", "a split is called `Train ` in one row")
def test_a_split_that_reads_like_another(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        for key in [key for key, row in rows.items() if row["group"] == rows[pick(rows, "val")]["group"]]:
            rows[key]["split"] = "Train "

    plant(repo, EXTRA, edit)
    (finding,) = planted.seen(look(repo))
    assert "in split 'Train ', which reads like 'train'" in finding.message


@pytest.mark.planted("hygiene.split-names", "a derived dataset has lost its column split")
def test_a_split_column_that_is_gone(repo: Clone, planted: Planted) -> None:
    plant(repo, "data/features", lambda rows: None, drop=("split",))
    (finding,) = planted.seen(look(repo))
    assert (finding.where, finding.message) == ("data/features", "has no column split, data/augmented has one")


@pytest.mark.planted("hygiene.split-names", "rows of a derived dataset are in a split that no stage uses", "warning")
@pytest.mark.planted("hygiene.split-edited", "a val row is renamed to a split of its own after prepare")
def test_a_split_that_no_stage_uses(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        group = rows[pick(rows, "val")]["group"]
        for key in [key for key, row in rows.items() if row["group"] == group]:
            rows[key]["split"] = "hidden"

    plant(repo, "data/prepared", edit)
    found = planted.seen(look(repo))
    assert (
        "which no stage uses; used are train, val, test"
        in next(one for one in found if "no stage" in one.message).message
    )


@pytest.mark.planted("hygiene.split-names", "a row of a derived dataset is in no split")
@pytest.mark.planted("hygiene.split-edited", "the split of a val row is emptied after prepare")
def test_a_row_without_a_split(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        rows[pick(rows, "val")]["split"] = None

    plant(repo, "data/prepared", edit)
    planted.seen(look(repo))


def _whole_group_to_train(rows: Rows) -> None:
    group = rows[pick(rows, "val")]["group"]
    for row in rows.values():
        if row["group"] == group:
            row["split"] = "train"


@pytest.mark.planted("hygiene.split-edited", "a group of val rows is moved to train between prepare and augment")
def test_a_split_that_is_not_prepares(repo: Clone, planted: Planted) -> None:
    plant(repo, "data/prepared", _whole_group_to_train)
    found = planted.seen(look(repo))
    assert {finding.where.partition(":")[0] for finding in found} == {"data/prepared"}


@pytest.mark.planted(
    "hygiene.parent-in-another-split", "rows are moved from val to train between augment and featurize"
)
def test_a_split_that_changes_on_the_way(repo: Clone, planted: Planted) -> None:
    plant(repo, "data/features", _whole_group_to_train)
    found = planted.seen(look(repo))
    assert "in split 'train', but in the dataset before data/augmented:" in found[0].message
    assert found[0].message.endswith("is in split 'val'")


@pytest.mark.planted("hygiene.parent-in-another-split", "a copy of a val row is called train in a forged manifest")
@pytest.mark.planted("hygiene.group-in-two-splits", "a copy of a val row, with its group, is called train")
def test_a_copy_in_another_split_than_its_parent(repo: Clone, planted: Planted) -> None:
    rows = plant(repo, "data/augmented", lambda rows: _copy(rows, "val", split="train"))
    found = planted.seen(look(repo))
    parent = next(one for one in found if one.check == "hygiene.parent-in-another-split")
    assert parent.where.startswith("data/augmented:")
    assert f"but its parent data/prepared:{pick(rows, 'val')} is in split 'val'" in parent.message


@pytest.mark.planted("hygiene.parent-in-another-split", "a train row names the asset of a val row as its parent's")
@pytest.mark.planted("hygiene.parent-mismatch", "a copy names a train row as its parent and the asset of a val row")
def test_a_copy_that_names_one_parent_and_comes_from_another(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        add_copy(rows, pick(rows, "train"), 7, parent_id=rows[pick(rows, "val")]["asset_id"], pixels=None)

    plant(repo, "data/augmented", edit)
    planted.seen(look(repo))


@pytest.mark.planted("hygiene.parent-mismatch", "a copy does not name the asset that it was made from")
def test_a_copy_that_does_not_name_its_asset(repo: Clone, planted: Planted) -> None:
    plant(repo, "data/augmented", lambda rows: _copy(rows, "train", parent_id=None))
    (finding,) = planted.seen(look(repo))
    assert "names the asset of no row as its parent's" in finding.message


def _copy(rows: Rows, of: str, **other: Any) -> None:
    """A copy of the first row of a split."""
    add_copy(rows, pick(rows, of), 7, pixels=None, **other)


@pytest.mark.planted("hygiene.augmented-outside-train", "a hand-written manifest holds a copy of a val row, in val")
def test_a_copy_of_a_val_row(repo: Clone, planted: Planted) -> None:
    rows = plant(repo, "data/augmented", lambda rows: _copy(rows, "val"))
    (finding,) = planted.seen(look(repo))
    assert finding.message == f"a copy of {pick(rows, 'val')} in split 'val'; only train rows may be augmented"


@pytest.mark.planted("hygiene.augmented-outside-train", "a copy of a copy of a val row, in val")
def test_a_copy_of_a_copy_of_a_val_row(repo: Clone, planted: Planted) -> None:
    plant(repo, "data/prepared", lambda rows: _copy(rows, "val"))
    found = [one for one in look(repo) if one.check == "hygiene.augmented-outside-train"]
    assert [one.where.partition(":")[0] for one in found] == ["data/prepared"]

    def edit(rows: Rows) -> None:
        add_copy(rows, next(key for key in rows if "~7" in key), 8, pixels=None)

    plant(repo, "data/augmented", edit)
    found = [one for one in look(repo) if one.check == "hygiene.augmented-outside-train"]
    assert [one.where.partition(":")[0] for one in found] == ["data/augmented", "data/prepared"]
    repo.dvc("checkout", "-q", "--force")
    plant(repo, EXTRA, lambda rows: add_copy_of_copy(rows))
    planted.seen(look(repo))


def add_copy_of_copy(rows: Rows) -> None:
    first = add_copy(rows, pick(rows, "val"), 7)
    add_copy(rows, first, 8)


@pytest.mark.planted("hygiene.parent-missing", "a row is added to a stage's output by hand")
def test_a_row_from_nowhere(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        row = rows[pick(rows, "train")]
        lineage = {"parent": None, "parent_id": None, "operator": None}
        rows["a/new.png"] = {**row, **lineage, "key": "a/new.png", "asset_id": "e" * 64, "pixels": None}

    plant(repo, "data/augmented", edit)
    (finding,) = planted.seen(look(repo))
    assert (finding.where, finding.message) == ("data/augmented:a/new.png", "comes from no row of data/prepared")


@pytest.mark.planted("hygiene.parent-missing", "a copy names a parent that its input does not have")
def test_a_parent_that_is_not_there(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        _copy(rows, "train", parent="a/lost.png")

    plant(repo, "data/augmented", edit)
    (finding,) = planted.seen(look(repo))
    assert finding.message == "its parent a/lost.png is no row of data/prepared"


@pytest.mark.planted("hygiene.parent-missing", "a source has copies of rows that are pinned nowhere", "warning")
def test_a_parent_that_a_source_does_not_have(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        _copy(rows, "train", parent="a/lost.png")

    plant(repo, EXTRA, edit)
    planted.seen(look(repo))


@pytest.mark.planted("hygiene.row-changed", "the label of a row is edited in a stage's output")
def test_a_label_that_changes_on_the_way(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        rows[pick(rows, "test")]["label"] = "b"

    rows = plant(repo, "data/features", edit)
    (finding,) = planted.seen(look(repo))
    key = pick(rows, "test")
    assert finding.message == f"label is 'b', but data/augmented:{key}, which it comes from, has 'a'"


@pytest.mark.planted("hygiene.row-changed", "a copy has another label than its parent")
def test_a_copy_with_another_label(repo: Clone, planted: Planted) -> None:
    plant(repo, "data/augmented", lambda rows: _copy(rows, "train", label="b"))
    planted.seen(look(repo))


@pytest.mark.planted("hygiene.row-changed", "a row of a stage's output has another asset than the stage gave it")
def test_an_asset_that_changes_on_the_way(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        rows[pick(rows, "test")]["asset_id"] = "e" * 64

    plant(repo, "data/features", edit)
    planted.seen(look(repo))


CROPS = """\
  crop:
    cmd: python crop.py
    deps: [data/extra]
    outs: [data/crops]
"""
CROP = """\
import os
import datapin
import pyarrow as pa
import pyarrow.parquet as pq
rows = datapin.open("data/extra").to_arrow().to_pylist()
out = []
for number, row in enumerate(rows):
    for part in range(2):
        split = {split}
        out.append({{"key": row["key"][:-4] + f"-{{part}}.png", "asset_id": f"{{number:02x}}{{part:02x}}" * 16,
                     "size": 1, "label": row["label"], "split": split}} | {lineage})
os.makedirs("data/crops")
pq.write_table(pa.Table.from_pylist(out), "data/crops/part-00000.parquet")
"""
LINEAGE = '{"parent": row["key"], "parent_id": row["asset_id"]}'


def _cropped(repo: Clone, split: str, lineage: str = LINEAGE) -> None:
    """A stage of the user's own makes two rows of each of a source that has no splits."""
    forge(repo.path / EXTRA, lambda rows: None, drop=("split",))
    (repo.path / "crop.py").write_text(CROP.format(split=split, lineage=lineage))
    with (repo.path / "dvc.yaml").open("a") as file:
        file.write(CROPS)
    repo.dvc("repro", "crop", "-q")


@pytest.mark.planted("hygiene.ancestor-in-two-splits", "two crops of one photo lie in different splits")
@pytest.mark.planted("hygiene.augmented-outside-train", "rows made of other rows lie in val")
def test_an_ancestor_in_two_splits(repo: Clone, planted: Planted) -> None:
    _cropped(repo, '("train", "val")[part]')
    found = planted.seen(look(repo))
    planted.by_hand = "the user's own stage is to give another split"
    first = next(one for one in found if one.check == "hygiene.ancestor-in-two-splits")
    assert first.where == "data/crops:a/00-0.png"
    assert first.message == "in split 'train', comes from data/extra:a/00.png; so does a/00-1.png in split 'val'"


@pytest.mark.planted("hygiene.labels-missing", "a row that a model is trained on has lost its label")
@pytest.mark.planted("hygiene.row-changed", "the label of a row is emptied in a stage's output")
def test_a_label_that_is_missing(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        rows[pick(rows, "train")]["label"] = None

    plant(repo, "data/features", edit)
    planted.seen(look(repo))


@pytest.mark.planted("hygiene.column-names", "a column is called Group, and no check sees groups", severity="warning")
def test_a_column_that_is_only_nearly_called_group(repo: Clone, planted: Planted) -> None:
    table = Manifest.open(repo.path / EXTRA).to_table()
    Repo.find(repo.path).write(EXTRA, table.rename_columns({"group": "Group"}))
    (finding,) = planted.seen(look(repo))
    assert finding.where == EXTRA
    assert finding.message.startswith("column 'Group' is nearly called 'group'")
    repo.run("bash", "-c", finding.hint.split(": ", 1)[1])
    assert look(repo) == []
    assert Manifest.open(repo.path / EXTRA).to_table().equals(table)


def _features(repo: Clone, change: Callable[[list[Any]], Any]) -> None:
    """Change the features of the first row; lists of any length."""
    folder = repo.path / "data/features"
    table = Manifest.open(folder).to_table()
    properties = dict(Manifest.open(folder).properties)
    lists = table["features"].to_pylist()
    lists[0] = change(lists[0])
    kind = pa.list_(pa.float32()) if lists[0] is not None and len(lists[0]) != len(lists[1]) else table["features"].type
    table = table.set_column(table.column_names.index("features"), "features", pa.array(lists, kind))
    shutil.rmtree(folder)
    write_manifest(table, folder, properties=properties)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            lambda row: None,
            "has no features",
            marks=pytest.mark.planted("hygiene.features-missing", "the features of a row are null"),
        ),
        pytest.param(
            lambda row: [float("nan"), *row[1:]],
            "not finite",
            marks=pytest.mark.planted("hygiene.features-missing", "a feature is NaN"),
        ),
        pytest.param(
            lambda row: [float("inf"), *row[1:]],
            "not finite",
            marks=pytest.mark.planted("hygiene.features-missing", "a feature is infinite"),
        ),
        pytest.param(
            lambda row: [None, *row[1:]],
            "not finite",
            marks=pytest.mark.planted("hygiene.features-missing", "a feature is null"),
        ),
        pytest.param(
            lambda row: row[:-1],
            "has 63 features, expected 64",
            marks=pytest.mark.planted("hygiene.features-missing", "a row has fewer features than the others"),
        ),
    ],
)
def test_features_that_are_missing(
    repo: Clone, planted: Planted, change: Callable[[list[Any]], Any], expected: str
) -> None:
    _features(repo, change)
    (finding,) = planted.seen(look(repo))
    assert finding.where.startswith("data/features:a/00")
    assert expected in finding.message


@pytest.mark.planted("hygiene.features-missing", "the column features is gone")
def test_features_that_are_gone(repo: Clone, planted: Planted) -> None:
    plant(repo, "data/features", lambda rows: None, drop=("features",))
    planted.seen(look(repo))


@pytest.mark.planted("hygiene.duplicate-keys", "two keys differ in case only", "warning")
def test_keys_that_differ_in_case_only(repo: Clone, planted: Planted) -> None:
    def edit(rows: Rows) -> None:
        rows["A/00.png"] = {**rows["a/00.png"], "key": "A/00.png"}

    plant(repo, EXTRA, edit)
    (finding,) = planted.seen(look(repo))
    assert finding.where == f"{EXTRA}:A/00.png"


def _with_a_key_twice(repo: Clone) -> None:
    folder = repo.path / EXTRA
    table = Manifest.open(folder).to_table()
    shutil.rmtree(folder)
    folder.mkdir()
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), folder / "part-00000.parquet")


def test_a_dataset_with_a_key_twice_passes_no_check(repo: Clone) -> None:
    _with_a_key_twice(repo)
    report = verify(Workspace.find(repo.path, progress=SILENT), names=["hygiene"])
    assert not report.ok
    for result in report.checks:
        if result.name != "pins.readable":
            assert [(one.severity, one.where) for one in result.findings] == [("error", EXTRA)], result.name
            assert "could not be checked" in result.findings[0].message


@pytest.mark.planted("hygiene.class-set-changed", "an update gives one group a label that is new", "warning")
def test_a_class_that_is_new(repo: Clone, planted: Planted) -> None:
    repo.datapin("update", EXTRA, "--set", "label='c'", "--where", "\"group\" = 'g00'", "-q")
    (finding,) = planted.seen(look(repo))
    assert finding.where == EXTRA
    assert finding.message == "classes changed since the previous version: 1 (c) new, 0 gone"
    repo.commit("new class")
    assert planted.seen(look(repo, "HEAD")) == [finding]
    repo.datapin("update", EXTRA, "--set", "note='x'", "-q")
    repo.commit("another version")
    assert look(repo, "HEAD") == []


@pytest.mark.planted("hygiene.class-set-changed", "a class is new in the raw data of a pipeline", "warning")
@pytest.mark.planted("hygiene.class-index-changed", "a new class comes before the others and moves them", "warning")
def test_a_class_index_that_moves(repo: Clone, planted: Planted) -> None:
    repo.datapin("update", "data/raw", "--set", "label='A'", "--where", "\"group\" IN ('g00', 'g21')", "-q")
    repo.dvc("repro", "featurize", "-q")
    found = [one for one in look(repo) if one.check.startswith("hygiene.class")]
    planted.seen(found)
    assert [one.where for one in found] == ["data/raw", "data/prepared"]  # once each: the others only hand it on
    assert "2 class(es) have another number than in the previous version: a: 0 → 1, b: 1 → 2" in found[1].message


@pytest.mark.planted("hygiene.class-index-changed", "the class index of a stage's output is edited")
def test_a_class_index_that_is_edited(repo: Clone, planted: Planted) -> None:
    folder = repo.path / "data/features"
    manifest = Manifest.open(folder)
    table, properties = manifest.to_table(), {**manifest.properties, "datapin.classes": '["b","a"]'}
    shutil.rmtree(folder)
    write_manifest(table, folder, properties=properties)
    (finding,) = planted.seen(look(repo))
    assert finding.message == ("pins the class index 2 (b, a); data/augmented, which it is made of, 2 (a, b)")


@pytest.mark.planted("hygiene.label-drift", "an update moves a quarter of the labels to the other class", "warning")
def test_labels_that_drift(repo: Clone, planted: Planted) -> None:
    repo.datapin("update", EXTRA, "--set", "label='b'", "--where", "\"group\" < 'g5' AND label = 'a'", "-q")
    (finding,) = planted.seen(look(repo))
    assert "labels is 0.250 away" in finding.message
    assert "a 50.0% → 25.0%" in finding.message
    (repo.path / "params.yaml").write_text(PARAMS + "verify: {label_drift: 0.25}\n")
    assert look(repo) == []


@pytest.mark.planted("hygiene.label-drift", "the labels of a regression move away", "warning")
def test_numbers_that_drift(repo: Clone, planted: Planted) -> None:
    repo.datapin("update", EXTRA, "--set", "value=length(key)", "-q")
    forge(repo.path / EXTRA, lambda rows: None, drop=("label",))
    repo.dvc("add", EXTRA, "-q")
    for text in ("CAST(substr(key, 3, 2) AS DOUBLE)", "CAST(substr(key, 3, 2) AS DOUBLE) + 12"):
        repo.commit("one version")
        repo.datapin("update", EXTRA, "--set", f"label={text}", "-q")
    (finding,) = planted.seen(look(repo))
    assert "labels is 0." in finding.message


@pytest.mark.planted("hygiene.split-drift", "an update moves two groups of the train rows to val", "warning")
def test_splits_that_drift(repo: Clone, planted: Planted) -> None:
    repo.datapin("update", EXTRA, "--set", "split='val'", "--where", "\"group\" < 'g2'", "-q")
    (finding,) = planted.seen(look(repo))
    assert "(verify.split_drift): train 60.0% → 40.0%, val 40.0% → 60.0%" in finding.message


def test_more_copies_are_no_drift(repo: Clone) -> None:
    def edit(rows: Rows) -> None:
        for number, key in enumerate(in_split(rows, "train")):
            if rows[key]["label"] == "a":
                add_copy(rows, key, 9, asset_id=f"{number:02x}" * 32)

    plant(repo, "data/augmented", edit)
    repo.dvc("commit", "-f", "-q")
    assert look(repo, names=["hygiene.label-drift", "hygiene.split-drift"]) == []


def test_a_previous_version_that_is_nowhere_is_told_and_no_error(repo: Clone) -> None:
    repo.datapin("update", EXTRA, "--set", "note='x'", "-q")
    before = repo.git("show", f"HEAD:{EXTRA}.dvc")
    md5 = next(line.split()[-1] for line in before.splitlines() if "md5:" in line)
    for place in (".dvc/cache", ".git/datapin/objects"):
        shutil.rmtree(repo.path / place / "files/md5" / md5[:2])
    shutil.rmtree(repo.path / ".git/datapin/cache", ignore_errors=True)
    found = look(repo)
    assert {one.severity for one in found} == {"warning"}
    assert {one.where for one in found} == {EXTRA}
    assert "could not be compared with its previous version" in found[0].message


def _stored(repo: Clone, asset_id: str) -> bytes:
    return Workspace.find(repo.path, progress=SILENT).store.read(AssetId(asset_id))


def _made_of_a_val_image(repo: Clone, number: int = 7) -> None:
    """A real copy of a val image, made by the very operator, that says to be made of a train image."""
    rows = forge(repo.path / "data/augmented", lambda rows: None)
    train, val = pick(rows, "train"), rows[pick(rows, "val")]["asset_id"]
    recipe = recipe_of(AugmentImage(operators=ImageAugmentParams().operators))
    data = apply_recipe(recipe, _stored(repo, val), val, number)
    made = str(Workspace.find(repo.path, progress=SILENT).store.put(data))
    operator = next(row["operator"] for key, row in rows.items() if "~" in key)

    def edit(rows: Rows) -> None:
        add_copy(rows, train, number, asset_id=made, operator=operator, pixels=None)

    plant(repo, "data/augmented", edit)


@pytest.mark.planted("hygiene.copy-forged", "a copy of a val image names a train row as its parent, and all ids fit")
def test_a_copy_of_a_val_image_that_names_a_train_row(repo: Clone, planted: Planted) -> None:
    _made_of_a_val_image(repo)
    assert look(repo) == []  # rows alone cannot tell
    (finding,) = planted.seen(look(repo, names=["hygiene.copy-forged"]))
    assert finding.where.endswith("~7.png")
    assert "is not what the operator makes of the parent that it names" in finding.message


@pytest.mark.planted("hygiene.copy-forged", "a copy was made by another operator than params name")
def test_a_copy_made_by_another_operator(repo: Clone, planted: Planted) -> None:
    plant(repo, "data/augmented", lambda rows: _copy(rows, "train"))
    (finding,) = planted.seen(look(repo, names=["hygiene.copy-forged"]))
    assert "was not made by the operator of the stage's params" in finding.message


def test_copies_are_held_to_their_pixels_not_to_the_bytes_of_one_zlib(repo: Clone) -> None:
    folder = repo.path / "data/augmented"
    rows = forge(folder, lambda rows: None)
    key = next(key for key in rows if "~" in key)
    sink = io.BytesIO()
    Image.open(io.BytesIO(_stored(repo, rows[key]["asset_id"]))).save(sink, "PNG", compress_level=9)
    other = str(Workspace.find(repo.path, progress=SILENT).store.put(sink.getvalue()))
    assert other != rows[key]["asset_id"]
    plant(repo, "data/augmented", lambda rows: rows[key].update(asset_id=other))
    assert look(repo, names=["hygiene.copy-forged"]) == []


def test_a_forged_dataset_that_was_committed_is_found_in_the_commit(repo: Clone) -> None:
    plant(repo, "data/augmented", lambda rows: _copy(rows, "val"))
    repo.dvc("commit", "-f", "-q")
    repo.commit("forged, and every pin fits")
    for dataset in DERIVED:
        shutil.rmtree(repo.path / dataset)
    (finding,) = look(repo, "HEAD")
    assert finding.check == "hygiene.augmented-outside-train"


def test_one_unreadable_dataset_hides_nothing_in_the_others(repo: Clone) -> None:
    plant(repo, "data/augmented", lambda rows: _copy(rows, "val"))
    _with_a_key_twice(repo)
    found = look(repo, names=["hygiene.augmented-outside-train"])
    assert [one.where.partition(":")[0] for one in found] == ["data/augmented", EXTRA]


def test_an_input_that_cannot_be_read_leaves_no_lineage_unchecked(repo: Clone) -> None:
    part = repo.path / "data/prepared/part-00000.parquet"
    part.chmod(0o644)
    part.write_bytes(part.read_bytes()[:200])
    report = verify(Workspace.find(repo.path, progress=SILENT), names=["hygiene.parent-missing"])
    told = {one.where for result in report.checks if result.name.startswith("hygiene") for one in result.findings}
    assert told == {"data/prepared", "data/augmented"}
    assert not report.ok


def test_a_shallow_clone_says_that_it_did_not_compare(repo: Clone, tmp_path: Path) -> None:
    repo.git("clone", "-q", "--depth", "1", f"file://{repo.path}", tmp_path / "shallow")
    shutil.copytree(repo.path / ".dvc/cache", tmp_path / "shallow/.dvc/cache")
    report = verify(Workspace.find(tmp_path / "shallow", progress=SILENT), "HEAD", names=["hygiene"])
    assert report.findings == []
    assert [note for note in report.notes if "shallow" in note] == report.notes
    assert len(report.notes) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("add", "img", "--to", "data/augmented"),
        ("update", "data/augmented", "--set", "split='train'"),
        ("update", "data/prepared", "--set", "split='train'"),
        ("remove", "data/features", "--where", "split='val'"),
    ],
)
def test_rows_of_a_stages_output_are_not_edited_by_our_own_verbs(repo: Clone, words: tuple[str, ...]) -> None:
    said, _ = repo.refusal(*words, code=40)
    assert "is the output of a stage" in said


OTHER_PARAMS = """\
prepare: {keep_split: true, duplicates: drop, on_unlabelled: drop, on_broken: drop, classes: [b, a]}
augment: {mode: online}
featurize: {extract: [pixels]}
train: {estimator: sklearn.naive_bayes.GaussianNB}
"""


def test_a_healthy_pipeline_with_other_params_has_no_findings_either(repo: Clone) -> None:
    pictures = repo.path / "img"
    (pictures / "a/again.png").write_bytes((pictures / "a/00.png").read_bytes())  # dropped as a duplicate
    (pictures / "a/broken.png").write_bytes((pictures / "a/02.png").read_bytes()[:60])
    repo.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    split = (
        "CASE WHEN \"group\" < 'g3' THEN 'train' WHEN \"group\" < 'g6' THEN 'val' WHEN \"group\" < 'g8' THEN 'test' END"
    )
    repo.datapin("update", "data/raw", "--set", f"split={split}", "-q")
    repo.datapin("update", "data/raw", "--set", "label=''", "--where", "key = 'b/05.png'", "-q")
    (repo.path / "params.yaml").write_text(OTHER_PARAMS)
    repo.dvc("repro", "-q")
    found = look(repo, names=["hygiene", "hygiene.same-pixels", "hygiene.copy-forged"])
    assert {one.severity for one in found} <= {"warning"}  # splits and classes are not those of the version before
    assert {one.check for one in found} <= {f"hygiene.{what}" for what in ("split-drift", "class-index-changed")}
