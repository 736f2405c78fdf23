"""Images."""

from __future__ import annotations

from pathlib import Path

from datapin.pipeline.kinds.image_rows import rows_to_decode
from datapin.pipeline.kinds.kind import DataKind
from datapin.pipeline.operators.features import Extractor
from datapin.pipeline.operators.images.augment_image import AugmentImage
from datapin.pipeline.operators.images.decoding import MOST_PIXELS
from datapin.pipeline.operators.images.extractors import ColorHist, Hog, Pixels
from datapin.pipeline.operators.images.files import DECODED_MEDIA_TYPES
from datapin.pipeline.operators.images.prepare import SETTING, CheckImage, NormaliseImage
from datapin.pipeline.operators.images.thumbnails import image_look
from datapin.pipeline.operators.look import Appearance
from datapin.pipeline.params.image import (
    ColorHistParams,
    HogParams,
    ImageAugmentParams,
    ImagePrepareParams,
    PixelsParams,
)

_SIDE_PX = 192


def _prepare(params: ImagePrepareParams) -> CheckImage | NormaliseImage:
    if not params.makes_assets:
        return CheckImage(params.max_pixels)
    size = (params.resize[0], params.resize[1]) if params.resize else None
    return NormaliseImage(size, params.fit, params.mode, params.max_pixels)


def _copy(params: ImageAugmentParams, root: Path) -> AugmentImage:
    return AugmentImage(operators=params.operators, seed=params.seed, fill=params.fill, resampling=params.resampling)


def _extractor(params: PixelsParams | ColorHistParams | HogParams) -> Extractor:
    size = (params.resize[0], params.resize[1]) if params.resize else None
    if isinstance(params, PixelsParams):
        return Pixels(size, params.mode, params.scale)
    if isinstance(params, ColorHistParams):
        return ColorHist(size, params.mode, params.bins)
    return Hog(size, params.mode, params.cell, params.bins)


def _looks(before: bytes, after: bytes) -> tuple[Appearance, Appearance]:
    return image_look(before, _SIDE_PX), image_look(after, _SIDE_PX)


KIND = DataKind(
    name="image",
    noun="image",
    media_types=DECODED_MEDIA_TYPES,
    media_type="image/png",
    ending=".png",
    endings=r"png|jpe?g|gif|bmp|tiff?|webp|pgm|ppm|pnm",
    prepare=_prepare,
    copy=_copy,
    extractor=_extractor,
    rows_to_decode=rows_to_decode,
    looks=_looks,
    limits={SETTING: MOST_PIXELS},
)
