"""What params.yaml may say of images."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from datapin.pipeline.operators.images.applied import Operators, Resampling
from datapin.pipeline.operators.images.augment import Rotate, Shift, Zoom
from datapin.pipeline.operators.images.decoding import MOST_PIXELS, USUAL_PIXELS
from datapin.pipeline.operators.images.prepare import Fit
from datapin.pipeline.params.bases import AugmentParams, PrepareParams
from datapin.pipeline.params.params import ParamsSection
from datapin.pipeline.params.values import Rules

Side = Annotated[int, Field(ge=1, le=16_384)]
Mode = Literal["L", "RGB"]


def _as_size(given: object) -> object:
    """One number stands for a square."""
    return [given, given] if isinstance(given, int) and not isinstance(given, bool) else given


Size = Annotated[list[Side], Field(min_length=2, max_length=2), BeforeValidator(_as_size)]
"""Width and height in pixels."""


PixelColumns = Annotated[
    Annotated[Literal["refuse", "keep", "drop"], Tag("all")]
    | Annotated[dict[str, Literal["keep", "drop"]], Tag("by column")],
    Discriminator(lambda given: "by column" if isinstance(given, dict) else "all"),
]
"""What becomes of columns like bbox where pixels are moved; a column that is not named by its own rule is refused."""


class ImagePrepareParams(PrepareParams, of="image"):
    """Size and mode of the images, and which of them are too large."""

    kind: Literal["image"] = "image"
    resize: Size | None = Field(default=None, description="pixels: one number, or [width, height]")
    fit: Fit = "stretch"
    mode: Mode | None = None
    max_pixels: Annotated[int, Field(ge=1, le=MOST_PIXELS)] = Field(
        default=USUAL_PIXELS, description="of one image; beyond it, it counts as broken"
    )
    pixel_columns: PixelColumns = Field(default="refuse", description="bbox, mask, …, where pixels are moved")

    @property
    def makes_assets(self) -> bool:
        """Whether every image is re-encoded."""
        return self.resize is not None or self.mode is not None

    @property
    def places(self) -> Rules:
        """The rule for columns like bbox."""
        return self.pixel_columns


def _default_operators() -> Operators:
    return Operators(rotate=Rotate(), shift=Shift(), zoom=Zoom())


class ImageAugmentParams(AugmentParams, of="image"):
    """What is done to the pixels of each copy."""

    kind: Literal["image"] = "image"
    operators: Operators = Field(default_factory=_default_operators)
    fill: Annotated[int, Field(ge=0, le=255)] = Field(default=0, description="grey level beyond the border")
    resampling: Resampling = "bilinear"
    pixel_columns: PixelColumns = Field(default="refuse", description="bbox, mask, …, where pixels are moved")

    @property
    def places(self) -> Rules:
        """The rule for columns like bbox."""
        return self.pixel_columns


class ImageExtractorParams(ParamsSection):
    """An extractor of images."""

    KIND: ClassVar[str] = "image"


class PixelsParams(ImageExtractorParams):
    """The samples themselves."""

    use: Literal["pixels"]
    resize: Size | None = None
    mode: Mode | None = None
    scale: Literal["unit", "none"] = "unit"


class ColorHistParams(ImageExtractorParams):
    """A histogram over a colour cube."""

    use: Literal["colorhist"]
    resize: Size | None = None
    mode: Mode = "RGB"
    bins: Annotated[int, Field(ge=2, le=32)] = 8


class HogParams(ImageExtractorParams):
    """Histograms of oriented gradients."""

    use: Literal["hog"]
    resize: Size | None = None
    mode: Mode | None = None
    cell: Annotated[int, Field(ge=2, le=256)] = 8
    bins: Annotated[int, Field(ge=2, le=36)] = 9
