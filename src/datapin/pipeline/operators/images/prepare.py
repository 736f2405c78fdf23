"""The operators of prepare: look whether an image decodes; bring it to one size and mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageOps

from datapin.pipeline.operators.images import files as images
from datapin.pipeline.operators.images.decoding import MOST_PIXELS, Bound, load
from datapin.pipeline.operators.operator import Derived
from datapin.pipeline.record.fingerprint import fingerprint_of

Fit = Literal["stretch", "crop", "pad"]
SETTING = "prepare.max_pixels"


@dataclass(frozen=True, slots=True)
class CheckImage:
    """Decodes the image and leaves it as it is."""

    most_pixels: int = MOST_PIXELS

    @property
    def name(self) -> str:
        """For people."""
        return "check-image"

    @property
    def fingerprint(self) -> str:
        """Code only: which images are refused for their size is no part of what is made of the others."""
        return fingerprint_of({"op": self.name, "code": {"version": "1"}})

    @property
    def environment(self) -> dict[str, str]:
        """Another Pillow may decode what this one does not, and another limit may let it."""
        return {**images.environment(), "most_pixels": str(self.most_pixels)}

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """The asset as it is. Raises AssetBroken if it does not decode."""
        loaded = load(data, Bound(self.most_pixels, setting=SETTING))
        return Derived(None, note=loaded.note)


@dataclass(frozen=True, slots=True)
class NormaliseImage:
    """One size, one mode, upright, as PNG. `size` is (width, height)."""

    size: tuple[int, int] | None
    fit: Fit
    mode: str | None
    most_pixels: int = MOST_PIXELS

    @property
    def name(self) -> str:
        """For people."""
        return "normalise-image"

    @property
    def fingerprint(self) -> str:
        """Code and parameters."""
        params = {"size": list(self.size) if self.size else None, "fit": self.fit, "mode": self.mode}
        return fingerprint_of({"op": self.name, "code": {"version": "1"}, "params": params, "encoder": images.ENCODER})

    @property
    def environment(self) -> dict[str, str]:
        """Pillow and zlib decide the bytes of the PNG, and the limit from which on a photo is decoded at a fraction."""
        return {**images.environment(), "most_pixels": str(self.most_pixels)}

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """The normalised image. Raises AssetBroken if the asset is not an image."""
        read = images.read_image(data, Bound(self.most_pixels, self.size, SETTING))
        if read.image.mode == "L":  # the same pixels as the other way round, for a third of the memory
            image = images.in_mode(resized(read.image, self.size, self.fit), self.mode)
        else:
            image = resized(images.in_mode(read.image, self.mode), self.size, self.fit)
        is_moved = read.is_turned or image.size != read.image.size
        return Derived(images.encode_png(image), images.pixels_hash(image), is_moved, read.note)


def resized(image: Image.Image, size: tuple[int, int] | None, fit: Fit) -> Image.Image:
    """The image at `size` (width, height): stretched, cropped in the middle, or padded with black."""
    if size is None or image.size == size:
        return image
    if fit == "crop":
        return ImageOps.fit(image, size, method=Image.Resampling.BICUBIC)
    if fit == "pad":
        return ImageOps.pad(image, size, method=Image.Resampling.BICUBIC)
    return image.resize(size, Image.Resampling.BICUBIC)
