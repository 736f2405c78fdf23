"""What the sections of `params.yaml` may say, stage by stage: whoever reads them imports these names from here.

By then the sections of every kind of data are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from datapin.base.errors import BadSettings
from datapin.pipeline.params.audio import AudioStatisticsParams, LogMelParams, MfccParams
from datapin.pipeline.params.bases import AugmentParams, PrepareParams
from datapin.pipeline.params.image import ColorHistParams, HogParams, PixelsParams
from datapin.pipeline.params.params import OutputPath, ParamsSection, RepoPath, read_params_file
from datapin.pipeline.params.text import NgramsParams

__all__ = [
    "AugmentParams",
    "ExtractorParams",
    "FeaturizeParams",
    "PrepareParams",
    "UserFunctionParams",
    "refuse_other_kinds",
]

_BUILT_IN = ("pixels", "colorhist", "hog", "logmel", "mfcc", "audiostats", "ngrams")
_USER_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")


def _check_use(use: str) -> str:
    if not _USER_FUNCTION.match(use):
        raise ValueError(f"must be {', '.join(_BUILT_IN)}, or module:function")
    return use


class UserFunctionParams(ParamsSection):
    """A function of the user's, `module:function` below the root of the repository."""

    use: Annotated[str, AfterValidator(_check_use)]
    params: dict[str, Any] = Field(default={}, description="keyword arguments")
    libraries: list[str] = Field(default=[], description="a new version of one of these computes everything again")
    inputs: list[RepoPath] = Field(default=[], description="files it reads; a change computes everything again")


def _as_extractor(given: object) -> object:
    return {"use": given} if isinstance(given, str) else given


def _kind_of(given: object) -> str:
    use = given.get("use") if isinstance(given, dict) else getattr(given, "use", None)
    return use if use in _BUILT_IN else "module:function"


ExtractorParams = Annotated[
    Annotated[PixelsParams, Tag("pixels")]
    | Annotated[ColorHistParams, Tag("colorhist")]
    | Annotated[HogParams, Tag("hog")]
    | Annotated[LogMelParams, Tag("logmel")]
    | Annotated[MfccParams, Tag("mfcc")]
    | Annotated[AudioStatisticsParams, Tag("audiostats")]
    | Annotated[NgramsParams, Tag("ngrams")]
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


def refuse_other_kinds(params_file: Path, section: str, dataset: str, kinds: Iterable[str]) -> None:
    """Raises BadSettings where `dataset` is what a stage writes of another kind of data than these."""
    sections = read_params_file(params_file)
    for stage, model in (("prepare", PrepareParams), ("augment", AugmentParams)):
        given = sections.get(stage)
        if not isinstance(given, dict) or given.get("output", model.model_fields["output"].default) != dataset:
            continue
        written = given.get("kind", model.model_fields["kind"].default)
        for kind in kinds:
            if kind != written:
                problem = f"reads {kind} data, but {dataset} is what {stage} writes, of kind: {written}"
                raise BadSettings(params_file.name, section, problem)
