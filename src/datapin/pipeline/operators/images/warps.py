"""Operators of augment that move pixels, beside those of augment.py: cut and resized windows, perspective."""

from __future__ import annotations

import math

from PIL import Image
from pydantic import Field

from datapin.pipeline.operators.images.augment import Affine, Draw, Geometric, ImageOperator, Range

Point = tuple[float, float]
Corners = tuple[Point, Point, Point, Point]
"""Where the corners of an image lie, in pixels: top left, top right, bottom right, bottom left."""
Projection = tuple[float, float, float, float, float, float, float, float]
"""a … h of x' = (ax + by + c) / (gx + hy + 1), y' = (dx + ey + f) / (gx + hy + 1)."""

_STEPS = 1 << 16


class RandomResizedCrop(Range, Geometric):
    """A window of `low` to `high` of the area, brought back to the full size; `ratio` bounds how much it is stretched.

    Szegedy et al. 2015, with the image's own proportions in place of a square's.
    """

    NAME = "random_resized_crop"
    low: float = Field(default=0.5, ge=0.01, le=1.0)
    high: float = Field(default=1.0, ge=0.01, le=1.0)
    ratio: float = Field(default=4 / 3, ge=1.0, le=10.0)

    def affine(self, draw: Draw, width: int, height: int) -> Affine:
        """A scaling per direction, with an offset that stays inside."""
        if (chance := self.chance(draw, 4)) is None:
            return Affine()
        share = self.between(chance[0])
        ratio = math.exp((2 * chance[1] - 1) * math.log(self.ratio))
        across, down = width * min(math.sqrt(share * ratio), 1.0), height * min(math.sqrt(share / ratio), 1.0)
        return Affine(
            a=across / width,
            d=down / height,
            x=(2 * chance[2] - 1) * (width - across) / 2,
            y=(2 * chance[3] - 1) * (height - down) / 2,
        )


class Perspective(ImageOperator):
    """Appearance at the image from aside: each corner moves inwards by at most `distortion` of half a side."""

    NAME = "perspective"
    distortion: float = Field(default=0.2, ge=0.0, le=0.9)

    def corners(self, draw: Draw, width: int, height: int) -> Corners | None:
        """Where the corners of this copy's image lie, in pixels; None if they stay."""
        if (chance := self.chance(draw, 8)) is None or not self.distortion:
            return None
        moved = [
            (round(chance[2 * n] * self.distortion * width / 2 * _STEPS) / _STEPS,
             round(chance[2 * n + 1] * self.distortion * height / 2 * _STEPS) / _STEPS)
            for n in range(4)
        ]  # fmt: skip
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = moved
        return (ax, ay), (width - bx, by), (width - cx, height - cy), (dx, height - dy)

    def warped(
        self, image: Image.Image, draw: Draw, colour: int | tuple[int, ...], resampling: Image.Resampling
    ) -> Image.Image:
        """The image with its corners moved; `colour` where nothing of it is left."""
        corners = self.corners(draw, *image.size)
        if corners is None:
            return image
        return image.transform(
            image.size,
            Image.Transform.PERSPECTIVE,
            onto_rectangle(corners, *image.size),
            resample=resampling,
            fillcolor=colour,
        )


def from_rectangle(corners: Corners, width: int, height: int) -> Projection:
    """The projection of the rectangle 0 … width, 0 … height onto these corners. Heckbert 1989, section 2.2.3."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    dx1, dx2, sx = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, sy = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    size = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / size, (dx1 * sy - sx * dy1) / size
    return (
        (x1 - x0 + g * x1) / width, (x3 - x0 + h * x3) / height, x0,
        (y1 - y0 + g * y1) / width, (y3 - y0 + h * y3) / height, y0,
        g / width, h / height,
    )  # fmt: skip


def onto_rectangle(corners: Corners, width: int, height: int) -> Projection:
    """The projection of these corners onto the rectangle: the inverse of `from_rectangle`, by the adjugate."""
    a, b, c, d, e, f, g, h = from_rectangle(corners, width, height)
    last = a * e - b * d
    return (
        (e - f * h) / last, (c * h - b) / last, (b * f - c * e) / last,
        (f * g - d) / last, (a - c * g) / last, (c * d - a * f) / last,
        (d * h - e * g) / last, (b * g - a * h) / last,
    )  # fmt: skip


def projected(projection: Projection, point: Point) -> Point:
    """Where a point goes."""
    a, b, c, d, e, f, g, h = projection
    x, y = point
    scale = g * x + h * y + 1.0
    return (a * x + b * y + c) / scale, (d * x + e * y + f) / scale
