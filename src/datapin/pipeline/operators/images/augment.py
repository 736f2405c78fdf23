"""Augmentation of images on Pillow and NumPy: each operator is its parameters plus a pure function of uniform numbers.

Coordinates, look-up tables and noise are rounded to fixed point before they touch pixels, so that the result does not
depend on the processor. What Pillow makes of them is held by golden hashes in the tests.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from datapin.pipeline.operators.images.files import samples
from datapin.pipeline.operators.seeding import raw_stream, uniforms

STEPS = 1 << 16  # coordinates are multiples of 1/65536 pixel: exact in double precision
LEVELS = np.arange(256, dtype=np.int64)
_IRWIN_HALL_STD = math.sqrt(4 * ((1 << 32) - 1) / 12)  # of the sum of four uniform 16-bit numbers


@dataclass(frozen=True, slots=True)
class Draw:
    """The random numbers of one asset and copy."""

    asset_id: str
    copy: int
    seed: int


class ImageOperator(BaseModel):
    """The parameters of one operator."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    NAME: ClassVar[str]
    VERSION: ClassVar[int] = 1

    probability: float = Field(default=1.0, ge=0.0, le=1.0, description="share of the copies that it applies to")

    def chance(self, draw: Draw, count: int) -> list[float] | None:
        """`count` uniform numbers, or None if this copy is left alone."""
        first, *rest = uniforms(self.NAME, self.VERSION, draw.asset_id, draw.copy, draw.seed, count + 1)
        return rest if first < self.probability else None


class Range(ImageOperator):
    """A parameter that is drawn between two bounds."""

    low: float = 1.0
    high: float = 1.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, {self.low} > {self.high}")
        return self

    def between(self, uniform: float) -> float:
        """The value for a uniform number."""
        return self.low + (self.high - self.low) * uniform


@dataclass(frozen=True, slots=True)
class Affine:
    """Where an output pixel is sampled, relative to the centres: in = matrix · out + offset (in pixels)."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 1.0
    x: float = 0.0
    y: float = 0.0

    def then(self, inner: Affine) -> Affine:
        """First `inner`, then this."""
        return Affine(
            self.a * inner.a + self.b * inner.c,
            self.a * inner.b + self.b * inner.d,
            self.c * inner.a + self.d * inner.c,
            self.c * inner.b + self.d * inner.d,
            self.a * inner.x + self.b * inner.y + self.x,
            self.c * inner.x + self.d * inner.y + self.y,
        )


class Geometric(ImageOperator):
    """An operator that moves pixels; all of them together are one resampling."""

    @abstractmethod
    def affine(self, draw: Draw, width: int, height: int) -> Affine:
        """The sampling map of this copy."""


class Flip(Geometric):
    """Mirror, each direction with probability one half. Off unless asked for: a mirrored 2 is no 2."""

    NAME = "flip"
    horizontal: bool = False
    vertical: bool = False

    def affine(self, draw: Draw, width: int, height: int) -> Affine:
        """A change of sign per direction."""
        if (chance := self.chance(draw, 2)) is None:
            return Affine()
        across = self.horizontal and chance[0] < 0.5
        down = self.vertical and chance[1] < 0.5
        return Affine(a=-1.0 if across else 1.0, d=-1.0 if down else 1.0)


class Rotate(Geometric):
    """Turn by at most `degrees` either way."""

    NAME = "rotate"
    degrees: float = Field(default=10.0, ge=0.0, le=180.0)

    def affine(self, draw: Draw, width: int, height: int) -> Affine:
        """A rotation about the centre."""
        if (chance := self.chance(draw, 1)) is None:
            return Affine()
        angle = math.radians((2 * chance[0] - 1) * self.degrees)
        return Affine(math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle))


class Shear(Geometric):
    """Slant by at most `degrees` either way, across."""

    NAME = "shear"
    degrees: float = Field(default=5.0, ge=0.0, le=60.0)

    def affine(self, draw: Draw, width: int, height: int) -> Affine:
        """A shear about the centre."""
        if (chance := self.chance(draw, 1)) is None:
            return Affine()
        return Affine(b=math.tan(math.radians((2 * chance[0] - 1) * self.degrees)))


class Zoom(Range, Geometric):
    """Enlarge by a factor between `low` and `high`; below 1 the image shrinks."""

    NAME = "zoom"
    low: float = Field(default=0.9, ge=0.1, le=10.0)
    high: float = Field(default=1.1, ge=0.1, le=10.0)

    def affine(self, draw: Draw, width: int, height: int) -> Affine:
        """A scaling about the centre."""
        if (chance := self.chance(draw, 1)) is None:
            return Affine()
        scale = 1.0 / self.between(chance[0])
        return Affine(a=scale, d=scale)


class Shift(Geometric):
    """Move by at most `fraction` of the side, each direction on its own."""

    NAME = "shift"
    fraction: float = Field(default=0.08, ge=0.0, le=1.0)

    def affine(self, draw: Draw, width: int, height: int) -> Affine:
        """An offset."""
        if (chance := self.chance(draw, 2)) is None:
            return Affine()
        return Affine(x=(2 * chance[0] - 1) * self.fraction * width, y=(2 * chance[1] - 1) * self.fraction * height)


class Crop(Geometric):
    """Cut out a window of `fraction` of each side, anywhere, and bring it back to the full size."""

    NAME = "crop"
    fraction: float = Field(default=0.9, ge=0.05, le=1.0)

    def affine(self, draw: Draw, width: int, height: int) -> Affine:
        """A scaling with an offset that stays inside."""
        if (chance := self.chance(draw, 2)) is None:
            return Affine()
        room = (1.0 - self.fraction) / 2
        return Affine(
            a=self.fraction,
            d=self.fraction,
            x=(2 * chance[0] - 1) * room * width,
            y=(2 * chance[1] - 1) * room * height,
        )


class Pointwise(ImageOperator):
    """An operator that changes values where they are."""

    @abstractmethod
    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The changed image."""


class Brightness(Range, Pointwise):
    """Multiply all values by a factor between `low` and `high`."""

    NAME = "brightness"
    low: float = Field(default=0.8, ge=0.0, le=10.0)
    high: float = Field(default=1.2, ge=0.0, le=10.0)

    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The brighter or darker image."""
        if (chance := self.chance(draw, 1)) is None:
            return image
        factor = round(self.between(chance[0]) * STEPS)
        return mapped(image, (LEVELS * factor + STEPS // 2) // STEPS)


class Contrast(Range, Pointwise):
    """Multiply the distance to the image's mean brightness by a factor between `low` and `high`."""

    NAME = "contrast"
    low: float = Field(default=0.8, ge=0.0, le=10.0)
    high: float = Field(default=1.2, ge=0.0, le=10.0)

    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The image with more or less contrast."""
        if (chance := self.chance(draw, 1)) is None:
            return image
        factor = round(self.between(chance[0]) * STEPS)
        mean = int(np.asarray(image.convert("L")).sum(dtype=np.int64)) // (image.width * image.height)
        return mapped(image, mean + ((LEVELS - mean) * factor + STEPS // 2) // STEPS)


class Blur(Pointwise):
    """Gaussian blur with a radius of at most `radius` pixels."""

    NAME = "blur"
    radius: float = Field(default=1.0, ge=0.0, le=100.0)

    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The blurred image."""
        if (chance := self.chance(draw, 1)) is None:
            return image
        return image.filter(ImageFilter.GaussianBlur(round(chance[0] * self.radius * 256) / 256))


class Noise(Pointwise):
    """Bell-shaped noise of standard deviation `sigma` (of 255) on every sample; alpha is left alone."""

    NAME = "noise"
    sigma: float = Field(default=8.0, ge=0.0, le=128.0)

    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The noisy image. The sum of four uniform numbers stands for the normal distribution."""
        if self.chance(draw, 0) is None:
            return image
        values = samples(image)
        raw = raw_stream(self.NAME, self.VERSION, draw.asset_id, draw.copy, draw.seed, values.size)
        low = np.uint64(0xFFFF)
        total = (raw & low) + ((raw >> np.uint64(16)) & low) + ((raw >> np.uint64(32)) & low) + (raw >> np.uint64(48))
        factor = round(self.sigma / _IRWIN_HALL_STD * (1 << 32))
        noise = ((total.astype(np.int64) - 2 * 0xFFFF) * factor + (1 << 31)) >> 32
        noisy = np.clip(values + noise.reshape(values.shape), 0, 255).astype(np.uint8)
        if image.mode in ("LA", "RGBA"):
            noisy[:, :, -1] = values[:, :, -1]
        return Image.frombytes(image.mode, image.size, noisy.tobytes())


class Cutout(Pointwise):
    """Paint a rectangle of at most `fraction` of each side, anywhere, in the fill colour."""

    NAME = "cutout"
    fraction: float = Field(default=0.25, ge=0.0, le=1.0)

    def apply(self, image: Image.Image, draw: Draw, fill: int) -> Image.Image:
        """The image with a hole."""
        if (chance := self.chance(draw, 4)) is None:
            return image
        across, down = (int(chance[axis] * self.fraction * image.size[axis] + 0.5) for axis in (0, 1))
        left = int(chance[2] * (image.width - across + 1))
        top = int(chance[3] * (image.height - down + 1))
        holed = image.copy()
        holed.paste(in_colour(image, fill, 255), (left, top, left + across, top + down))
        return holed


def in_colour(image: Image.Image, fill: int, alpha: int) -> int | tuple[int, ...]:
    """A grey level as a colour of the image's mode."""
    if image.mode == "L":
        return fill
    colours = len(image.getbands()) - (image.mode in ("LA", "RGBA"))
    return (fill,) * colours + ((alpha,) if image.mode in ("LA", "RGBA") else ())


def mapped(image: Image.Image, levels: npt.NDArray[np.int64]) -> Image.Image:
    """Every value replaced by its entry in `levels`; alpha is left alone."""
    table = np.clip(levels, 0, 255).astype(np.uint8)
    if image.mode in ("L", "RGB"):
        return Image.frombytes(image.mode, image.size, image.tobytes().translate(table.tobytes()))
    values = samples(image).copy()
    values[:, :, :-1] = table[values[:, :, :-1]]
    return Image.frombytes(image.mode, image.size, values.tobytes())
