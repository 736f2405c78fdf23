"""Small pictures of images, for people to look at."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from datapin.pipeline.operators.images.decoding import USUAL_PIXELS, Bound
from datapin.pipeline.operators.images.files import encode_png, read_image
from datapin.pipeline.operators.look import Appearance

_EXACT_PIXELS = 64 * 64  # up to here every pixel may matter, and PNG is small


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An encoded picture; `width` and `height` are those of the image that it shows, in pixels."""

    media_type: str
    data: bytes
    width: int
    height: int


def thumbnail(data: bytes, side_px: int) -> Thumbnail:
    """The image upright and at most `side_px` wide and high, as PNG or JPEG; small ones keep their size.

    Raises AssetBroken if it is no whole image, TooManyPixels if it would take too much memory for a small picture.
    """
    image = read_image(data, Bound(USUAL_PIXELS)).image
    width, height = image.size
    if max(width, height) > side_px:
        image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    if image.mode in ("LA", "RGBA") or image.width * image.height <= _EXACT_PIXELS:
        return Thumbnail("image/png", encode_png(image), width, height)
    sink = io.BytesIO()
    image.info = {}
    image.save(sink, "JPEG", quality=82)
    return Thumbnail("image/jpeg", sink.getvalue(), width, height)


def image_look(data: bytes, side_px: int) -> Appearance:
    """The image as a small picture. Raises AssetBroken and TooManyPixels."""
    small = thumbnail(data, side_px)
    is_small = max(small.width, small.height) < side_px
    return Appearance(f"{small.width} × {small.height}", small.data, small.media_type, is_small=is_small)
