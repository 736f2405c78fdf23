"""What the sections `prepare`, `augment` and `featurize` of params.yaml may say."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from datapin.pipeline.operators.images.augment import Operators, Resampling, Rotate, Shift, Zoom
from datapin.pipeline.operators.images.decoding import MOST_PIXELS, USUAL_PIXELS
from datapin.pipeline.operators.images.prepare import Fit
from datapin.pipeline.params.params import OutputPath, ParamsSection, RepoPath

Side = Annotated[int, Field(ge=1, le=16_384)]
Mode = Literal["L", "RGB"]
SplitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Fraction = Annotated[float, Field(gt=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


def _as_class_name(given: object) -> object:
    """YAML reads a class called 7 as a number."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


ClassName = Annotated[str, BeforeValidator(_as_class_name)]


def _kind_of_copies(given: object) -> str:
    return "per class" if isinstance(given, dict) else "overall"


_Count = Annotated[int, Field(ge=0, le=1000)]
Copies = Annotated[
    Annotated[_Count, Tag("overall")] | Annotated[dict[ClassName, _Count], Tag("per class")],
    Discriminator(_kind_of_copies),
]

_USER_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")


def _check_use(use: str) -> str:
    if not _USER_FUNCTION.match(use):
        raise ValueError("must be pixels, colorhist, hog, or module:function")
    return use


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


class PrepareParams(ParamsSection):
    """Which rows are fit for use, in what form, and which split they are in."""

    input: RepoPath = "data/raw"
    output: OutputPath = "data/prepared"
    on_broken: Literal["refuse", "drop"] = Field(default="refuse", description="images that do not decode")
    on_unlabelled: Literal["refuse", "drop", "keep"] = "refuse"
    duplicates: Literal["keep", "drop", "refuse"] = Field(default="keep", description="rows with the same asset")
    resize: Size | None = Field(default=None, description="pixels: one number, or [width, height]")
    fit: Fit = "stretch"
    mode: Mode | None = None
    max_pixels: Annotated[int, Field(ge=1, le=MOST_PIXELS)] = Field(
        default=USUAL_PIXELS, description="of one image; beyond it, it counts as broken"
    )
    pixel_columns: PixelColumns = Field(default="refuse", description="bbox, mask, …, where pixels are moved")
    split: dict[SplitName, Fraction] = Field(default={"train": 0.8, "val": 0.1, "test": 0.1})
    keep_split: bool = Field(default=False, description="keep the input's own split column")
    seed: Seed = 0
    classes: list[ClassName] | None = Field(
        default=None, min_length=1, description="pins the class index to this order"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = sum(self.split.values())
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"split: the fractions must add up to 1, they add up to {total:g}")
        if "train" not in self.split:
            raise ValueError("split: one split must be called train")
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a class is named twice")
        return self

    @property
    def makes_images(self) -> bool:
        """Whether every asset is re-encoded."""
        return self.resize is not None or self.mode is not None


def _default_operators() -> Operators:
    return Operators(rotate=Rotate(), shift=Shift(), zoom=Zoom())


class AugmentParams(ParamsSection):
    """More rows from the train rows."""

    input: RepoPath = "data/prepared"
    output: OutputPath = "data/augmented"
    mode: Literal["offline", "online"] = Field(default="offline", description="store the copies, or only their recipe")
    copies: Copies = Field(default=1, description="per train row: one number, or one per class")
    splits: list[SplitName] = Field(default=["train"], description="only train rows are ever augmented")
    operators: Operators = Field(default_factory=_default_operators)
    seed: Seed = 0
    fill: Annotated[int, Field(ge=0, le=255)] = Field(default=0, description="grey level beyond the border")
    resampling: Resampling = "bilinear"
    pixel_columns: PixelColumns = Field(default="refuse", description="bbox, mask, …, where pixels are moved")


class PixelsParams(ParamsSection):
    """The samples themselves."""

    use: Literal["pixels"]
    resize: Size | None = None
    mode: Mode | None = None
    scale: Literal["unit", "none"] = "unit"


class ColorHistParams(ParamsSection):
    """A histogram over a colour cube."""

    use: Literal["colorhist"]
    resize: Size | None = None
    mode: Mode = "RGB"
    bins: Annotated[int, Field(ge=2, le=32)] = 8


class HogParams(ParamsSection):
    """Histograms of oriented gradients."""

    use: Literal["hog"]
    resize: Size | None = None
    mode: Mode | None = None
    cell: Annotated[int, Field(ge=2, le=256)] = 8
    bins: Annotated[int, Field(ge=2, le=36)] = 9


class UserFunctionParams(ParamsSection):
    """A function of the user's, `module:function` below the root of the repository."""

    use: Annotated[str, AfterValidator(_check_use)]
    params: dict[str, Any] = Field(default={}, description="keyword arguments")
    libraries: list[str] = Field(default=[], description="a new version of one of these computes everything again")
    inputs: list[RepoPath] = Field(default=[], description="files it reads; a change computes everything again")


_BUILT_IN = ("pixels", "colorhist", "hog")


def _as_extractor(given: object) -> object:
    return {"use": given} if isinstance(given, str) else given


def _kind_of(given: object) -> str:
    use = given.get("use") if isinstance(given, dict) else getattr(given, "use", None)
    return use if use in _BUILT_IN else "module:function"


ExtractorParams = Annotated[
    Annotated[PixelsParams, Tag("pixels")]
    | Annotated[ColorHistParams, Tag("colorhist")]
    | Annotated[HogParams, Tag("hog")]
    | Annotated[UserFunctionParams, Tag("module:function")],
    Discriminator(_kind_of),
    BeforeValidator(_as_extractor),
]


def _pixels() -> list[ExtractorParams]:
    return [PixelsParams(use="pixels")]


class FeaturizeParams(ParamsSection):
    """One vector per row."""

    input: RepoPath = "data/augmented"
    output: OutputPath = "data/features"
    extract: list[ExtractorParams] = Field(default_factory=_pixels, min_length=1)
    batch: Annotated[int, Field(ge=1, le=4096)] = Field(default=128, description="assets at once; never in the result")
