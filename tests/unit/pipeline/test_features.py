"""Feature extractors: what they compute, and that a row's vector does not depend on its batch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from datapin.base.errors import OperatorRefused
from datapin.pipeline.operators.features import Features
from datapin.pipeline.operators.images.extractors import ColorHist, Hog, Pixels
from datapin.pipeline.operators.images.hog import hog
from datapin.pipeline.operators.user_code import UserFunction
from workspaces import picture, png

EXTRACTORS: list[Pixels | ColorHist | Hog] = [
    Pixels(),
    Pixels(size=(6, 6), mode="L"),
    ColorHist(mode="RGB"),
    ColorHist(mode="L", bins=16),
    Hog(cell=4),
    Hog(size=(16, 16), mode="L", cell=8),
]


def vectors(extractor: Features, assets: list[bytes]) -> list[bytes | None]:
    found = extractor.extract(assets)
    assert all(
        (value is None) != (problem is None) for value, problem in zip(found.values, found.problems, strict=True)
    )
    return list(found.values)


def floats(vector: bytes | None) -> list[float]:
    assert vector is not None
    found: list[float] = np.frombuffer(vector, "<f4").tolist()
    return found


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=lambda one: f"{one.NAME}-{one.mode}")
@pytest.mark.parametrize("channels", [0, 3])
def test_a_vector_is_the_same_alone_in_sevens_together_and_in_any_order(extractor: Pixels, channels: int) -> None:
    features = Features((extractor,))
    assets = [picture(number, 16, channels) for number in range(40)]
    together = vectors(features, assets)
    assert [vectors(features, [asset])[0] for asset in assets] == together
    sevens = [value for start in range(0, 40, 7) for value in vectors(features, assets[start : start + 7])]
    assert sevens == together
    order = np.random.default_rng(0).permutation(40).tolist()
    shuffled = vectors(features, [assets[place] for place in order])
    assert shuffled == [together[place] for place in order]


def test_pixels_are_the_samples_between_zero_and_one() -> None:
    values = np.array([[0, 51], [102, 255]])
    (vector,) = vectors(Features((Pixels(),)), [png(values)])
    assert floats(vector) == pytest.approx([0, 0.2, 0.4, 1.0])
    (vector,) = vectors(Features((Pixels(scale="none"),)), [png(values)])
    assert floats(vector) == [0, 51, 102, 255]


def test_a_colour_histogram_counts_shares() -> None:
    image = np.zeros((2, 2, 3))
    image[0, 0] = (255, 255, 255)
    (vector,) = vectors(Features((ColorHist(mode="RGB", bins=2),)), [png(image)])
    assert floats(vector) == [0.75, 0, 0, 0, 0, 0, 0, 0.25]


def reference_hog(image: np.ndarray, cell: int, bins: int) -> np.ndarray:
    """The definition, pixel by pixel, in floating point."""
    height, width = image.shape
    cells = np.zeros((height // cell, width // cell, bins))
    for y in range(height):
        for x in range(width):
            across = float(image[y, x + 1]) - float(image[y, x - 1]) if 0 < x < width - 1 else 0.0
            down = float(image[y + 1, x]) - float(image[y - 1, x]) if 0 < y < height - 1 else 0.0
            place = (math.atan2(down, across) % math.pi) / (math.pi / bins) - 0.5
            low = math.floor(place)
            magnitude = math.hypot(across, down)
            cells[y // cell, x // cell, low % bins] += magnitude * (1 - (place - low))
            cells[y // cell, x // cell, (low + 1) % bins] += magnitude * (place - low)
    blocks = []
    for y in range(cells.shape[0] - 1):
        for x in range(cells.shape[1] - 1):
            block = np.concatenate([cells[y, x], cells[y, x + 1], cells[y + 1, x], cells[y + 1, x + 1]])
            block = np.minimum(block / math.sqrt((block**2).sum() + 1), 0.2)
            blocks.append(block / math.sqrt((block**2).sum() + 1e-10))
    return np.concatenate(blocks)


@pytest.mark.parametrize(("size", "cell", "bins"), [((16, 16), 4, 9), ((24, 12), 6, 9), ((16, 32), 8, 6)])
def test_hog_agrees_with_its_definition(size: tuple[int, int], cell: int, bins: int) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, *size)).astype(np.uint8)
    found = hog(images[..., None], cell, bins)
    for image, vector in zip(images, found, strict=True):
        assert vector == pytest.approx(reference_hog(image, cell, bins), abs=2e-3)


def test_hog_takes_the_channel_with_the_steepest_gradient() -> None:
    steep = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (16, 1))
    colour = np.stack([np.zeros_like(steep), steep, steep // 4], axis=2)
    assert (hog(colour[None], 4) == hog(steep[None, :, :, None], 4)).all()


@pytest.mark.parametrize("shape", [(15, 16), (16, 15), (4, 16)])
def test_hog_refuses_sides_that_do_not_fit(shape: tuple[int, int]) -> None:
    with pytest.raises(OperatorRefused, match="multiples of cell"):
        hog(np.zeros((1, *shape, 1), dtype=np.uint8), 4 if shape[0] != 4 else 3)


def test_several_extractors_lie_side_by_side() -> None:
    assets = [picture(number, 16) for number in range(3)]
    alone = [vectors(Features((one,)), assets) for one in (Pixels(), Hog(cell=8))]
    both = vectors(Features((Pixels(), Hog(cell=8))), assets)
    assert both == [(first or b"") + (second or b"") for first, second in zip(*alone, strict=True)]


def test_a_broken_image_has_a_problem_and_spoils_no_other() -> None:
    assets = [picture(0, 16), b"text", picture(1, 16)]
    found = Features((Pixels(), Hog(cell=8))).extract(assets)
    assert found.values[1] is None
    assert "not an image" in str(found.problems[1])
    assert [found.values[0], found.values[2]] == vectors(Features((Pixels(), Hog(cell=8))), [assets[0], assets[2]])


def test_parameters_change_the_fingerprint() -> None:
    prints = {Features((one,)).fingerprint for one in EXTRACTORS}
    assert len(prints) == len(EXTRACTORS)
    assert Features((Pixels(), Hog())).fingerprint != Features((Hog(), Pixels())).fingerprint


def function(root: Path, code: str, name: str, *, in_batches: bool = False) -> UserFunction:
    (root / f"{name}.py").write_text(code)
    return UserFunction(str(root), name, "run", "{}", '{"v":1}', in_batches)


def test_a_user_function_gets_bytes_and_gives_vectors(tmp_path: Path) -> None:
    code = "def run(assets):\n    return [[len(a), a[0]] for a in assets]\n"
    found = function(tmp_path, code, "user_lengths").extract([b"ab", b"c"])
    assert [floats(value) for value in found.values] == [[2, 97], [1, 99]]


def test_a_user_function_that_raises_is_a_problem_of_that_asset_alone(tmp_path: Path) -> None:
    code = "def run(assets):\n    return [[10 / len(a)] for a in assets]\n"
    for in_batches in (False, True):
        found = function(tmp_path, code, f"user_raises_{in_batches}", in_batches=in_batches).extract([b"a", b"", b"ab"])
        assert [problem is None for problem in found.problems] == [True, False, True]
        assert "ZeroDivisionError" in str(found.problems[1])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def run(assets):\n    return [1, 2]\n", "returned shape"),
        ("def run(assets):\n    return [[]]\n", "returned shape"),
        ("def run(assets):\n    return [[1], [2], [3]]\n", "returned shape"),
        ("run = 3\n", "expected a function"),
        ("import no_such_thing_at_all\n", "cannot be loaded"),
        ("x = 1\n", "has no .run."),
    ],
)
def test_a_user_function_that_breaks_its_contract_is_refused(tmp_path: Path, code: str, said: str) -> None:
    name = f"user_contract_{abs(hash(code))}"
    with pytest.raises(OperatorRefused, match=said):
        function(tmp_path, code, name).extract([b"a"])


def test_a_module_from_elsewhere_is_not_run_as_the_users(tmp_path: Path) -> None:
    with pytest.raises(OperatorRefused, match="expected a file of the repository"):
        UserFunction(str(tmp_path), "json", "dumps", "{}", "{}").extract([b"a"])


def test_dependence_on_the_batch_is_found(tmp_path: Path) -> None:
    good = function(tmp_path, "def run(assets):\n    return [[len(a)] for a in assets]\n", "user_good")
    bad = function(tmp_path, "def run(assets):\n    return [[len(assets)] for a in assets]\n", "user_bad")
    assets = [b"x" * number for number in range(1, 33)]
    assert good.is_batch_invariant(assets)
    assert not bad.is_batch_invariant(assets)
