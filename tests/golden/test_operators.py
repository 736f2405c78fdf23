"""Pixels and random numbers that must never change: a new Pillow, NumPy or processor that changes one breaks the reuse
of results and the promise that a commit reproduces. They were written down once; nothing regenerates them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datapin.pipeline.operators.audio.augment import AudioOperators
from datapin.pipeline.operators.audio.augment_audio import AugmentAudio
from datapin.pipeline.operators.audio.prepare import NormaliseAudio
from datapin.pipeline.operators.audio.reading import wave_bytes
from datapin.pipeline.operators.features import Features
from datapin.pipeline.operators.images.applied import Operators
from datapin.pipeline.operators.images.augment_image import AugmentImage
from datapin.pipeline.operators.images.extractors import ColorHist, Hog, Pixels
from datapin.pipeline.operators.images.files import encode_png
from datapin.pipeline.operators.images.prepare import NormaliseImage
from datapin.pipeline.operators.recipe import recipe_of
from datapin.pipeline.operators.seeding import raw_stream, uniforms

ASSET = "5" * 64


def photo(mode: str) -> bytes:
    """Waves and an edge: smooth parts, steep parts, all channels different. Integers only."""
    rows, columns = np.mgrid[0:40, 0:56]
    red = (rows * 6 + columns * 3) % 256
    green = (rows * columns) % 251
    blue = np.where(columns > 25, 200, rows * 5)
    image = Image.fromarray(np.stack([red, green, blue], axis=2).astype(np.uint8))
    return encode_png(image if mode == "RGB" else Image.fromarray(green.astype(np.uint8)))


def seen(mode: str, operators: dict[str, Any]) -> str:
    operator = AugmentImage(operators=Operators.model_validate(operators), seed=11, fill=3)
    together = hashlib.sha256()
    for copy in range(1, 9):
        together.update(operator.derive(photo(mode), ASSET, copy).pixels or b"")
    return together.hexdigest()[:16]


def test_uniform_numbers() -> None:
    raw = hashlib.shake_128(f"rotate/1\0{ASSET}\x003\x007".encode()).digest(8)
    assert uniforms("rotate", 1, ASSET, 3, 7, 2) == [
        int.from_bytes(raw[:4], "big") / 2**32,
        int.from_bytes(raw[4:], "big") / 2**32,
    ]
    assert uniforms("rotate", 1, ASSET, 3, 7, 2) == [0.3193563518580049, 0.9375876625999808]


def test_random_bits() -> None:
    assert raw_stream("noise", 1, ASSET, 3, 7, 3).tolist() == [
        8484830323199202556,
        5884900070960737461,
        18077257802530250717,
    ]


@pytest.mark.parametrize(
    ("mode", "operators", "expected"),
    [
        ("L", {"random_resized_crop": {}}, "ca169c32740be2bd"),
        ("RGB", {"perspective": {}}, "8a86b7708b902866"),
        ("RGB", {"hue": {}}, "f7d2089ab19c9005"),
        ("RGB", {"saturation": {}}, "0c401d38b3014845"),
        ("L", {"gamma": {}}, "3815729881dd6000"),
        ("RGB", {"sharpen": {}}, "dae3e168a08f5b41"),
        ("RGB", {"grayscale": {"probability": 0.5}}, "9775314fd2fc36b0"),
        ("RGB", {"jpeg": {}}, "a09bc6fc8c4f73e1"),
        ("L", {"rotate": {}}, "8e7d0b618cd2f635"),
        ("RGB", {"rotate": {"degrees": 45.0}}, "44fc316a60567e6d"),
        ("L", {"shear": {}}, "0c7b3228cf608d37"),
        ("L", {"zoom": {"low": 0.7, "high": 1.4}}, "04453c9af908a994"),
        ("L", {"shift": {}}, "0bf79713ae45db63"),
        ("RGB", {"crop": {"fraction": 0.7}}, "5134dca0c216f540"),
        ("RGB", {"flip": {"horizontal": True, "vertical": True}}, "79a9699bc98c6316"),
        ("RGB", {"brightness": {}}, "8759b94b550c8348"),
        ("RGB", {"contrast": {}}, "8cec43a72c065d26"),
        ("RGB", {"blur": {"radius": 2.0}}, "6ff9aec251853c98"),
        ("RGB", {"noise": {"sigma": 20.0}}, "7c7f921fecb8887e"),
        ("RGB", {"cutout": {"fraction": 0.5}}, "771fba948b1a6489"),
        (
            "RGB",
            {"rotate": {}, "shear": {}, "zoom": {}, "shift": {}, "brightness": {}, "noise": {}, "cutout": {}},
            "4cfa913e84631d1c",
        ),
    ],
)
def test_augmented_pixels(mode: str, operators: dict[str, Any], expected: str) -> None:
    assert seen(mode, operators) == expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (NormaliseImage((28, 28), "stretch", "L"), "e4e6e474dfc30d84"),
        (NormaliseImage((28, 28), "crop", "RGB"), "3600000504dcc318"),
        (NormaliseImage((28, 40), "pad", "RGB"), "c190f4caf84e6471"),
        (NormaliseImage(None, "stretch", "L"), "3e0444ff96fd452f"),
    ],
)
def test_normalised_pixels(operator: NormaliseImage, expected: str) -> None:
    pixels = operator.derive(photo("RGB"), ASSET, 0).pixels
    assert pixels is not None
    assert pixels.hex()[:16] == expected


@pytest.mark.parametrize(
    ("extractor", "expected"),
    [(Pixels(), "0efc5d2886e5a3dd"), (ColorHist(mode="RGB"), "9ee5ad89ade5048f"), (Hog(cell=8), "136781b7414c0d06")],
)
def test_features(extractor: Pixels | ColorHist | Hog, expected: str) -> None:
    (vector,) = Features((extractor,)).extract([photo("RGB")]).values
    assert vector is not None
    assert hashlib.sha256(vector).hexdigest()[:16] == expected


def test_fingerprints() -> None:
    operator = AugmentImage(operators=Operators.model_validate({"rotate": {}}), seed=11)
    assert operator.fingerprint[:16] == "d94176d5b27c4ede"
    assert recipe_of(operator) == (
        '{"fill":0,"fingerprint":"d94176d5b27c4ede15cbab233a9e25794ed295cc6510f52e2a0d672bc59ed737",'
        '"operators":{"rotate":{"degrees":10.0,"probability":1.0,"version":1}},'
        '"recipe":1,"resampling":"bilinear","seed":11}'
    )
    assert NormaliseImage((28, 28), "stretch", "L").fingerprint[:16] == "0f238195c009b8fb"
    assert Features((Pixels(), Hog(cell=8))).fingerprint[:16] == "7b5008e378d44153"


def test_recordings_and_their_copies_keep_their_bytes() -> None:
    """Of steps that no resampler and no transform has a part in."""
    samples = ((np.arange(4000) * 7919) % 40_001 - 20_000).astype(np.int16)
    operators = {"shift": {}, "pauses": {}, "gain": {"db": 3.0}, "noise": {}, "time_mask": {}}
    operator = AugmentAudio(AudioOperators.model_validate(operators), seed=11)
    whole = NormaliseAudio(rate=8000, length_s=0.6).derive(wave_bytes(samples, 8000), ASSET, 0).data or b""
    copies = [operator.derive(whole, ASSET, copy).data or b"" for copy in range(1, 5)]
    assert hashlib.sha256(whole).hexdigest()[:16] == "424d6f07dbeae067"
    assert hashlib.sha256(b"".join(copies)).hexdigest()[:16] == "df8b0dee826605df"
    assert operator.fingerprint[:16] == "4a557f5c5add357a"
