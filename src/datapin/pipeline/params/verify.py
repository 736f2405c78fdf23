"""Bounds of `datapin verify`: the section `verify` of params.yaml, so that they are versioned with what they judge."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from datapin.pipeline.params.params import ParamsSection

SECTION = "verify"


class VerifyParams(ParamsSection):
    """Bounds of the hygiene checks."""

    near_duplicate_bits: Annotated[int, Field(ge=0, le=32)] = Field(
        default=4, description="images of two splits whose 64-bit perceptual hashes differ in at most so many bits"
    )
    label_drift: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="total variation distance of the label distribution from the version before, at most"
    )
    split_drift: Annotated[float, Field(ge=0, le=1)] = Field(default=0.05, description="the same for splits")
