"""Longer or shorter at the same pitch: the phase vocoder (Flanagan & Golden 1966; Laroche & Dolson 1999)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_WINDOW = 1024
_HOP = _WINDOW // 4
_FRAMES_AT_ONCE = 1024  # a constant, or sums would end otherwise; bounds the memory

Samples = npt.NDArray[np.float64]


def stretched(samples: Samples, factor: float) -> Samples:
    """`factor` (0.5 to 2) times as long, of the same frequencies; float64 [round(factor * n)].

    Output frame k, at k * hop, has the magnitudes of the input around k * hop / factor, and its phases are those of
    frame k - 1 moved on by what they move on there in one hop: no phase needs to be unwrapped.
    """
    wanted = round(factor * len(samples))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    padded = np.concatenate([np.zeros(2 * _WINDOW), samples, np.zeros(4 * _WINDOW)])
    frames = 1 + -(-(wanted + _WINDOW) // _HOP)
    # Frame k is centred on the sample k * hop - window / 2 of the result.
    starts = np.rint((np.arange(frames) * _HOP - _WINDOW // 2) / factor).astype(np.int64) + _WINDOW * 3 // 2
    starts = np.minimum(starts, len(padded) - _WINDOW)
    result, weight = np.zeros(frames * _HOP + _WINDOW), np.zeros(frames * _HOP + _WINDOW)
    phase = np.zeros(_WINDOW // 2 + 1)
    for first in range(0, frames, _FRAMES_AT_ONCE):
        places = starts[first : first + _FRAMES_AT_ONCE, None] + np.arange(_WINDOW)
        now, before = (np.fft.rfft(padded[where] * window, axis=1) for where in (places, places - _HOP))
        steps = np.angle(now) - np.angle(before)
        if not first:
            steps[0] = np.angle(now[0])
        phases = phase + np.cumsum(steps, axis=0)
        phase = np.mod(phases[-1], 2 * np.pi)
        pieces = np.fft.irfft(np.abs(now) * np.exp(1j * phases), _WINDOW, axis=1) * window
        for number, piece in enumerate(pieces):
            at = (first + number) * _HOP
            result[at : at + _WINDOW] += piece
            weight[at : at + _WINDOW] += window**2
    return (result / np.maximum(weight, 1e-3))[_WINDOW : _WINDOW + wanted]
