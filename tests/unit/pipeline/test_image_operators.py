"""Augmentation: pure functions of asset, copy and seed."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datapin.base.errors import OperatorRefused
from datapin.pipeline.operators.images.augment import Draw, Operators, augmented
from datapin.pipeline.operators.images.augment_image import AugmentImage
from datapin.pipeline.operators.images.files import decode_plain, samples
from datapin.pipeline.operators.operator import AssetBroken
from datapin.pipeline.operators.recipe import apply_recipe, read_recipe, recipe_of
from datapin.pipeline.operators.seeding import uniforms
from workspaces import picture, png

ASSET = hashlib.sha256(b"asset").hexdigest()
EVERYTHING: dict[str, Any] = {
    "flip": {"horizontal": True, "vertical": True},
    "rotate": {},
    "shear": {},
    "zoom": {},
    "shift": {},
    "crop": {},
    "brightness": {},
    "contrast": {},
    "blur": {},
    "noise": {},
    "cutout": {},
}


def operator(seed: int = 0, fill: int = 0, **operators: dict[str, Any]) -> AugmentImage:
    return AugmentImage(operators=Operators.model_validate(operators), seed=seed, fill=fill)


def changed(image: Image.Image, copy: int = 1, seed: int = 0, fill: int = 0, **operators: dict[str, Any]) -> np.ndarray:
    named = Operators.model_validate(operators)
    return samples(augmented(image, named, Draw(ASSET, copy, seed), fill, "bilinear"))


def gradient(mode: str = "L", width: int = 20, height: int = 16) -> Image.Image:
    values = np.add.outer(np.arange(height) * 5, np.arange(width) * 7).astype(np.uint8)
    image = Image.fromarray(values)
    return image if mode == "L" else image.convert(mode)


def test_the_same_asset_copy_and_seed_give_the_same_bytes_whatever_came_before() -> None:
    one, other = operator(**EVERYTHING), operator(**EVERYTHING)
    first = one.derive(picture(1), ASSET, 1)
    for number in range(5):
        other.derive(picture(number), hashlib.sha256(b"%d" % number).hexdigest(), number)
    assert other.derive(picture(1), ASSET, 1) == first


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_every_operator_depends_on_asset_copy_and_seed(name: str) -> None:
    results = set()
    for asset in (ASSET, hashlib.sha256(b"other").hexdigest()):
        for copy in range(4):
            for seed in (0, 1):
                results.add(operator(seed, **{name: EVERYTHING[name]}).derive(picture(1, 24), asset, copy).data)
    assert len(results) >= (3 if name == "flip" else 14)


@pytest.mark.parametrize("name", sorted(EVERYTHING))
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_every_operator_keeps_size_and_mode(name: str, mode: str) -> None:
    image = gradient(mode)
    result = augmented(image, Operators.model_validate({name: EVERYTHING[name]}), Draw(ASSET, 1, 0), 0, "bilinear")
    assert (result.size, result.mode) == (image.size, mode)


@pytest.mark.parametrize("name", ["brightness", "contrast", "noise"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_changes_of_value_leave_alpha_alone(name: str, mode: str) -> None:
    image = gradient(mode)
    image.putalpha(77)
    result = changed(image, **{name: EVERYTHING[name]})
    assert (result[:, :, -1] == 77).all()
    assert (result[:, :, :-1] != samples(image)[:, :, :-1]).any()


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_probability_zero_leaves_every_copy_alone(name: str) -> None:
    image = gradient()
    params: dict[str, Any] = {name: {**EVERYTHING[name], "probability": 0.0}}
    for copy in range(3):
        assert (changed(image, copy, **params) == samples(image)).all()


@pytest.mark.parametrize(
    "neutral",
    [
        {"rotate": {"degrees": 0.0}},
        {"shear": {"degrees": 0.0}},
        {"zoom": {"low": 1.0, "high": 1.0}},
        {"shift": {"fraction": 0.0}},
        {"crop": {"fraction": 1.0}},
        {"brightness": {"low": 1.0, "high": 1.0}},
        {"contrast": {"low": 1.0, "high": 1.0}},
        {"noise": {"sigma": 0.0}},
        {"cutout": {"fraction": 0.0}},
        {"flip": {}},
    ],
)
def test_neutral_parameters_change_nothing(neutral: dict[str, Any]) -> None:
    assert (changed(gradient(), **neutral) == samples(gradient())).all()


def test_flip_mirrors_exactly() -> None:
    image = gradient("RGB")
    seen = {changed(image, copy, flip={"horizontal": True}).tobytes() for copy in range(20)}
    mirrored = np.ascontiguousarray(samples(image)[:, ::-1])
    assert seen == {samples(image).tobytes(), mirrored.tobytes()}


def test_a_shift_moves_and_fills() -> None:
    image = Image.new("L", (10, 10), 200)
    results = [changed(image, copy, fill=9, shift={"fraction": 0.4}) for copy in range(8)]
    assert all(set(np.unique(result)) > {200} for result in results)
    assert any((result == 9).any() for result in results)


def test_geometry_is_one_resampling() -> None:
    # Two turns of one resampling blur less than two resamplings: turning back and forth would blur the edge.
    image = Image.fromarray(np.kron(np.eye(8, dtype=np.uint8) * 255, np.ones((4, 4), dtype=np.uint8)))
    whole = changed(image, rotate={"degrees": 10.0}, shear={"degrees": 5.0}, zoom={}, shift={})
    first = augmented(image, Operators.model_validate({"rotate": {"degrees": 10.0}}), Draw(ASSET, 1, 0), 0, "bilinear")
    stepwise = changed(first, shear={"degrees": 5.0}, zoom={}, shift={})
    assert np.isin(whole, (0, 255)).mean() > np.isin(stepwise, (0, 255)).mean()


def test_brightness_multiplies_and_stays_in_range() -> None:
    twice = changed(gradient(), brightness={"low": 2.0, "high": 2.0})
    assert (twice == np.minimum(255, samples(gradient()).astype(int) * 2)).all()


def test_contrast_zero_is_the_mean() -> None:
    flat = changed(gradient(), contrast={"low": 0.0, "high": 0.0})
    assert np.unique(flat).tolist() == [int(samples(gradient()).mean())]


def test_noise_has_the_spread_that_was_asked_for() -> None:
    noisy = changed(Image.new("L", (200, 200), 128), noise={"sigma": 10.0}).astype(float)
    assert abs(noisy.mean() - 128) < 0.3
    assert abs(noisy.std() - 10) < 0.3


def test_cutout_paints_a_rectangle_of_the_fill_colour() -> None:
    image = Image.new("RGB", (20, 20), (50, 60, 70))
    holes = [(changed(image, copy, fill=5, cutout={"fraction": 0.5}) == 5).all(axis=2) for copy in range(10)]
    assert all(hole.sum() <= 100 for hole in holes)
    assert any(hole.sum() > 10 for hole in holes)
    for hole in holes:
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole.sum() == len(rows) * len(columns)


def test_an_asset_that_is_no_image_is_broken() -> None:
    with pytest.raises(AssetBroken):
        operator(rotate={}).derive(b"text", ASSET, 1)


def test_a_recipe_makes_the_operator_again() -> None:
    one = operator(5, 3, **EVERYTHING)
    assert read_recipe(recipe_of(one)) == one
    assert apply_recipe(recipe_of(one), picture(1), ASSET, 2) == one.derive(picture(1), ASSET, 2).data


def test_a_recipe_of_another_version_is_refused() -> None:
    recipe = recipe_of(operator(rotate={}))
    for other in (recipe.replace('"version":1', '"version":2'), recipe.replace("rotate", "rotor"), "{}", "[", "null"):
        with pytest.raises(OperatorRefused):
            read_recipe(other)


def test_a_recipe_on_a_text_file_names_the_asset() -> None:
    with pytest.raises(OperatorRefused, match=ASSET[:12]):
        apply_recipe(recipe_of(operator(rotate={})), b"text", ASSET, 1)


def test_every_parameter_and_the_seed_change_the_fingerprint() -> None:
    prints = [
        operator(rotate={}).fingerprint,
        operator(rotate={"degrees": 11.0}).fingerprint,
        operator(1, rotate={}).fingerprint,
        operator(0, 1, rotate={}).fingerprint,
        operator(rotate={}, shift={}).fingerprint,
    ]
    assert len(set(prints)) == len(prints)


def test_uniform_numbers_fill_their_range() -> None:
    drawn = [value for copy in range(500) for value in uniforms("rotate", 1, ASSET, copy, 0, 4)]
    assert 0 <= min(drawn) < 0.01
    assert 0.99 < max(drawn) < 1
    assert abs(np.mean(drawn) - 0.5) < 0.02


def test_a_grey_png_stays_grey() -> None:
    assert decode_plain(operator(rotate={}).derive(png(np.zeros((4, 4))), ASSET, 1).data or b"").mode == "L"
