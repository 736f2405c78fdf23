"""Feature extractors of images that ship: pixels, colorhist, hog."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from datapin.pipeline.operators.images import files as images
from datapin.pipeline.operators.images.hog import hog
from datapin.pipeline.operators.images.prepare import resized
from datapin.pipeline.operators.operator import Float32, UInt8


class ImageDecoder:
    """Bytes to plain upright images."""

    @property
    def environment(self) -> dict[str, str]:
        """Pillow decides the pixels of a decoded image."""
        return {name: images.environment()[name] for name in ("decoder", "pillow")}

    def decode(self, data: bytes) -> tuple[Image.Image, str | None]:
        """The image, and what was odd about its file. Raises AssetBroken."""
        read = images.read_image(data)
        return read.image, read.note


DECODER = ImageDecoder()


@dataclass(frozen=True, slots=True)
class _ImageExtractor:
    NAME: ClassVar[str]
    VERSION: ClassVar[str] = "1"

    size: tuple[int, int] | None = None
    mode: str | None = None

    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        params = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"use": self.NAME, "version": self.VERSION, **params}

    @property
    def decoder(self) -> ImageDecoder:
        """Images are decoded once for all extractors."""
        return DECODER

    def array_of(self, decoded: Image.Image) -> UInt8:
        """uint8 [height, width, channels], in the extractor's size and mode."""
        return images.samples(resized(images.in_mode(decoded, self.mode), self.size, "stretch"))


@dataclass(frozen=True, slots=True)
class Pixels(_ImageExtractor):
    """The samples themselves, row by row; scaled to 0…1 or as they are."""

    NAME = "pixels"
    scale: Literal["unit", "none"] = "unit"

    def vectors(self, batch: UInt8) -> Float32:
        """float32 [n, height · width · channels]."""
        flat: Float32 = batch.reshape(len(batch), -1).astype(np.float32)
        if self.scale == "unit":
            flat /= np.float32(255)
        return flat


@dataclass(frozen=True, slots=True)
class ColorHist(_ImageExtractor):
    """Share of the pixels in each cell of a colour cube with `bins` steps per channel."""

    NAME = "colorhist"
    bins: int = 8

    def vectors(self, batch: UInt8) -> Float32:
        """float32 [n, bins ** channels]."""
        count, height, width, channels = batch.shape
        cells = self.bins**channels
        index = np.zeros((count, height * width), dtype=np.int64)
        for channel in range(channels):
            level = batch[..., channel].reshape(count, -1).astype(np.int64) * self.bins >> 8
            index = index * self.bins + level
        index += np.arange(count)[:, None] * cells
        counts = np.bincount(index.ravel(), minlength=count * cells).reshape(count, cells)
        shares: Float32 = (counts / (height * width)).astype(np.float32)
        return shares


@dataclass(frozen=True, slots=True)
class Hog(_ImageExtractor):
    """Histograms of oriented gradients."""

    NAME = "hog"
    cell: int = 8
    bins: int = 9

    def vectors(self, batch: UInt8) -> Float32:
        """float32 [n, d], see `hog`."""
        return hog(batch, self.cell, self.bins)
