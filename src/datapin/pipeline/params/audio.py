"""What params.yaml may say of recordings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from datapin.pipeline.operators.audio.augment import AudioOperators, Gain, TimeShift, WhiteNoise
from datapin.pipeline.operators.audio.extractors import Summary
from datapin.pipeline.operators.audio.prepare import Align
from datapin.pipeline.params.bases import AugmentParams, PrepareParams
from datapin.pipeline.params.params import ParamsSection

Decibels = Annotated[float, Field(ge=1.0, le=120.0)]
Seconds = Annotated[float, Field(ge=0.001, le=3600.0)]
Milliseconds = Annotated[float, Field(ge=1.0, le=1000.0)]


class AudioPrepareParams(PrepareParams, of="audio"):
    """Rate, length and the silence around recordings."""

    kind: Literal["audio"]
    rate: Annotated[int, Field(ge=1_000, le=192_000)] = Field(default=16_000, description="samples per second")
    trim: Decibels | Literal["none"] = Field(default=40.0, description="dB below the loudest 10 ms: silence, cut off")
    length_s: Seconds | None = Field(default=None, description="all of one length: cut, or filled with silence")
    align: Align = Field(default="start", description="what stays of long recordings, where short ones go")
    min_s: Seconds = Field(default=0.01, description="shorter once trimmed, and the recording counts as broken")
    max_s: Seconds = Field(default=600.0, description="longer, and the recording counts as broken")

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if self.min_s > self.max_s:
            raise ValueError(f"min_s must not exceed max_s, {self.min_s:g} > {self.max_s:g}")
        return self

    @property
    def makes_assets(self) -> bool:
        """Every recording is written anew, as WAV."""
        return True


def _default_operators() -> AudioOperators:
    return AudioOperators(shift=TimeShift(), gain=Gain(), noise=WhiteNoise())


class AudioAugmentParams(AugmentParams, of="audio"):
    """What is done to the sound of each copy."""

    kind: Literal["audio"]
    operators: AudioOperators = Field(default_factory=_default_operators)

    @model_validator(mode="after")
    def _noise_in_order(self) -> Self:
        noise = self.operators.noise
        if noise is not None and noise.low > noise.high:
            raise ValueError(f"noise: low must not exceed high, {noise.low:g} > {noise.high:g}")
        return self


class AudioExtractorParams(ParamsSection):
    """An extractor of recordings: frames of `window_ms`, one every `hop_ms`."""

    KIND: ClassVar[str] = "audio"

    summary: Summary = Field(default="mean_std", description="over time; frames: all in order")
    window_ms: Milliseconds = 25.0
    hop_ms: Milliseconds = 10.0


class AudioStatisticsParams(AudioExtractorParams):
    """Loudness, peak, zero crossings, centroid, bandwidth, roll-off."""

    use: Literal["audiostats"]


class MelParams(AudioExtractorParams):
    """Mel bands."""

    bands: Annotated[int, Field(ge=2, le=512)] = 40
    low_hz: Annotated[float, Field(ge=0.0)] = 20.0
    high_hz: Annotated[float, Field(gt=0.0)] | None = Field(default=None, description="half the rate unless it is said")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.high_hz is not None and self.low_hz >= self.high_hz:
            raise ValueError(f"low_hz must be below high_hz, {self.low_hz:g} >= {self.high_hz:g}")
        return self


class LogMelParams(MelParams):
    """A log-mel spectrogram."""

    use: Literal["logmel"]


class MfccParams(MelParams):
    """Mel-frequency cepstral coefficients."""

    use: Literal["mfcc"]
    coefficients: Annotated[int, Field(ge=1, le=512)] = 13

    @model_validator(mode="after")
    def _no_more_than_bands(self) -> Self:
        if self.coefficients > self.bands:
            raise ValueError(f"coefficients must not exceed bands, {self.coefficients} > {self.bands}")
        return self
