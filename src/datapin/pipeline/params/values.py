"""Types of values that several sections of `params.yaml` take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

SplitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Fraction = Annotated[float, Field(gt=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


def _as_class_name(given: object) -> object:
    """YAML reads a class called 7 as a number."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


ClassName = Annotated[str, BeforeValidator(_as_class_name)]


def _overall_or_per_class(given: object) -> str:
    return "per class" if isinstance(given, dict) else "overall"


_Count = Annotated[int, Field(ge=0, le=1000)]
Copies = Annotated[
    Annotated[_Count, Tag("overall")] | Annotated[dict[ClassName, _Count], Tag("per class")],
    Discriminator(_overall_or_per_class),
]

_Weight = Annotated[float, Field(gt=0)]
ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("overall")] | Annotated[dict[ClassName, _Weight], Tag("per class")],
    Discriminator(_overall_or_per_class),
]

Rule = Literal["refuse", "keep", "drop"]
Rules = Rule | Mapping[str, Literal["keep", "drop"]]
"""What becomes of columns that name places in assets, where what they name has moved: all alike, or each by its own."""
