"""Copies of recordings: each operator is its parameters plus a pure function of samples and uniform numbers.

A copy has as many samples as its parent, so that features keep their shape. Masks are in the signal, not in the
features: a copy is an asset that can be heard, and every extractor meets it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from datapin.pipeline.operators.audio.resampling import resampled
from datapin.pipeline.operators.audio.stretching import stretched
from datapin.pipeline.operators.seeding import raw_stream, uniforms

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AudioDraw:
    """What the random numbers of one asset and copy depend on, and the rate of its samples."""

    asset_id: str
    copy: int
    seed: int
    rate: int


class AudioOperator(BaseModel):
    """The parameters of one operator."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    NAME: ClassVar[str]
    VERSION: ClassVar[int] = 1
    NUMBERS: ClassVar[int] = 1  # that it draws

    probability: float = Field(default=1.0, ge=0.0, le=1.0, description="share of the copies that it applies to")

    def apply(self, samples: Samples, draw: AudioDraw) -> Samples:
        """The samples after this operator, as many as before."""
        count = 1 + self.NUMBERS
        first, *rest = uniforms(self.NAME, self.VERSION, draw.asset_id, draw.copy, draw.seed, count)
        return samples if first >= self.probability else _as_long(self.change(samples, draw, rest), len(samples))

    @abstractmethod
    def change(self, samples: Samples, draw: AudioDraw, numbers: Sequence[float]) -> Samples:
        """The changed samples; another count is cut, or filled with silence at the end."""


class Speed(AudioOperator):
    """Play faster or slower, higher or lower with it (Ko et al. 2015, "Audio augmentation for speech recognition")."""

    NAME = "speed"
    factor: float = Field(default=0.1, ge=0.0, le=0.5, description="from 1 - factor to 1 + factor times as fast")

    def change(self, samples: Samples, draw: AudioDraw, numbers: Sequence[float]) -> Samples:
        """Resample, and go on with the old rate."""
        return _faster(samples, 1 + self.factor * (2 * numbers[0] - 1))


class Pitch(AudioOperator):
    """Play higher or lower, as fast as before."""

    NAME = "pitch"
    semitones: float = Field(default=2.0, ge=0.0, le=12.0, description="at most so many up or down")

    def change(self, samples: Samples, draw: AudioDraw, numbers: Sequence[float]) -> Samples:
        """Stretch by the phase vocoder, then play that much faster."""
        factor = 2 ** (self.semitones * (2 * numbers[0] - 1) / 12)
        return _faster(stretched(samples, factor), factor)


class TimeShift(AudioOperator):
    """Move in time; silence comes in from the other end."""

    NAME = "shift"
    fraction: float = Field(default=0.1, ge=0.0, le=1.0, description="of the length, at most, to either side")

    def change(self, samples: Samples, draw: AudioDraw, numbers: Sequence[float]) -> Samples:
        """Cut at one end, fill at the other."""
        by = round(self.fraction * (2 * numbers[0] - 1) * len(samples))
        return np.pad(samples, (by, 0))[: len(samples)] if by >= 0 else samples[-by:]


class Pauses(AudioOperator):
    """Put in silence; what it pushes beyond the end is lost."""

    NAME = "pauses"
    NUMBERS = 16
    count: int = Field(default=1, ge=1, le=8)
    seconds: float = Field(default=0.1, ge=0.0, le=10.0, description="of each pause, at most")

    def change(self, samples: Samples, draw: AudioDraw, numbers: Sequence[float]) -> Samples:
        """From the last place to the first, so that no pause moves the place of another."""
        drawn = sorted(zip(numbers[: self.count], numbers[8 : 8 + self.count], strict=True), reverse=True)
        for place, share in drawn:
            at, pause = int(place * len(samples)), np.zeros(round(share * self.seconds * draw.rate))
            samples = np.concatenate([samples[:at], pause, samples[at:]])
        return samples


class Gain(AudioOperator):
    """Louder or softer; what is louder than full scale is cut there."""

    NAME = "gain"
    db: float = Field(default=6.0, ge=0.0, le=60.0, description="at most so many decibels up or down")

    def change(self, samples: Samples, draw: AudioDraw, numbers: Sequence[float]) -> Samples:
        """Amplitudes times 10^(dB / 20)."""
        return samples * 10 ** (self.db * (2 * numbers[0] - 1) / 20)


class WhiteNoise(AudioOperator):
    """White noise at a signal-to-noise ratio: 10 log10(mean square of the signal / mean square of the noise)."""

    NAME = "noise"
    low: float = Field(default=10.0, ge=-20.0, le=100.0, description="decibels: the noisiest")
    high: float = Field(default=30.0, ge=-20.0, le=100.0, description="decibels: the least noisy")

    def change(self, samples: Samples, draw: AudioDraw, numbers: Sequence[float]) -> Samples:
        """Each sample of noise is the sum of four 16-bit numbers: near enough to normal, and exact."""
        raw = raw_stream(self.NAME, self.VERSION, draw.asset_id, draw.copy, draw.seed, len(samples))
        summed = raw.view(np.uint16).reshape(-1, 4).sum(axis=1, dtype=np.int64) * 2 - 4 * 0xFFFF
        noise = summed / (2 * np.sqrt(4 * (65_536**2 - 1) / 12))  # variance of four uniform whole numbers
        decibels = self.low + (self.high - self.low) * numbers[0]
        power = np.square(samples).mean() / 10 ** (decibels / 10)
        return np.asarray(samples + noise * np.sqrt(power / np.square(noise).mean()))


class TimeMask(AudioOperator):
    """Silence stretches: SpecAugment's time mask (Park et al. 2019) in the signal."""

    NAME = "time_mask"
    NUMBERS = 16
    count: int = Field(default=1, ge=1, le=8)
    fraction: float = Field(default=0.1, ge=0.0, le=1.0, description="of the length, each at most")

    def change(self, samples: Samples, draw: AudioDraw, numbers: Sequence[float]) -> Samples:
        """Widths and places by chance; stretches may overlap."""
        samples = samples.copy()
        for place, share in zip(numbers[: self.count], numbers[8 : 8 + self.count], strict=True):
            width = round(share * self.fraction * len(samples))
            at = int(place * (len(samples) - width + 1))
            samples[at : at + width] = 0
        return samples


class FrequencyMask(AudioOperator):
    """Take out bands: SpecAugment's frequency mask in the signal, by a Fourier transform of the whole copy."""

    NAME = "frequency_mask"
    NUMBERS = 16
    count: int = Field(default=1, ge=1, le=8)
    fraction: float = Field(default=0.1, ge=0.0, le=1.0, description="of all frequencies, each band at most")

    def change(self, samples: Samples, draw: AudioDraw, numbers: Sequence[float]) -> Samples:
        """Widths and places by chance; bands may overlap."""
        padded = 1 << max(1, len(samples) - 1).bit_length()  # lengths that are prime take long
        spectrum = np.fft.rfft(samples, padded)
        for place, share in zip(numbers[: self.count], numbers[8 : 8 + self.count], strict=True):
            width = round(share * self.fraction * len(spectrum))
            at = int(place * (len(spectrum) - width + 1))
            spectrum[at : at + width] = 0
        return np.fft.irfft(spectrum, padded)[: len(samples)]


class AudioOperators(BaseModel):
    """The operators in use. Those named are applied in this fixed order, whatever the order in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    speed: Speed | None = None
    pitch: Pitch | None = None
    shift: TimeShift | None = None
    pauses: Pauses | None = None
    gain: Gain | None = None
    noise: WhiteNoise | None = None
    time_mask: TimeMask | None = None
    frequency_mask: FrequencyMask | None = None

    @property
    def named(self) -> list[AudioOperator]:
        """Those in use, in order."""
        found = (getattr(self, name) for name in type(self).model_fields)
        return [operator for operator in found if operator is not None]


_FINE = 10_000


def _faster(samples: Samples, factor: float) -> Samples:
    """Played `factor` times as fast, to a ten-thousandth."""
    return resampled(samples, round(factor * _FINE), _FINE).astype(np.float64)


def _as_long(samples: Samples, count: int) -> Samples:
    return samples[:count] if len(samples) >= count else np.pad(samples, (0, count - len(samples)))
