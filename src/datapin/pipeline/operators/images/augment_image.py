"""The operator of augment, and its recipe: the text that lets training make the same images without storing them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datapin.base.documents import read_json
from datapin.base.errors import OperatorRefused
from datapin.pipeline.operators.images import files as images
from datapin.pipeline.operators.images.augment import (
    Affine,
    Draw,
    Geometric,
    Operators,
    Resampling,
    augmented,
    sampling_map,
)
from datapin.pipeline.operators.operator import AssetBroken, Derived, UInt8
from datapin.pipeline.record.fingerprint import canonical_json, fingerprint_of

RECIPE_VERSION = 1


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
        return fingerprint_of({"op": self.name, "encoder": images.ENCODER, **self._parts()})

    @property
    def environment(self) -> dict[str, str]:
        """Pillow and zlib decide the bytes of the PNG."""
        return images.environment()

    @property
    def recipe(self) -> str:
        """Canonical JSON from which `read_recipe` makes this operator again."""
        return canonical_json({"recipe": RECIPE_VERSION, "fingerprint": self.fingerprint, **self._parts()})

    def augment(self, data: bytes, asset_id: str, copy: int) -> Image.Image:
        """Copy number `copy` of the image, decoded. Raises AssetBroken."""
        return self._augmented(images.decode_plain(data), Draw(asset_id, copy, self.seed))

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """Copy number `copy` of the image, as PNG. Raises AssetBroken."""
        read, draw = images.read_image(data), Draw(asset_id, copy, self.seed)
        is_moved = read.is_turned or sampling_map(read.image, self.operators, draw) != Affine()
        image = self._augmented(read.image, draw)
        return Derived(images.encode_png(image), images.pixels_hash(image), is_moved, read.note)

    @property
    def moves_pixels(self) -> bool:
        """Whether an operator in use does that to some copy of an image that is upright."""
        return any(isinstance(one, Geometric) and one.probability > 0 for one in self.operators.named)

    def _augmented(self, image: Image.Image, draw: Draw) -> Image.Image:
        return augmented(image, self.operators, draw, self.fill, self.resampling)

    def _parts(self) -> dict[str, Any]:
        operators = {
            operator.NAME: {"version": operator.VERSION, **operator.model_dump()} for operator in self.operators.named
        }
        return {"operators": operators, "seed": self.seed, "fill": self.fill, "resampling": self.resampling}


@lru_cache(maxsize=16)
def read_recipe(recipe: str) -> AugmentImage:
    """The operator that a recipe describes.

    Raises OperatorRefused if it was written for other operators, or other versions of them, than there are here.
    """
    try:
        parts = read_json(recipe, "the recipe")
        operators = {
            name: {key: value for key, value in params.items() if key != "version"}
            for name, params in parts["operators"].items()
        }
        operator = AugmentImage.model_validate(
            {
                "operators": operators,
                "seed": parts["seed"],
                "fill": parts["fill"],
                "resampling": parts["resampling"],
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise OperatorRefused("augment-image", f"cannot read the recipe: {_first_line(error)}") from None
    if operator.recipe != recipe:
        raise OperatorRefused("augment-image", "the recipe was made by another version of these operators")
    return operator


def apply_recipe(recipe: str, data: bytes, asset_id: str, copy: int) -> bytes:
    """Copy number `copy` of an image as PNG: what mode offline stores. With mode online, `copy` is the epoch.

    Raises OperatorRefused if the asset is not an image.
    """
    operator = read_recipe(recipe)
    try:
        derived = operator.derive(data, asset_id, copy)
    except AssetBroken as error:
        raise OperatorRefused(operator.name, f"asset {asset_id[:12]}: {error}") from None
    assert derived.data is not None
    return derived.data


def apply_recipe_to_pixels(recipe: str, data: bytes, asset_id: str, copy: int) -> UInt8:
    """The same, decoded: `uint8 [height, width, channels]`; saves encoding and decoding again.

    Raises OperatorRefused if the asset is not an image.
    """
    operator = read_recipe(recipe)
    try:
        return images.samples(operator.augment(data, asset_id, copy))
    except AssetBroken as error:
        raise OperatorRefused(operator.name, f"asset {asset_id[:12]}: {error}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
