"""The operator of augment for images: all that is done to one copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, features
from pydantic import BaseModel, ConfigDict, Field

from datapin.pipeline.operators.images import files as images
from datapin.pipeline.operators.images.applied import Operators, Resampling, augmented, moves_pixels
from datapin.pipeline.operators.images.augment import Draw, Geometric
from datapin.pipeline.operators.images.warps import Perspective
from datapin.pipeline.operators.operator import Derived
from datapin.pipeline.record.fingerprint import fingerprint_of


class AugmentImage(BaseModel):
    """Copy n of an image is a function of the asset's id, n and the seed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    operators: Operators
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    fill: int = Field(default=0, ge=0, le=255)
    resampling: Resampling = "bilinear"

    @property
    def name(self) -> str:
        """For people."""
        return "augment-image"

    @property
    def fingerprint(self) -> str:
        """Operators with their versions, parameters and seed."""
        return fingerprint_of({"op": self.name, "encoder": images.ENCODER, **self.parts})

    @property
    def environment(self) -> dict[str, str]:
        """Pillow and zlib decide the bytes of the PNG, libjpeg those of artefacts."""
        if self.operators.jpeg is None:
            return images.environment()
        return {**images.environment(), "jpeg": str(features.version("libjpeg_turbo") or features.version("jpg"))}

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """Copy number `copy` of the image, as PNG. Raises AssetBroken."""
        read, draw = images.read_image(data), Draw(asset_id, copy, self.seed)
        is_moved = read.is_turned or moves_pixels(read.image, self.operators, draw)
        image = self._augmented(read.image, draw)
        return Derived(images.encode_png(image), images.pixels_hash(image), is_moved, read.note)

    @property
    def moves_places(self) -> bool:
        """Whether an operator in use does that to some copy of an image that is upright."""
        return any(isinstance(one, Geometric | Perspective) and one.probability > 0 for one in self.operators.named)

    def _augmented(self, image: Image.Image, draw: Draw) -> Image.Image:
        return augmented(image, self.operators, draw, self.fill, self.resampling)

    @property
    def parts(self) -> dict[str, Any]:
        """Operators with their versions, and what holds for all of them."""
        operators = {
            operator.NAME: {"version": operator.VERSION, **operator.model_dump()} for operator in self.operators.named
        }
        return {"operators": operators, "seed": self.seed, "fill": self.fill, "resampling": self.resampling}


def from_recipe(parts: Mapping[str, Any]) -> AugmentImage:
    """The operator that the parts of a recipe describe. Raises KeyError, TypeError or ValueError for others."""
    operators = {
        name: {key: value for key, value in params.items() if key != "version"}
        for name, params in parts["operators"].items()
    }
    given = {name: parts[name] for name in ("seed", "fill", "resampling")}
    return AugmentImage.model_validate({"operators": operators, **given})
