"""What the sections `prepare` and `augment` say for every kind of data. `params.stages` has these names for others.

`kind` in a section, `image` unless it is said, chooses the class that reads it: one in a module of that kind's.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from datapin.pipeline.params.params import OutputPath, ParamsSection, RepoPath, UnknownKind
from datapin.pipeline.params.values import ClassName, Copies, Fraction, Rules, Seed, SplitName

_USUAL = "image"


class SectionOfKind(ParamsSection):
    """A section that each kind of data reads by a class of its own.

    `class ImagePrepareParams(PrepareParams, of="image")` makes one known.
    """

    KINDS: ClassVar[dict[str, type[ParamsSection]]]
    KIND: ClassVar[str]

    def __init_subclass__(cls, of: str | None = None, **given: Any) -> None:
        super().__init_subclass__(**given)
        if of is None:
            cls.KINDS = {}
        else:
            cls.KIND = of
            cls.KINDS[of] = cls

    @classmethod
    def reader_of(cls, given: object) -> type[Self]:
        """The class of the kind that the section names. Raises UnknownKind if there is none."""
        kind = given.get("kind", _USUAL) if isinstance(given, dict) else _USUAL
        if kind not in cls.KINDS:
            raise UnknownKind(str(kind), tuple(cls.KINDS))
        return cls.KINDS[kind]  # type: ignore[return-value]  # its kinds are its subclasses


class PrepareParams(SectionOfKind):
    """Which rows are fit for use, in what form, and which split they are in."""

    kind: str = _USUAL
    input: RepoPath = "data/raw"
    output: OutputPath = "data/prepared"
    on_broken: Literal["refuse", "drop"] = Field(default="refuse", description="assets that do not decode")
    on_unlabelled: Literal["refuse", "drop", "keep"] = "refuse"
    duplicates: Literal["keep", "drop", "refuse"] = Field(default="keep", description="rows with the same asset")
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
    def makes_assets(self) -> bool:
        """Whether every asset is written anew; else the stage only looks at them."""
        return False

    @property
    def places(self) -> Rules | None:
        """What becomes of columns that name places in an asset; None if there are none such of this kind."""
        return None


class AugmentParams(SectionOfKind):
    """More rows from the train rows."""

    kind: str = _USUAL
    input: RepoPath = "data/prepared"
    output: OutputPath = "data/augmented"
    mode: Literal["offline", "online"] = Field(default="offline", description="store the copies, or only their recipe")
    copies: Copies = Field(default=1, description="per train row: one number, or one per class")
    splits: list[SplitName] = Field(default=["train"], description="only train rows are ever augmented")
    seed: Seed = 0

    @property
    def places(self) -> Rules | None:
        """What becomes of columns that name places in an asset; None if there are none such of this kind."""
        return None
