"""Operators of augment that change colours and edges, beside those of augment.py: integers, where Pillow allows it."""

from __future__ import annotations

import io
from typing import Self

import numpy as np
from PIL import Image, ImageFilter
from pydantic import Field, model_validator

from datapin.pipeline.operators.images.augment import LEVELS, STEPS, Draw, Pointwise, Range, mapped

_WHEEL = 256  # steps of Pillow's hue


class Hue(Pointwise):
    """Turn all colours by at most `turn` of the colour wheel, either way. Grey images have no hue, and stay."""

    NAME = "hue"
    turn: float = Field(default=0.05, ge=0.0, le=0.5)

    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The image in other colours; as Pillow's HSV has them, in 256 steps."""
        if (chance := self.chance(draw, 1)) is None or image.mode not in ("RGB", "RGBA"):
            return image
        steps = round((2 * chance[0] - 1) * self.turn * _WHEEL)
        hue, saturation, value = image.convert("RGB").convert("HSV").split()
        turned = Image.merge("HSV", (hue.point([(step + steps) % _WHEEL for step in range(_WHEEL)]), saturation, value))
        return _like(image, turned.convert("RGB"))


class Saturation(Range, Pointwise):
    """Multiply the distance of each colour to its grey by a factor between `low` and `high`."""

    NAME = "saturation"
    low: float = Field(default=0.7, ge=0.0, le=10.0)
    high: float = Field(default=1.3, ge=0.0, le=10.0)

    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The image in stronger or weaker colours; grey is Pillow's, ITU-R 601-2."""
        if (chance := self.chance(draw, 1)) is None or image.mode not in ("RGB", "RGBA"):
            return image
        factor = round(self.between(chance[0]) * STEPS)
        colours = np.asarray(image.convert("RGB"), dtype=np.int64)
        grey = np.asarray(image.convert("L"), dtype=np.int64)[:, :, None]
        values = grey + ((colours - grey) * factor + STEPS // 2) // STEPS
        return _like(image, Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)))


class Gamma(Range, Pointwise):
    """Raise every value (0 to 1) to a power between `low` and `high`: below 1 shadows become brighter."""

    NAME = "gamma"
    low: float = Field(default=0.8, ge=0.1, le=10.0)
    high: float = Field(default=1.25, ge=0.1, le=10.0)

    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The image with another curve of brightness."""
        if (chance := self.chance(draw, 1)) is None:
            return image
        power = self.between(chance[0])
        return mapped(image, np.array([round(255 * (level / 255) ** power) for level in LEVELS.tolist()]))


class Sharpen(Pointwise):
    """Add at most `amount` times what a blur of one pixel takes away."""

    NAME = "sharpen"
    amount: float = Field(default=1.0, ge=0.0, le=10.0)

    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The image with harder edges; alpha is left alone."""
        if (chance := self.chance(draw, 1)) is None:
            return image
        mask = ImageFilter.UnsharpMask(radius=1, percent=round(100 * chance[0] * self.amount), threshold=0)
        if image.mode in ("L", "RGB"):
            return image.filter(mask)
        *colours, alpha = image.split()
        return Image.merge(image.mode, [*(one.filter(mask) for one in colours), alpha])


class Grayscale(Pointwise):
    """Take the colours away, in one copy of ten unless `probability` says otherwise; the mode stays."""

    NAME = "grayscale"
    probability: float = Field(default=0.1, ge=0.0, le=1.0, description="share of the copies that it applies to")

    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The image in grey."""
        if self.chance(draw, 0) is None or image.mode not in ("RGB", "RGBA"):
            return image
        return _like(image, image.convert("L").convert("RGB"))


class Jpeg(Pointwise):
    """The artefacts of a JPEG file of a quality between `low` and `high`."""

    NAME = "jpeg"
    low: int = Field(default=40, ge=1, le=100)
    high: int = Field(default=95, ge=1, le=100)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, {self.low} > {self.high}")
        return self

    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The image as a JPEG file would give it back; alpha is left alone."""
        if (chance := self.chance(draw, 1)) is None:
            return image
        quality = self.low + int(chance[0] * (self.high - self.low + 1))
        sink = io.BytesIO()
        plain = image.convert("L" if image.mode in ("L", "LA") else "RGB")
        plain.save(sink, "JPEG", quality=quality, subsampling="4:2:0", optimize=False, progressive=False)
        with Image.open(sink, formats=("JPEG",)) as file:
            file.load()
            return _like(image, file.convert(plain.mode))


def _like(image: Image.Image, colours: Image.Image) -> Image.Image:
    """The colours with the alpha of the image, if it has one."""
    if image.mode not in ("LA", "RGBA"):
        return colours
    return Image.merge(image.mode, [*colours.split(), image.getchannel("A")])
