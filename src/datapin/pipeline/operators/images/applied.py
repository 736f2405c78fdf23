"""All operators on one copy of an image: which there are, in which order, and what they do together."""

from __future__ import annotations

from typing import Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict

from datapin.pipeline.operators.images.augment import (
    STEPS,
    Affine,
    Blur,
    Brightness,
    Contrast,
    Crop,
    Cutout,
    Draw,
    Flip,
    Geometric,
    ImageOperator,
    Noise,
    Pointwise,
    Rotate,
    Shear,
    Shift,
    Zoom,
    in_colour,
)
from datapin.pipeline.operators.images.colours import Gamma, Grayscale, Hue, Jpeg, Saturation, Sharpen
from datapin.pipeline.operators.images.warps import Perspective, RandomResizedCrop


class Operators(BaseModel):
    """The operators in use. Those named are applied in this fixed order, whatever the order in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    flip: Flip | None = None
    rotate: Rotate | None = None
    shear: Shear | None = None
    zoom: Zoom | None = None
    shift: Shift | None = None
    crop: Crop | None = None
    brightness: Brightness | None = None
    contrast: Contrast | None = None
    blur: Blur | None = None
    noise: Noise | None = None
    cutout: Cutout | None = None
    random_resized_crop: RandomResizedCrop | None = None
    perspective: Perspective | None = None
    hue: Hue | None = None
    saturation: Saturation | None = None
    gamma: Gamma | None = None
    sharpen: Sharpen | None = None
    grayscale: Grayscale | None = None
    jpeg: Jpeg | None = None

    @property
    def named(self) -> list[ImageOperator]:
        """Those in use, in order."""
        found = (getattr(self, name) for name in type(self).model_fields)
        return [operator for operator in found if operator is not None]


Resampling = Literal["nearest", "bilinear", "bicubic"]


def sampling_map(image: Image.Image, operators: Operators, draw: Draw) -> Affine:
    """Where all geometric operators together take each pixel of the result from."""
    whole = Affine()
    for operator in operators.named:
        if isinstance(operator, Geometric):
            whole = whole.then(operator.affine(draw, image.width, image.height))
    return whole


def moves_pixels(image: Image.Image, operators: Operators, draw: Draw) -> bool:
    """Whether this copy has some pixel elsewhere than the image."""
    if sampling_map(image, operators, draw) != Affine():
        return True
    return any(one.corners(draw, *image.size) is not None for one in operators.named if isinstance(one, Perspective))


def augmented(image: Image.Image, operators: Operators, draw: Draw, fill: int, resampling: Resampling) -> Image.Image:
    """The plain image after all operators: the affine ones as one resampling, the perspective, then the pointwise."""
    image = _resampled(image, sampling_map(image, operators, draw), fill, resampling)
    for operator in operators.named:
        if isinstance(operator, Perspective):
            image = operator.warped(image, draw, in_colour(image, fill, 0), Image.Resampling[resampling.upper()])
    for operator in operators.named:
        if isinstance(operator, Pointwise):
            image = operator.apply(image, draw, fill)
    return image


def _resampled(image: Image.Image, affine: Affine, fill: int, resampling: Resampling) -> Image.Image:
    if affine == Affine():
        return image
    a, b, c, d = (round(value * STEPS) / STEPS for value in (affine.a, affine.b, affine.c, affine.d))
    half_width, half_height = image.width / 2, image.height / 2
    x = round((half_width - a * half_width - b * half_height + affine.x) * STEPS) / STEPS
    y = round((half_height - c * half_width - d * half_height + affine.y) * STEPS) / STEPS
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        (a, b, x, c, d, y),
        resample=Image.Resampling[resampling.upper()],
        fillcolor=in_colour(image, fill, 0),
    )
