"""Spectra of short frames, mel bands and cepstra, in NumPy: float64 throughout, one recording at a time.

No BLAS is called: its sums depend on the number of threads and on the shape of the batch. NumPy's transforms
(pocketfft) and einsum give a frame the same bits whatever stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
FLOOR = 1e-10  # power below which a logarithm does not go: -100 dB
_FRAMES_AT_ONCE = 2048


@dataclass(frozen=True, slots=True)
class Frames:
    """Lengths in samples: of a frame, and from one to the next. The transform is the next power of two."""

    length: int
    hop: int

    @classmethod
    def of_ms(cls, rate: int, window_ms: float, hop_ms: float) -> Frames:
        """From milliseconds."""
        return cls(max(2, round(rate * window_ms / 1000)), max(1, round(rate * hop_ms / 1000)))

    @property
    def transform(self) -> int:
        """Length of the Fourier transform."""
        return 1 << (self.length - 1).bit_length()

    def count(self, samples: int) -> int:
        """How many whole frames there are; a recording shorter than one is filled with silence."""
        return 1 + max(0, samples - self.length) // self.hop


def frame_blocks(samples: npt.NDArray[np.floating], frames: Frames) -> Iterator[Float64]:
    """The frames, float64 [n, length], some at a time."""
    filled = np.pad(samples, (0, max(0, frames.length - len(samples))))
    views = np.lib.stride_tricks.sliding_window_view(filled, frames.length)[:: frames.hop]
    for at in range(0, len(views), _FRAMES_AT_ONCE):
        yield views[at : at + _FRAMES_AT_ONCE].astype(np.float64)


def power_spectra(block: Float64, frames: Frames) -> Float64:
    """|FFT(frame * Hann window)|^2, [n, transform / 2 + 1]; the window is periodic: 0.5 - 0.5 cos(2 pi n / N)."""
    spectra = np.fft.rfft(block * _hann(frames.length), frames.transform, axis=1)
    return np.square(spectra.real) + np.square(spectra.imag)


def mel_of(hertz: float) -> float:
    """2595 log10(1 + f / 700), O'Shaughnessy 1987; what HTK uses."""
    return float(2595 * np.log10(1 + hertz / 700))


@lru_cache(maxsize=8)
def mel_filters(rate: int, transform: int, bands: int, low: float, high: float) -> Float64:
    """Triangles of height 1, float64 [bands, transform / 2 + 1], their corners evenly spaced in mel from low to high.

    Davis & Mermelstein 1980 with the scale of `mel_of`. A band narrower than the bins may be all zero.
    """
    corners = 700 * (10 ** (np.linspace(mel_of(low), mel_of(high), bands + 2) / 2595) - 1)
    bins = np.arange(transform // 2 + 1) * rate / transform
    left, middle, right = (corners[n : n + bands, None] for n in range(3))
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return np.maximum(0.0, np.minimum(rising, falling))


def log_mel(
    samples: npt.NDArray[np.floating], rate: int, frames: Frames, bands: int, low: float, high: float
) -> Float64:
    """10 log10(max(energy of each mel band, 1e-10)) of every frame, float64 [n, bands]."""
    filters = mel_filters(rate, frames.transform, bands, low, high)
    blocks = [
        np.einsum("fk,bk->fb", power_spectra(block, frames), filters, optimize=False)
        for block in frame_blocks(samples, frames)
    ]
    return np.asarray(10 * np.log10(np.maximum(np.concatenate(blocks), FLOOR)))


def cepstra(log_energies: Float64, count: int) -> Float64:
    """The first `count` coefficients of the orthonormal DCT-II of each row, float64 [n, count].

    c_k = s_k * sum_m x_m cos(pi k (m + 1/2) / M), s_0 = sqrt(1 / M), else s_k = sqrt(2 / M); k = 0 counts among them.
    """
    return np.asarray(np.einsum("fb,kb->fk", log_energies, _cosines(log_energies.shape[1], count), optimize=False))


@lru_cache(maxsize=8)
def _cosines(bands: int, count: int) -> Float64:
    k, m = np.arange(count)[:, None], np.arange(bands)
    scale = np.where(k == 0, np.sqrt(1 / bands), np.sqrt(2 / bands))
    return np.asarray(scale * np.cos(np.pi * k * (m + 0.5) / bands))


@lru_cache(maxsize=8)
def _hann(length: int) -> Float64:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))


def statistics(samples: npt.NDArray[np.floating], rate: int, frames: Frames) -> Float64:
    """Six numbers of every frame, float64 [n, 6], of samples x and spectrum p(f) without its constant part:

    root mean square of x; largest |x|; share of neighbours with other signs (zero crossings);
    centroid sum(f p) / sum(p) in Hz; bandwidth sqrt(sum((f - centroid)^2 p) / sum(p)) in Hz;
    roll-off: the least f below which 85 % of sum(p) lies, in Hz. Silence has zeros.
    """
    hertz = np.arange(1, frames.transform // 2 + 1) * rate / frames.transform
    found = []
    for block in frame_blocks(samples, frames):
        power = power_spectra(block, frames)[:, 1:]
        total = power.sum(axis=1)
        whole = np.where(total > FLOOR, total, np.inf)[:, None]  # silence: every share is zero
        share = power / whole
        centroid = (hertz * share).sum(axis=1)
        spread = np.sqrt((np.square(hertz - centroid[:, None]) * share).sum(axis=1))
        reached = share.cumsum(axis=1) >= 0.85
        rolled = np.where(reached.any(axis=1), hertz[reached.argmax(axis=1)], 0.0)
        crossings = ((block[:, 1:] < 0) != (block[:, :-1] < 0)).mean(axis=1)
        level = np.sqrt(np.square(block).mean(axis=1))
        found.append(np.stack([level, np.abs(block).max(axis=1), crossings, centroid, spread, rolled], axis=1))
    return np.concatenate(found)
