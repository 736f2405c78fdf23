"""The operators of prepare: look whether an image decodes; bring it to one size and mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageOps

from datapin.pipeline.fingerprint import fingerprint_of
from datapin.pipeline.operators import images
from datapin.pipeline.operators.operator import Derived

Fit = Literal["stretch", "crop", "pad"]


@dataclass(frozen=True, slots=True)
class CheckImage:
    """Decodes the image and leaves it as it is."""

    @property
    def name(self) -> str:
        """For people."""
        return "check-image"

    @property
    def fingerprint(self) -> str:
        """Code only: there are no parameters."""
        return fingerprint_of({"op": self.name, "code": {"version": "1"}})

    @property
    def environment(self) -> dict[str, str]:
        """Another Pillow may decode what this one does not."""
        return images.environment()

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """The asset as it is. Raises AssetBroken if it does not decode."""
        images.decode(data)
        return Derived(None)


@dataclass(frozen=True, slots=True)
class NormaliseImage:
    """One size, one mode, upright, as PNG. `size` is (width, height)."""

    size: tuple[int, int] | None
    fit: Fit
    mode: str | None

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
        """Pillow and zlib decide the bytes of the PNG."""
        return images.environment()

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """The normalised image. Raises AssetBroken if the asset is not an image."""
        image = resized(images.in_mode(images.decode_plain(data), self.mode), self.size, self.fit)
        return Derived(images.encode_png(image), images.pixels_hash(image))


def resized(image: Image.Image, size: tuple[int, int] | None, fit: Fit) -> Image.Image:
    """The image at `size` (width, height): stretched, cropped in the middle, or padded with black."""
    if size is None or image.size == size:
        return image
    if fit == "crop":
        return ImageOps.fit(image, size, method=Image.Resampling.BICUBIC)
    if fit == "pad":
        return ImageOps.pad(image, size, method=Image.Resampling.BICUBIC)
    return image.resize(size, Image.Resampling.BICUBIC)
