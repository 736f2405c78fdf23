"""Extractors of recordings: log-mel spectrograms, MFCC, statistics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from datapin.pipeline.operators.audio.libraries import environment
from datapin.pipeline.operators.audio.reading import Recording, read_audio
from datapin.pipeline.operators.audio.spectra import Float64, Frames, cepstra, log_mel, statistics
from datapin.pipeline.operators.operator import AssetBroken, Float32

Summary = Literal["frames", "mean_std"]


class AudioDecoder:
    """Assets to recordings."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The decoders, and NumPy's transforms."""
        return environment()

    def decode(self, data: bytes) -> tuple[Recording, str | None]:
        """The recording, and what was odd about it. Raises AssetBroken."""
        read = read_audio(data)
        return read, read.note


AUDIO = AudioDecoder()


@dataclass(frozen=True, slots=True)
class FrameExtractor:
    """Some numbers of each frame; of all frames in order, or their mean and standard deviation over time."""

    USE: ClassVar[str]
    VERSION: ClassVar[int] = 1

    summary: Summary = "mean_std"
    window_ms: float = 25.0
    hop_ms: float = 10.0

    @property
    def decoder(self) -> AudioDecoder:
        """What it works on comes from here."""
        return AUDIO

    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        return {"use": self.USE, "version": self.VERSION, **asdict(self)}

    def array_of(self, decoded: Recording) -> npt.NDArray[Any]:
        """float32 [d]: of one recording alone, so that no other can show in it. Raises AssetBroken."""
        frames = Frames.of_ms(decoded.rate, self.window_ms, self.hop_ms)
        found = self.of_frames(decoded, frames)
        if self.summary == "mean_std":
            found = np.concatenate([found.mean(axis=0), found.std(axis=0)])
        return found.astype(np.float32).reshape(-1)

    def vectors(self, batch: npt.NDArray[Any]) -> Float32:
        """float32 [n, d]: they are computed already."""
        return batch

    @abstractmethod
    def of_frames(self, decoded: Recording, frames: Frames) -> Float64:
        """float64 [frames, numbers]."""


@dataclass(frozen=True, slots=True)
class LogMel(FrameExtractor):
    """Energies of mel bands, in decibels."""

    USE: ClassVar[str] = "logmel"
    bands: int = 40
    low_hz: float = 20.0
    high_hz: float | None = None

    def of_frames(self, decoded: Recording, frames: Frames) -> Float64:
        """float64 [frames, bands]. Raises AssetBroken."""
        return _log_mel(self, decoded, frames)


@dataclass(frozen=True, slots=True)
class Mfcc(LogMel):
    """Mel-frequency cepstral coefficients, Davis & Mermelstein 1980."""

    USE: ClassVar[str] = "mfcc"
    coefficients: int = 13

    def of_frames(self, decoded: Recording, frames: Frames) -> Float64:
        """float64 [frames, coefficients]. Raises AssetBroken."""
        return cepstra(_log_mel(self, decoded, frames), self.coefficients)


@dataclass(frozen=True, slots=True)
class AudioStatistics(FrameExtractor):
    """Loudness, peak, zero crossings, centroid, bandwidth, roll-off."""

    USE: ClassVar[str] = "audiostats"

    def of_frames(self, decoded: Recording, frames: Frames) -> Float64:
        """float64 [frames, 6]."""
        return statistics(decoded.samples, decoded.rate, frames)


def _log_mel(params: LogMel, decoded: Recording, frames: Frames) -> Float64:
    high = decoded.rate / 2 if params.high_hz is None else params.high_hz
    if not params.low_hz < high <= decoded.rate / 2:
        raise AssetBroken(f"{decoded.rate} samples per second, too few for bands from {params.low_hz:g} to {high:g} Hz")
    return log_mel(decoded.samples, decoded.rate, frames, params.bands, params.low_hz, high)
