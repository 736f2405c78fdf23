"""prepare: fit rows, in one form, in splits that do not leak."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from datapin.base.errors import BadRows, BadSettings, DamagedAsset, Locked, ManifestMissing, StageRefused
from datapin.base.files import lock
from datapin.base.findings import Finding
from datapin.manifest.manifest import Manifest
from datapin.pipeline.mapping.context import StageReport
from datapin.pipeline.operators.images.files import decode
from datapin.pipeline.params.image import ImagePrepareParams
from datapin.pipeline.stages.prepare import prepare, run_prepare
from workspaces import Workspace, digits, labels_of, picture


def fill(workspace: Workspace, assets: dict[str, bytes], **columns: Any) -> Manifest:
    columns.setdefault("label", labels_of(assets))
    return workspace.write("data/raw", assets, **columns)


def run(workspace: Workspace, jobs: int = 1, previous: Manifest | None = None, **params: Any) -> StageReport:
    return prepare(workspace.context(jobs, previous), ImagePrepareParams(**params))


def finding(report: StageReport, check: str) -> Finding:
    (found,) = [one for one in report.findings if one.check == check]
    return found


def by_key(workspace: Workspace, column: str) -> dict[str, Any]:
    return {row["key"]: row[column] for row in workspace.read("data/prepared")}


def test_files_that_are_no_images_pass_through_untouched(workspace: Workspace) -> None:
    assets = {f"{label}/{number}.bin": bytes([number]) * 40 for label in "ab" for number in range(20)}
    fill(workspace, assets)
    report = run(workspace)
    assert (report.rows, report.computed, report.dropped) == (40, 0, 0)
    for row in workspace.read("data/prepared"):
        assert workspace.store.read(row["asset_id"]) == assets[row["key"]]
        assert "parent" not in row


def test_images_that_are_only_checked_keep_their_bytes(workspace: Workspace) -> None:
    assets = digits(30)
    fill(workspace, assets)
    report = run(workspace)
    assert (report.rows, report.computed, report.reused) == (30, 30, 0)
    assert all(workspace.store.read(row["asset_id"]) == assets[row["key"]] for row in workspace.read("data/prepared"))


def test_resized_images_name_what_they_came_from(workspace: Workspace) -> None:
    fill(workspace, digits(12))
    raw = {row["key"]: row["asset_id"] for row in workspace.read("data/raw")}
    run(workspace, resize=[8, 6], mode="RGB")
    for row in workspace.read("data/prepared"):
        data = workspace.store.read(row["asset_id"])
        image = decode(data)
        assert (image.size, image.mode, len(data), row["media_type"]) == ((8, 6), "RGB", row["size"], "image/png")
        assert (row["parent"], row["parent_id"]) == (row["key"], raw[row["key"]])
        assert len(row["operator"]) == 64
        assert len(row["pixels"]) == 64


def test_only_what_changed_is_computed_again(workspace: Workspace) -> None:
    assets = digits(30)
    fill(workspace, assets)
    first = run(workspace, resize=[6, 6])
    assert (first.computed, first.reused) == (30, 0)
    assets["0/0003.png"] = picture(999)
    (workspace.root / "data/raw").rename(workspace.root / "data/old")
    fill(workspace, assets)
    second = run(workspace, resize=[6, 6])
    assert (second.computed, second.reused) == (1, 29)
    assert second.digest != first.digest


@pytest.mark.parametrize("jobs", [1, 2])
def test_workers_and_memo_do_not_show_in_the_output(workspace: Workspace, jobs: int) -> None:
    fill(workspace, digits(60))
    run(workspace, resize=[6, 6])
    cold = workspace.files("data/prepared")
    run(workspace, jobs, resize=[6, 6])
    assert workspace.files("data/prepared") == cold


def test_a_broken_image_is_refused_by_name(workspace: Workspace) -> None:
    fill(workspace, {**digits(5), "1/torn.png": picture(7, 40)[:-40]})
    with pytest.raises(StageRefused, match=r"1 broken image\(s\): 1/torn\.png \(broken image") as caught:
        run(workspace)
    assert "on_broken: drop" in caught.value.hint
    assert not (workspace.root / "data/prepared").exists()


def test_a_broken_image_is_dropped_and_reported_every_time(workspace: Workspace) -> None:
    fill(workspace, {**digits(9), "1/torn.png": picture(7, 40)[:-40]})
    for _ in range(2):
        report = run(workspace, on_broken="drop")
        assert (report.rows, report.dropped) == (9, 1)
        assert finding(report, "broken-image").where == "data/raw:1/torn.png"
    assert "1/torn.png" not in by_key(workspace, "split")


def test_with_an_image_option_every_row_must_be_an_image(workspace: Workspace) -> None:
    fill(workspace, {**digits(5), "1/notes.bin": b"text"})
    with pytest.raises(StageRefused, match=r"1/notes\.bin \(not an image"):
        run(workspace, mode="L")


def test_rows_without_a_label_are_refused_dropped_or_kept(workspace: Workspace) -> None:
    assets = digits(9)
    labels: list[str | None] = [*labels_of(assets)]
    labels[4] = None
    labels[6] = ""
    fill(workspace, assets, label=labels)
    with pytest.raises(StageRefused, match=r"2 row\(s\) have no label"):
        run(workspace)
    dropped = run(workspace, on_unlabelled="drop")
    assert (dropped.rows, dropped.dropped) == (7, 2)
    assert run(workspace, on_unlabelled="keep").rows == 9
    assert [by_key(workspace, "label")[key] for key in ("1/0004.png", "0/0006.png")] == [None, None]
    assert classes(workspace) == ["0", "1", "2"]


def test_a_dataset_without_labels_is_refused_unless_they_are_not_needed(workspace: Workspace) -> None:
    workspace.write("data/raw", digits(9))
    with pytest.raises(StageRefused, match=r"9 row\(s\) have no label"):
        run(workspace)
    assert run(workspace, on_unlabelled="keep").rows == 9
    assert "datapin.classes" not in Manifest.open(workspace.root / "data/prepared").properties


def test_when_everything_is_dropped_the_stage_refuses(workspace: Workspace) -> None:
    workspace.write("data/raw", digits(9))
    with pytest.raises(StageRefused, match="no row of data/raw is left"):
        run(workspace, on_unlabelled="drop")


def test_duplicates_are_kept_dropped_or_refused(workspace: Workspace) -> None:
    assets = {**digits(9), "0/again.png": digits(9)["0/0000.png"]}
    fill(workspace, assets)
    kept = run(workspace, split={"train": 0.5, "test": 0.5})
    assert kept.rows == 10
    assert "0/again.png = 0/0000.png" in finding(kept, "duplicates").message
    splits = by_key(workspace, "split")
    assert splits["0/again.png"] == splits["0/0000.png"]
    dropped = run(workspace, duplicates="drop")
    assert (dropped.rows, dropped.dropped) == (9, 1)
    assert "0/again.png" not in by_key(workspace, "split")
    with pytest.raises(StageRefused, match=r"0/again\.png = 0/0000\.png"):
        run(workspace, duplicates="refuse")


def test_duplicates_with_different_labels_are_found(workspace: Workspace) -> None:
    fill(workspace, {**digits(9), "1/wrong.png": digits(9)["0/0000.png"]})
    found = finding(run(workspace), "conflicting-labels")
    assert (found.severity, found.where) == ("warning", "data/raw:1/wrong.png")
    assert "0/0000.png is the same asset with label '0'" in found.message


def test_adding_rows_moves_none_between_splits(workspace: Workspace) -> None:
    assets = digits(150)
    fill(workspace, dict(list(assets.items())[:100]))
    run(workspace)
    before = by_key(workspace, "split")
    (workspace.root / "data/raw").rename(workspace.root / "data/old")
    fill(workspace, assets)
    run(workspace)
    after = by_key(workspace, "split")
    assert {key: after[key] for key in before} == before
    assert set(after.values()) == {"train", "val", "test"}


def test_the_form_of_images_does_not_move_rows_between_splits(workspace: Workspace) -> None:
    fill(workspace, digits(100))
    run(workspace)
    plain = by_key(workspace, "split")
    run(workspace, resize=[5, 5], mode="RGB")
    assert by_key(workspace, "split") == plain


def test_no_group_is_in_two_splits(workspace: Workspace) -> None:
    assets = digits(120)
    fill(workspace, assets, group=[f"burst {number // 4}" for number in range(120)])
    run(workspace)
    splits: dict[str, set[str]] = {}
    for row in workspace.read("data/prepared"):
        splits.setdefault(row["group"], set()).add(row["split"])
    assert Counter(map(len, splits.values())) == {1: 30}


def test_groups_that_share_an_asset_are_one_and_reported(workspace: Workspace) -> None:
    assets = {**digits(30), "0/zz.png": digits(30)["0/0000.png"]}
    for seed in range(6):
        (workspace.root / "data").mkdir(exist_ok=True)
        dataset = f"data/raw{seed}"
        workspace.write(dataset, assets, label=labels_of(assets), group=[f"g{n % 7}" for n in range(30)] + ["g5"])
        report = run(workspace, input=dataset, seed=seed)
        assert "1 group(s) share assets" in finding(report, "groups-share-assets").message
        groups = {
            (row["group"], row["split"]) for row in workspace.read("data/prepared") if row["group"] in ("g0", "g5")
        }
        assert len({split for _, split in groups}) == 1


def test_a_given_split_is_kept(workspace: Workspace) -> None:
    given = [["train", "holdout"][number % 2] for number in range(20)]
    fill(workspace, digits(20), split=given)
    run(workspace, keep_split=True)
    assert list(by_key(workspace, "split").values()) != []
    raw = {row["key"]: row["split"] for row in workspace.read("data/raw")}
    assert by_key(workspace, "split") == raw


def test_a_given_split_that_leaks_is_refused_naming_rows(workspace: Workspace) -> None:
    assets = {"0/a.png": picture(1), "0/b.png": picture(1), "1/c.png": picture(2)}
    fill(workspace, assets, split=["train", "test", "train"])
    with pytest.raises(StageRefused, match=r"1 row\(s\) share an asset with .*: 0/b\.png"):
        run(workspace, keep_split=True)
    (workspace.root / "data/raw").rename(workspace.root / "data/old")
    fill(workspace, digits(3), split=["train", "val", "val"], group=["g", "g", "h"])
    with pytest.raises(StageRefused, match=r"1 row\(s\) share"):
        run(workspace, keep_split=True)


def test_images_that_become_equal_may_not_be_in_two_given_splits(workspace: Workspace) -> None:
    dark, darker = picture(1, 12), picture(1, 12, 0)
    assets = {"0/a.png": dark, "0/b.png": b"", "1/c.png": picture(2)}
    assets["0/b.png"] = darker + b"trailing bytes that no decoder reads"
    fill(workspace, assets, split=["train", "test", "train"])
    with pytest.raises(StageRefused, match=r"0/b\.png"):
        run(workspace, keep_split=True, mode="L")


def test_keep_split_without_a_split_is_refused(workspace: Workspace) -> None:
    fill(workspace, digits(3))
    with pytest.raises(StageRefused, match="no split column"):
        run(workspace, keep_split=True)


def test_a_split_column_is_not_replaced_in_silence(workspace: Workspace) -> None:
    fill(workspace, digits(40), split=["train"] * 40)
    assert finding(run(workspace), "split-replaced").hint == "set keep_split: true in params.yaml to keep it"


def test_an_empty_split_is_reported(workspace: Workspace) -> None:
    fill(workspace, digits(2))
    report = run(workspace)
    assert [one.check for one in report.findings if one.check == "empty-split"]


def classes(workspace: Workspace) -> Any:
    return json.loads(Manifest.open(workspace.root / "data/prepared").properties["datapin.classes"])


def test_the_class_index_is_alphabetical(workspace: Workspace) -> None:
    fill(workspace, digits(6), label=["b", "B", "10", "9", "a", "é"])
    run(workspace)
    assert classes(workspace) == ["10", "9", "B", "a", "b", "é"]


def test_the_class_index_can_be_pinned(workspace: Workspace) -> None:
    fill(workspace, digits(30))
    run(workspace, classes=["2", "0", "1", "unseen"])
    assert classes(workspace) == ["2", "0", "1", "unseen"]


def test_a_label_outside_the_pinned_classes_is_refused(workspace: Workspace) -> None:
    fill(workspace, digits(4), label=["cat", "cat", "dog", "dgo"])
    with pytest.raises(StageRefused, match="'dgo'") as caught:
        run(workspace, classes=["cat", "dog"])
    assert "meant to be 'dog'" in caught.value.hint


def test_a_changed_class_set_warns_even_after_dvc_deleted_the_output(workspace: Workspace) -> None:
    fill(workspace, digits(30))
    run(workspace)
    same = run(workspace)
    assert "class-index-changed" not in [one.check for one in same.findings]
    (workspace.root / "data/prepared").rename(workspace.root / "data/committed")
    committed = Manifest.open(workspace.root / "data/committed")
    (workspace.root / "data/raw").rename(workspace.root / "data/old")
    fill(workspace, digits(30), label=[f"{int(label) + 1}" for label in labels_of(digits(30))])
    found = finding(run(workspace, previous=committed), "class-index-changed")
    assert found.severity == "warning"
    assert "1 new (3), 1 gone (0), 2 with another number" in found.message


def test_one_class_only_is_reported(workspace: Workspace) -> None:
    fill(workspace, digits(9), label=["x"] * 9)
    assert "only one class, 'x'" in finding(run(workspace), "one-class").message


def test_pinned_classes_need_text_labels(workspace: Workspace) -> None:
    fill(workspace, digits(3), label=[1.0, 2.0, 3.0])
    with pytest.raises(StageRefused, match="no text labels"):
        run(workspace, classes=["a"])


def test_a_column_of_the_users_called_pixels_is_not_overwritten(workspace: Workspace) -> None:
    fill(workspace, digits(3), pixels=[1, 2, 3])
    assert run(workspace).rows == 3
    with pytest.raises(BadRows, match="pixels"):
        run(workspace, mode="L")


def test_a_source_dataset_is_never_an_output(workspace: Workspace) -> None:
    fill(workspace, digits(3))
    workspace.write("data/other", digits(3))
    (workspace.root / "data/other.dvc").write_text("outs: []")
    before = workspace.files("data/other")
    with pytest.raises(StageRefused, match=r"data/other\.dvc"):
        run(workspace, output="data/other")
    assert workspace.files("data/other") == before


def test_numeric_labels_have_no_classes(workspace: Workspace) -> None:
    fill(workspace, digits(9), label=[float(number) for number in range(9)])
    run(workspace)
    assert "datapin.classes" not in Manifest.open(workspace.root / "data/prepared").properties


def test_the_users_columns_stay(workspace: Workspace) -> None:
    fill(workspace, digits(9), width=list(range(9)), note=[f"n{n}" for n in range(9)])
    run(workspace, mode="L")
    assert sorted(by_key(workspace, "note").values()) == [f"n{n}" for n in range(9)]
    assert Manifest.open(workspace.root / "data/prepared").schema.field("width").type == pa.int64()


def test_the_output_names_the_digest_of_its_input(workspace: Workspace) -> None:
    source = fill(workspace, digits(9))
    run(workspace)
    properties = Manifest.open(workspace.root / "data/prepared").properties
    assert json.loads(properties["datapin.inputs"]) == {"data/raw": source.digest}


def test_a_missing_input_is_named(workspace: Workspace) -> None:
    with pytest.raises(ManifestMissing):
        run(workspace)


def test_an_empty_input_is_refused(workspace: Workspace) -> None:
    fill(workspace, digits(1))
    workspace.write("data/none", {}, label=pa.array([], pa.string()))
    with pytest.raises(StageRefused, match="data/none has no rows"):
        run(workspace, input="data/none")


@pytest.mark.parametrize("output", ["data/raw", "data", "data/raw/inner"])
def test_an_output_that_overlaps_the_input_is_refused(workspace: Workspace, output: str) -> None:
    fill(workspace, digits(3))
    before = workspace.files("data")
    with pytest.raises(StageRefused, match="overlap"):
        run(workspace, output=output)
    assert workspace.files("data") == before


def test_a_folder_of_the_users_is_never_replaced(workspace: Workspace) -> None:
    fill(workspace, digits(3))
    (workspace.root / "src").mkdir()
    (workspace.root / "src/code.py").write_text("x = 1")
    with pytest.raises(StageRefused, match=r"code\.py"):
        run(workspace, output="src")
    assert (workspace.root / "src/code.py").read_text() == "x = 1"


def test_two_runs_of_one_output_do_not_meet(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(workspace, digits(3))
    run(workspace)
    monkeypatch.setattr("datapin.pipeline.mapping.output._LOCK_TIMEOUT_S", 0.1)
    (held,) = (workspace.root / ".datapin/tmp").glob("stage-*.lock")
    with lock(held, what="test"), pytest.raises(Locked, match="data/prepared"):
        run(workspace)


def test_a_damaged_asset_is_named_by_its_row(workspace: Workspace) -> None:
    fill(workspace, {"0/a.png": picture(1, 60)})
    (pack,) = (workspace.root / ".datapin/store/packs").rglob("*.pack")
    content = bytearray(pack.read_bytes())
    content[100] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    with pytest.raises(DamagedAsset, match=r"row 0/a\.png needs it"):
        run(workspace)


def test_params_come_from_their_file(workspace: Workspace) -> None:
    fill(workspace, digits(9))
    report = run_prepare(workspace.context(), workspace.params("prepare: {mode: RGB, output: data/other}"))
    assert report.rows == 9
    assert (workspace.root / "data/other").is_dir()
    with pytest.raises(BadSettings, match="unknown name"):
        run_prepare(workspace.context(), workspace.params("prepare: {moed: RGB}"))
