"""Augmentation: pure functions of asset, copy and seed."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datapin.base.errors import OperatorRefused
from datapin.pipeline.operators.images.applied import Operators, augmented
from datapin.pipeline.operators.images.augment import Draw
from datapin.pipeline.operators.images.augment_image import AugmentImage
from datapin.pipeline.operators.images.files import decode_plain, samples
from datapin.pipeline.operators.images.warps import (
    Perspective,
    RandomResizedCrop,
    from_rectangle,
    onto_rectangle,
    projected,
)
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
    "random_resized_crop": {},
    "perspective": {},
    "gamma": {},
    "sharpen": {"amount": 5.0},
    "jpeg": {"low": 1},
}
COLOURS: dict[str, Any] = {"hue": {"turn": 0.5}, "saturation": {}, "grayscale": {"probability": 1.0}}


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


@pytest.mark.parametrize("name", sorted(COLOURS))
def test_operators_of_colours_change_colours_and_leave_grey_and_alpha_alone(name: str) -> None:
    results = {operator(**{name: COLOURS[name]}).derive(picture(1, 24, 3), ASSET, copy).data for copy in range(8)}
    assert len(results) >= (1 if name == "grayscale" else 7)
    for mode in ("L", "LA"):
        assert (changed(gradient(mode), **{name: COLOURS[name]}) == samples(gradient(mode))).all()
    image = Image.frombytes("RGB", (24, 24), bytes(range(256)) * 6 + bytes(192)).convert("RGBA")
    image.putalpha(77)
    result = changed(image, **{name: COLOURS[name]})
    assert (result[:, :, 3] == 77).all()
    assert (result != samples(image)).any()


@pytest.mark.parametrize("name", sorted({**EVERYTHING, **COLOURS}))
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_every_operator_keeps_size_and_mode(name: str, mode: str) -> None:
    image = gradient(mode)
    named = Operators.model_validate({name: {**EVERYTHING, **COLOURS}[name]})
    result = augmented(image, named, Draw(ASSET, 1, 0), 0, "bilinear")
    assert (result.size, result.mode) == (image.size, mode)


@pytest.mark.parametrize("name", ["brightness", "contrast", "noise", "gamma", "sharpen", "jpeg"])
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
        {"random_resized_crop": {"low": 1.0, "high": 1.0, "ratio": 1.0}},
        {"perspective": {"distortion": 0.0}},
        {"gamma": {"low": 1.0, "high": 1.0}},
        {"sharpen": {"amount": 0.0}},
        {"hue": {"turn": 0.0}},
        {"saturation": {"low": 1.0, "high": 1.0}},
    ],
)
def test_neutral_parameters_change_nothing(neutral: dict[str, Any]) -> None:
    assert (changed(gradient(), **neutral) == samples(gradient())).all()


def test_grayscale_has_three_equal_channels() -> None:
    grey = changed(Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)), grayscale={"probability": 1.0})
    assert (grey[:, :, 0] == grey[:, :, 1]).all()
    assert (grey[:, :, 0] == grey[:, :, 2]).all()


def test_a_jpeg_of_full_quality_is_near_and_of_low_quality_is_not() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    near, far = (changed(image, jpeg={"low": q, "high": q}).astype(int) for q in (100, 5))
    assert abs(near - samples(image)).mean() < abs(far - samples(image)).mean()
    assert abs(far - samples(image)).mean() > 10


@pytest.mark.parametrize(
    "name", ["zoom", "brightness", "contrast", "saturation", "gamma", "random_resized_crop", "jpeg"]
)
def test_bounds_in_the_wrong_order_are_refused(name: str) -> None:
    low, high = (95, 50) if name == "jpeg" else (0.9, 0.5)
    with pytest.raises(ValueError, match="low must not exceed high"):
        Operators.model_validate({name: {"low": low, "high": high}})


def test_a_random_resized_crop_stays_inside_and_has_the_area_that_was_asked_for() -> None:
    crop = RandomResizedCrop(low=0.2, high=0.6)
    for copy in range(50):
        affine = crop.affine(Draw(ASSET, copy, 0), 64, 48)
        assert 0.15 <= affine.a * affine.d <= 0.6 + 1e-9
        assert abs(affine.x) <= (1 - affine.a) * 32 + 1e-9
        assert abs(affine.y) <= (1 - affine.d) * 24 + 1e-9


def test_a_projection_takes_the_rectangle_to_its_corners_and_back() -> None:
    for copy in range(50):
        corners = Perspective(distortion=0.9).corners(Draw(ASSET, copy, 0), 60, 40)
        assert corners is not None
        there, back = from_rectangle(corners, 60, 40), onto_rectangle(corners, 60, 40)
        for corner, plain in zip(corners, [(0, 0), (60, 0), (60, 40), (0, 40)], strict=True):
            assert projected(there, plain) == pytest.approx(corner, abs=1e-9)
            assert projected(back, corner) == pytest.approx(plain, abs=1e-9)
        assert projected(back, projected(there, (17.5, 30.25))) == pytest.approx((17.5, 30.25), abs=1e-9)


def test_a_perspective_puts_pixels_where_its_projection_says() -> None:
    image = Image.new("L", (80, 60), 0)
    image.paste(255, (38, 28, 43, 33))  # around (40.5, 30.5)
    perspective = Perspective(distortion=0.6)
    corners = perspective.corners(Draw(ASSET, 1, 0), 80, 60)
    assert corners is not None
    result = samples(perspective.warped(image, Draw(ASSET, 1, 0), 0, Image.Resampling.BILINEAR))[:, :, 0].astype(float)
    rows, columns = np.mgrid[0:60, 0:80] + 0.5
    centre = ((result * columns).sum() / result.sum(), (result * rows).sum() / result.sum())
    assert projected(from_rectangle(corners, 80, 60), (40.5, 30.5)) == pytest.approx(centre, abs=0.3)


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
