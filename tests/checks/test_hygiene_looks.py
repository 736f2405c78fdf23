"""Images of two splits that are, or look, the same: found in the bytes, planted in sources with splits."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from checks.planted import Planted
from clones import Clone
from datapin.base.findings import Finding
from datapin.base.progress import SILENT
from datapin.verbs.verify.verify import VerifyReport, verify
from datapin.verbs.workspace.workspace import Workspace
from forging import Rows, forge

PICTURES = "data/pictures"
CHECKS = ("hygiene.same-pixels", "hygiene.near-duplicates")


def photo(number: int, side: int = 48, channels: int = 3) -> Image.Image:
    """Soft blobs: what a perceptual hash is made for."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[0:side, 0:side] / side
    picture = np.zeros((side, side, channels))
    for _ in range(6):
        cy, cx, size = rng.random(3)
        blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (0.02 + 0.1 * size))
        picture += blob[:, :, None] * rng.integers(40, 160, channels)
    samples = np.clip(picture, 0, 255).astype(np.uint8)
    return Image.fromarray(samples if channels > 1 else samples[:, :, 0])


def encoded(image: Image.Image, kind: str = "PNG", **save: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **save)
    return sink.getvalue()


@pytest.fixture(scope="module")
def once(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs, half of them in train and half in val, committed."""
    clone = Clone(tmp_path_factory.mktemp("looks") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    for number in range(12):
        place = clone.path / "img" / ("train", "val")[number % 2] / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(photo(number)))
    (clone.path / ".gitignore").write_text("/img\n")
    clone.datapin("add", "img", "--to", PICTURES, "--split", "first-folder", "-q")
    clone.commit("pictures")
    return clone.path


@pytest.fixture
def repo(once: Path, tmp_path: Path) -> Clone:
    shutil.copytree(once, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def add(repo: Clone, **files: bytes) -> None:
    for name, data in files.items():
        split, _, rest = name.partition("_")
        (repo.path / "img" / split / rest.replace("_", ".")).write_bytes(data)
    repo.datapin("add", "img", "--to", PICTURES, "--split", "first-folder", "-q")


def report(repo: Clone, *names: str, deep: bool = False) -> VerifyReport:
    return verify(Workspace.find(repo.path, progress=SILENT), names=names or (() if deep else CHECKS), deep=deep)


def look(repo: Clone) -> list[Finding]:
    return report(repo).findings


def test_photographs_that_differ_have_no_findings(repo: Clone) -> None:
    assert look(repo) == []


def test_bytes_are_read_only_when_asked_for(repo: Clone) -> None:
    assert not {one.name for one in report(repo, "hygiene").checks} & set(CHECKS)
    assert {one.name for one in report(repo, "hygiene", deep=True).checks} >= set(CHECKS)
    assert {one.name for one in report(repo, CHECKS[0]).checks} == {CHECKS[0], "pins.readable"}


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(
            encoded(photo(0), "PNG", compress_level=1),
            marks=pytest.mark.planted("hygiene.same-pixels", "a train image is in val, compressed anew"),
            id="compressed anew",
        ),
        pytest.param(
            encoded(photo(0), "BMP"),
            marks=pytest.mark.planted("hygiene.same-pixels", "a train PNG is in val as BMP"),
            id="another format",
        ),
        pytest.param(
            encoded(photo(0).convert("RGBA"), "PNG"),
            marks=pytest.mark.planted("hygiene.same-pixels", "a train image is in val with an opaque alpha channel"),
            id="opaque alpha",
        ),
        pytest.param(
            encoded(photo(0), "TIFF"),
            marks=pytest.mark.planted("hygiene.same-pixels", "a train PNG is in val as TIFF"),
            id="tiff",
        ),
    ],
)
def test_the_same_pixels_in_two_splits(repo: Clone, planted: Planted, copy: bytes) -> None:
    add(repo, val_zz_png=copy)
    (finding,) = planted.seen(look(repo))
    assert finding.where == f"{PICTURES}:train/00.png"
    assert finding.message == "in split 'train'; val/zz.png in split 'val' has the same pixels"


@pytest.mark.planted("hygiene.same-pixels", "a grey train image is in val with three equal channels")
def test_the_same_grey_pixels_in_two_splits(repo: Clone, planted: Planted) -> None:
    grey = photo(77, channels=1)
    add(repo, train_zz_png=encoded(grey), val_zz_png=encoded(grey.convert("RGB")))
    planted.seen(look(repo))


def test_the_same_pixels_in_one_split_are_no_fault(repo: Clone) -> None:
    add(repo, train_zz_bmp=encoded(photo(0), "BMP"))
    assert look(repo) == []


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(
            encoded(photo(0), "JPEG", quality=60),
            marks=pytest.mark.planted("hygiene.near-duplicates", "a train image is in val as JPEG", "warning"),
            id="jpeg",
        ),
        pytest.param(
            encoded(photo(0).resize((96, 96)), "PNG"),
            marks=pytest.mark.planted("hygiene.near-duplicates", "a train image is in val, enlarged", "warning"),
            id="enlarged",
        ),
        pytest.param(
            encoded(photo(0).point([min(255, value + 6) for value in range(256)] * 3), "PNG"),
            marks=pytest.mark.planted("hygiene.near-duplicates", "a train image is in val, a bit brighter", "warning"),
            id="brighter",
        ),
    ],
)
def test_near_duplicates_in_two_splits(repo: Clone, planted: Planted, copy: bytes) -> None:
    add(repo, val_zz_png=copy)
    (finding,) = planted.seen(look(repo))
    assert finding.where == f"{PICTURES}:train/00.png"
    assert "looks like val/zz.png in split 'val'" in finding.message


def test_the_bound_of_near_duplicates_is_a_parameter(repo: Clone) -> None:
    (repo.path / "params.yaml").write_text("verify: {near_duplicate_bits: 32}\n")
    many = look(repo)
    assert len(many) > 10
    assert {one.check for one in many} == {"hygiene.near-duplicates"}
    (repo.path / "params.yaml").write_text("verify: {near_duplicate_bits: 0}\n")
    add(repo, val_zz_png=encoded(photo(0).rotate(8)))
    assert look(repo) == []


def test_images_that_do_not_decode_are_told_by_both_checks(repo: Clone) -> None:
    add(repo, val_zz_png=encoded(photo(0))[:300])
    found = look(repo)
    assert [(one.check, one.severity, one.where) for one in found] == [
        (check, "error", f"{PICTURES}:val/zz.png") for check in CHECKS
    ]
    assert all("could not be checked: broken image" in one.message for one in found)


def test_assets_that_are_nowhere_are_told(repo: Clone) -> None:
    shutil.rmtree(repo.path / ".git/datapin/store")
    checked = report(repo)
    assert not checked.ok
    assert [len(one.findings) for one in checked.checks if one.name in CHECKS] == [1, 1]
    assert all("could not be checked" in one.message for one in checked.findings)


def test_rows_that_are_no_images_are_noted(repo: Clone) -> None:
    def edit(rows: Rows) -> None:
        for row in rows.values():
            row["media_type"] = "text/plain"

    forge(repo.path / PICTURES, edit)
    checked = report(repo)
    assert checked.findings == []
    assert checked.notes == [f"{PICTURES}: 12 row(s) are no images by their media type; their pixels were not compared"]


def test_looks_are_remembered_by_asset(repo: Clone) -> None:
    assert look(repo) == []
    store = repo.path / ".git/datapin/store"
    memory = sorted((repo.path / ".git/datapin/cache/looks").rglob("*.parquet"))
    assert memory
    before = {path: path.stat().st_mtime_ns for path in memory}
    forge(repo.path / PICTURES, lambda rows: rows["val/01.png"].update(split="train"))
    assert look(repo) == []
    assert {path: path.stat().st_mtime_ns for path in sorted(memory[0].parent.glob("*.parquet"))} == before
    assert store.is_dir()
