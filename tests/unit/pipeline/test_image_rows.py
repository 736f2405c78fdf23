"""Which rows must be images, what is said of them, and what becomes of columns that name places in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datapin.base.errors import AssetsMissing, StageRefused
from datapin.pipeline.mapping.context import StageReport
from datapin.pipeline.params.image import ImageAugmentParams, ImagePrepareParams
from datapin.pipeline.params.stages import FeaturizeParams
from datapin.pipeline.splits.pixel_columns import pixel_columns
from datapin.pipeline.splits.splitting import units_of
from datapin.pipeline.stages.augment import augment
from datapin.pipeline.stages.featurize import featurize
from datapin.pipeline.stages.prepare import prepare
from datapin.trees.intake.media import media_types
from image_files import grey_waves, png_file, saved, turned
from workspaces import Workspace, labels_of, picture, sha256

BBOX = [0.0, 0.0, 11.0, 11.0]


def fill(workspace: Workspace, assets: dict[str, bytes], dataset: str = "data/raw", **columns: Any) -> None:
    columns.setdefault("label", labels_of(assets))
    columns.setdefault("media_type", media_types(pa.array(list(assets))).cast(pa.string()))
    workspace.write(dataset, assets, **columns)


def run(workspace: Workspace, **params: Any) -> StageReport:
    return prepare(workspace.context(), ImagePrepareParams.model_validate(params))


def said(report: StageReport, check: str) -> list[str]:
    return [f"{one.where}: {one.message}" for one in report.findings if one.check == check]


def keys(workspace: Workspace, dataset: str = "data/prepared") -> set[str]:
    return {row["key"] for row in workspace.read(dataset)}


ENDINGS = """
    apng avif avifs bmp cur dds dib gif heic ico j2k jfif jp2 jpe jpeg jpg jxl mpo pbm pcx pgm png pnm ppm psd qoi sgi
    svg tga tif tiff webp xbm xpm JPG Png
"""


def test_broken_images_are_found_whatever_they_are_called(workspace: Workspace) -> None:
    whole = {f"a/{number}.png": picture(number) for number in range(60)}
    torn = picture(500, 40)
    broken = {f"b/bad{length}.{ending}": torn[:length] for ending in ENDINGS.split() for length in (60,)}
    broken |= {f"c/torn{length}": torn[:length] for length in (1, 8, 20, 60, len(torn) - 40)}
    broken |= {"c/nothing": b"", "c/page.dat": b"<html>404</html>", "c/nothing.avif": b"", "c/text.jp2": b"text\n"}
    whole["a/no-end.png"] = torn[:-12]  # what every reader shows
    others = {"a/notes.txt": b"not meant to be one", "a/table.csv": b"a,b\n"}
    fill(workspace, {**whole, **broken, **others})
    report = run(workspace, on_broken="drop")
    assert keys(workspace) == set(whole) | set(others)
    assert {line.split(":")[1] for line in said(report, "broken-image")} == set(broken)
    with pytest.raises(StageRefused, match=rf"{len(broken)} broken image"):
        run(workspace)
    assert said(report, "image-notes") == [
        "data/raw:a/no-end.png: decoded, but: the end of the file is missing, though all pixels are there"
    ]


def test_where_no_name_tells_the_first_bytes_do(workspace: Workspace) -> None:
    fill(
        workspace, {f"a/{number}": picture(number) for number in range(9)} | {"a/torn": picture(9)[:50], "a/empty": b""}
    )
    assert len(said(run(workspace, on_broken="drop"), "broken-image")) == 2
    assert len(keys(workspace)) == 9


def test_a_dataset_that_is_not_of_images_is_left_alone(workspace: Workspace) -> None:
    assets = {f"a/{number}.bin": bytes([number]) * 20 for number in range(9)}
    assets |= {"a/0.svg": b"<svg/>", "a/1.heic": b"\0\0\0\x18ftypheic", "a/logo.png": picture(1)}
    fill(workspace, assets)
    assert run(workspace).rows == len(assets)
    fill(workspace, {**assets, "a/torn.png": picture(2)[:50]}, "data/torn")
    with pytest.raises(StageRefused, match=r"1 broken image\(s\): a/torn\.png"):
        run(workspace, input="data/torn")


def test_assets_that_must_be_looked_at_and_are_not_here_are_named(workspace: Workspace) -> None:
    gone = sha256(b"gone")
    fill(workspace, {"a/0": picture(0), "a/1": picture(1)}, asset_id=[gone, gone])
    with pytest.raises(AssetsMissing, match="a/0"):
        run(workspace)


def test_what_was_odd_about_an_image_is_told_by_its_key_in_every_stage_also_from_the_memo(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    fax = bytearray(saved(grey_waves(64, 64).convert("1"), "TIFF", compression="group4"))
    fax[len(fax) // 2] ^= 0x55
    bad_exif = saved(grey_waves(64, 64).convert("RGB"), "WEBP", exif=b"Exif\0\0no TIFF at all")
    assets = {"a/fax.tif": bytes(fax), "a/bad.webp": bad_exif, "b/good.png": saved(grey_waves(64, 64), "PNG")}
    fill(workspace, assets)
    fill(workspace, assets, "data/in", split=["train"] * 3)
    for _ in range(2):
        for found in (
            said(run(workspace), "image-notes"),
            said(run(workspace, resize=16, mode="L"), "image-notes"),
            said(augment(workspace.context(), ImageAugmentParams(input="data/in")), "image-notes"),
            said(
                featurize(
                    workspace.context(),
                    FeaturizeParams.model_validate(
                        {"input": "data/in", "extract": [{"use": "pixels", "resize": 8, "mode": "L"}]}
                    ),
                ),
                "image-notes",
            ),
        ):
            assert [line.split(": ")[0].split(":")[1] for line in found] == ["a/bad.webp", "a/fax.tif"]
            assert "orientation cannot be read" in found[0]
            assert "Fax4Decode" in found[1]
    assert capfd.readouterr() == ("", "")


def test_a_limit_of_pixels_is_named_with_its_setting_and_another_one_is_not_answered_from_the_memo(
    workspace: Workspace,
) -> None:
    assets = {f"a/{number}.png": picture(number) for number in range(9)}
    assets["a/wide.png"] = png_file((400, 300), 8, 0, [b"\0" * 400] * 300)
    fill(workspace, assets)
    for params in ({"resize": 6}, {}):
        with pytest.raises(StageRefused, match=r"400 x 300 pixels, at most 1000 .*prepare\.max_pixels") as caught:
            run(workspace, max_pixels=1000, **params)
        assert "prepare.max_pixels" in caught.value.hint
        assert run(workspace, max_pixels=1000, on_broken="drop", **params).rows == 9
        assert run(workspace, max_pixels=120_000, **params).rows == 10


def test_words_about_groups_need_groups(workspace: Workspace) -> None:
    assets: dict[str, bytes] = {}
    for number in range(3):
        image = grey_waves(9 + number, 8)
        assets |= {f"a/{number}.png": saved(image, "PNG"), f"a/{number}.bmp": saved(image, "BMP")}
    fill(workspace, assets)
    assert "group" not in str(run(workspace, mode="RGB").findings)
    by_key = {row["key"]: row["split"] for row in workspace.read("data/prepared")}
    assert all(by_key[f"a/{number}.png"] == by_key[f"a/{number}.bmp"] for number in range(3))
    for number, (groups, told) in enumerate(
        (
            ([None] * 6, []),
            (["g", None] * 3, []),
            ([f"g{number // 2}" for number in range(6)], []),
            (["g", "h", None, None, None, None], ["1 group(s)"]),
            ([f"g{number}" for number in range(6)], ["3 group(s)"]),
        )
    ):
        fill(workspace, assets, f"data/grouped{number}", group=pa.array(groups, pa.string()))
        report = run(workspace, input=f"data/grouped{number}", mode="RGB")
        assert [line.split(": ")[1].split(" share")[0] for line in said(report, "groups-share-assets")] == told, groups
    fill(workspace, assets, "data/split", split=["train", "val"] * 3)
    with pytest.raises(StageRefused, match=r"row\(s\) share an asset with") as caught:
        run(workspace, input="data/split", mode="RGB", keep_split=True)
    assert "group" not in str(caught.value)


def test_groups_are_counted_by_those_that_became_one() -> None:
    source, made = (pa.array([sha256(bytes([one])) for one in numbers]) for numbers in (range(4), (0, 0, 0, 3)))
    assert units_of(pa.array(["a", None, "b", "c"]), source, made).bridged == 1
    assert units_of(pa.array(["a", "a", "b", "c"]), source, made).bridged == 1
    assert units_of(pa.array(["b", "a", "c", "c"]), source, made).bridged == 2
    assert units_of(None, source, made).bridged == 0


def column(name: str, kind: pa.DataType | None = None) -> bool:
    return pixel_columns(pa.schema([("key", pa.string()), (name, kind or pa.list_(pa.float64()))])) == [name]


def test_columns_that_name_places_are_known_by_their_names() -> None:
    for name in (
        *(
            "bbox",
            "BBox",
            "BBOX",
            "bboxes",
            "boxes",
            "bounding_box",
            "boundingBox",
            "face_bbox",
            "bbox_xyxy",
            "gt-boxes",
        ),
        *(
            "mask",
            "masks",
            "Segmentation",
            "polygon",
            "polygons",
            "keypoints",
            "KeyPoints",
            "landmarks",
            "objects",
            "rle",
        ),
        *("annotations", "points", "x_min", "xmin", "rois", "contour", "rle", "gt-boxes"),
    ):
        assert column(name), name
    for name in ("mask", "bbox", "polygon", "segmentation", "mask_path"):
        assert column(name, pa.string()), name
    inner = pa.list_(pa.struct([("category", pa.int64()), ("bbox", pa.list_(pa.float64()))]))
    assert column("things", inner)
    assert column("meta", pa.struct([("camera", pa.string()), ("mask", pa.string())]))
    for name in ("label", "split", "group", "width", "object_id", "box_count", "boxer", "masked", "unmask", "vector"):
        assert not column(name), name
    for name in ("pose", "object", "segment", "annotation", "coordinates"):
        assert not column(name, pa.string()), name
    assert not column("mask", pa.bool_())
    number = pa.float64()
    assert pixel_columns(pa.schema([("x", number), ("y", number), ("left", pa.string())])) == ["x", "y"]
    assert pixel_columns(pa.schema([("y", number), ("x_ray", number)])) == []


def boxed(workspace: Workspace, assets: dict[str, bytes] | None = None, dataset: str = "data/raw", **more: Any) -> None:
    assets = assets or {f"{number % 2}/{number}.png": picture(number) for number in range(8)}
    boxes = pa.array([BBOX] * (len(assets) - 1) + [None], pa.list_(pa.float64()))
    fill(workspace, assets, dataset, bbox=boxes, Mask=[f"m/{n}.png" for n in range(len(assets))], **more)


def columns(workspace: Workspace, dataset: str) -> set[str]:
    return set(workspace.read(dataset)[0]) & {"bbox", "Mask"}


def test_prepare_keeps_no_place_beside_moved_pixels_unless_told_to(workspace: Workspace) -> None:
    boxed(workspace)
    with pytest.raises(StageRefused, match=r"column\(s\) Mask, bbox name places .* in 8 row\(s\)") as caught:
        run(workspace, resize=6)
    assert "pixel_columns: {Mask: drop, bbox: drop}" in caught.value.hint
    assert not (workspace.root / "data/prepared").exists()
    with pytest.raises(StageRefused, match=r"column\(s\) Mask name"):
        run(workspace, resize=6, pixel_columns={"bbox": "drop"})
    report = run(workspace, resize=6, pixel_columns={"bbox": "keep", "Mask": "drop"})
    assert columns(workspace, "data/prepared") == {"bbox"}
    assert said(report, "pixel-columns") == [
        "data/raw: Mask was dropped: it names places in 8 row(s) whose pixels are moved, such as 0/0.png",
        "data/raw: bbox was kept as it is: it names places in 7 row(s) whose pixels are moved, such as 0/0.png",
    ]
    for rule, left in (("keep", {"bbox", "Mask"}), ("drop", set())):
        run(workspace, resize=6, pixel_columns=rule)
        assert columns(workspace, "data/prepared") == left
    with pytest.raises(StageRefused, match="'bboxes', which data/raw does not have") as caught:
        run(workspace, resize=6, pixel_columns={"bboxes": "drop"})
    assert caught.value.hint == "did you mean 'bbox'?"


def test_prepare_asks_nothing_while_pixels_stay_where_they_are(workspace: Workspace) -> None:
    boxed(workspace)
    for params in ({}, {"mode": "RGB"}, {"resize": 12}, {"resize": 12, "fit": "crop", "mode": "L"}):
        assert said(run(workspace, **params), "pixel-columns") == []
        assert columns(workspace, "data/prepared") == {"bbox", "Mask"}
    photo = grey_waves(20, 12).convert("RGB")
    lying = turned(photo, 6)["PNG xmp"]
    boxed(workspace, {"0/a.png": saved(photo, "PNG"), "0/b.png": lying}, "data/turned")
    run(workspace, input="data/turned")  # stays as it is stored
    with pytest.raises(StageRefused, match=r"Mask name places .* in 1 row\(s\) .* such as 0/b\.png"):
        run(workspace, input="data/turned", mode="RGB")


def copies(workspace: Workspace, **params: Any) -> StageReport:
    return augment(workspace.context(), ImageAugmentParams.model_validate({"input": "data/in", **params}))


def test_copies_inherit_no_place_unless_told_to(workspace: Workspace) -> None:
    boxed(workspace, dataset="data/in", split=["train"] * 6 + ["val"] * 2)
    moving = {"operators": {"rotate": {"degrees": 30.0}}}
    with pytest.raises(StageRefused, match=r"Mask, bbox name places .* in 6 row\(s\)"):
        copies(workspace, **moving)
    copies(workspace, operators={"brightness": {}, "noise": {}})
    assert all(row["Mask"] for row in workspace.read("data/augmented"))
    copies(workspace, pixel_columns="drop", **moving)
    for row in workspace.read("data/augmented"):
        assert (row["Mask"] is None) == ("~" in row["key"]), row["key"]
        assert row["bbox"] == (None if "~" in row["key"] or row["key"] == "1/7.png" else BBOX)
    copies(workspace, pixel_columns="keep", **moving)
    assert all(row["Mask"] for row in workspace.read("data/augmented"))


def test_a_recipe_is_held_to_the_same_rule(workspace: Workspace) -> None:
    boxed(workspace, dataset="data/in", split=["train"] * 6 + ["val"] * 2)
    online = {"mode": "online", "operators": {"flip": {"horizontal": True}}}
    with pytest.raises(StageRefused, match="Mask, bbox name"):
        copies(workspace, **online)
    assert said(copies(workspace, mode="online", operators={"blur": {}}), "pixel-columns") == []
    copies(workspace, pixel_columns="drop", **online)
    for row in workspace.read("data/augmented"):
        assert (row["Mask"] is None) == (row["split"] == "train")


def test_workers_say_the_same_as_one_process(workspace: Workspace) -> None:
    boxed(workspace, {f"0/{number}.png": saved(grey_waves(30 + number, 20), "PNG") for number in range(40)})
    params = ImagePrepareParams.model_validate({"resize": 8, "pixel_columns": {"bbox": "drop", "Mask": "keep"}})
    alone = prepare(workspace.context(1), params)
    files = workspace.files("data/prepared")
    together = prepare(workspace.context(2), params)
    assert workspace.files("data/prepared") == files
    assert (alone.findings, alone.computed, together.reused) == (together.findings, 40, 40)
    assert np.all([row["Mask"] for row in workspace.read("data/prepared")])
