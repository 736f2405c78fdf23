"""What an image looks like: a hash of its exact pixels, and a perceptual one that small changes leave nearly alone.

The perceptual hash is pHash as the library imagehash computes it: 64 signs of the low frequencies of the brightness.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

from datapin.pipeline.operators.images import files as images
from datapin.pipeline.operators.operator import AssetBroken, Vectors
from datapin.pipeline.record.fingerprint import fingerprint_of, library_versions

LOOK = np.dtype([("pixels", "u1", (32,)), ("samples", "u1", (32,)), ("perceptual", "<u8")])


@dataclass(frozen=True, slots=True)
class Looks:
    """Each asset's LOOK, as bytes; a problem for what is no image."""

    @property
    def name(self) -> str:
        """For people."""
        return "looks"

    @property
    def fingerprint(self) -> str:
        """Code and the layout of what is remembered: there are no parameters."""
        return fingerprint_of({"op": self.name, "code": {"version": "1"}, "layout": repr(LOOK.descr)})

    @property
    def environment(self) -> dict[str, str]:
        """Another Pillow may decode other pixels, another imagehash or SciPy give other signs."""
        return {**images.environment(), **library_versions(["imagehash", "scipy"], self.name)}

    def extract(self, assets: Sequence[bytes]) -> Vectors:
        """A LOOK for each asset."""
        values: list[bytes | None] = []
        problems: list[str | None] = []
        for data in assets:
            try:
                plain = images.decode_plain(data)
                image = as_seen(plain)
            except AssetBroken as error:
                values.append(None)
                problems.append(str(error))
                continue
            look = np.zeros(1, dtype=LOOK)
            look["pixels"] = np.frombuffer(exact_hash(image), dtype=np.uint8)
            look["samples"] = np.frombuffer(images.pixels_hash(plain), dtype=np.uint8)
            look["perceptual"] = perceptual_hash(image)
            values.append(look.tobytes())
            problems.append(None)
        return Vectors(values, problems)


def as_seen(image: Image.Image) -> Image.Image:
    """The plain image in RGB, or in RGBA where a pixel is not opaque: grey and coloured files of one picture agree."""
    if image.mode in ("LA", "RGBA"):
        seen = image.convert("RGBA")
        lowest, _ = seen.getchannel("A").getextrema()
        return seen if lowest != 255 else seen.convert("RGB")
    return image.convert("RGB")


def exact_hash(image: Image.Image) -> bytes:
    """SHA-256 (32 bytes) over mode, size and samples."""
    return hashlib.sha256(f"{image.mode},{image.width},{image.height}|".encode() + image.tobytes()).digest()


def perceptual_hash(image: Image.Image) -> int:
    """The 64 bits of pHash; transparent parts lie on black."""
    signs = imagehash.phash(images.in_mode(image, "RGB")).hash.reshape(-1)
    return int.from_bytes(np.packbits(signs).tobytes(), "big")
