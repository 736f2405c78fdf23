"""The operator of prepare for recordings: one rate, one channel, no silence around it, one length."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from datapin.pipeline.operators.audio.libraries import environment
from datapin.pipeline.operators.audio.reading import FULL, Int16, quantised, read_audio, wave_bytes
from datapin.pipeline.operators.audio.resampling import resampled
from datapin.pipeline.operators.operator import AssetBroken, Derived
from datapin.pipeline.record.fingerprint import fingerprint_of

Align = Literal["start", "center"]
_FRAMES_A_SECOND = 100


@dataclass(frozen=True, slots=True)
class NormaliseAudio:
    """16-bit PCM WAV of one channel. `trim_db` below the loudest 10 ms counts as silence; None leaves all."""

    rate: int = 16_000
    trim_db: float | None = 40.0
    length_s: float | None = None
    align: Align = "start"
    min_s: float = 0.01
    max_s: float = 600.0

    @property
    def name(self) -> str:
        """For people."""
        return "normalise-audio"

    @property
    def fingerprint(self) -> str:
        """Code and parameters."""
        return fingerprint_of({"op": self.name, "code": {"version": "1"}, "params": asdict(self)})

    @property
    def environment(self) -> dict[str, str]:
        """Decoders and the resampler."""
        return dict(environment())

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """The recording as WAV. Raises AssetBroken if the asset is none, silent, or one of another length."""
        read = read_audio(data, self.max_s)
        note = read.note
        peak = float(max(-read.samples.min(), read.samples.max()))
        if peak > 1 + 1 / FULL:
            note = note or f"its loudest sample is {peak:.3g}, cut at 1"
        samples = quantised(resampled(read.samples, read.rate, self.rate))
        if not samples.any():
            if self.trim_db is not None:
                raise AssetBroken("holds nothing but silence")
            note = note or "holds nothing but silence"
        if self.trim_db is not None:
            samples = trimmed(samples, self.rate, self.trim_db)
        if len(samples) < self.min_s * self.rate:
            raise AssetBroken(f"lasts {len(samples) / self.rate:.3f} s, expected at least {self.min_s:g} s")
        if self.length_s is not None:
            samples = of_length(samples, max(1, round(self.length_s * self.rate)), self.align)
        return Derived(wave_bytes(samples, self.rate), note=note)


def trimmed(samples: Int16, rate: int, db: float) -> Int16:
    """From the first to the last piece of 10 ms whose energy is at most `db` below that of the loudest.

    Energies are sums of squares of whole numbers, exact in any order. One piece is kept at least.
    """
    step = max(1, rate // _FRAMES_A_SECOND)
    energy = np.array(
        [np.square(samples[at : at + step].astype(np.int64)).sum() for at in range(0, len(samples), step)]
    )
    loud = np.flatnonzero(energy >= energy.max() * 10 ** (-db / 10))
    return samples[loud[0] * step : (loud[-1] + 1) * step]


def of_length(samples: Int16, count: int, align: Align) -> Int16:
    """Exactly `count` samples: what is too long is cut, what is too short gets silence."""
    spare = count - len(samples)
    before = 0 if align == "start" else abs(spare) // 2
    if spare <= 0:
        return samples[before : before + count]
    return np.pad(samples, (before, spare - before))
