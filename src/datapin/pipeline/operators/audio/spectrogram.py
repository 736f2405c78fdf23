"""What a recording looks like and sounds like: a spectrogram, and the beginning as a WAV file."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from datapin.pipeline.operators.audio.reading import Recording, quantised, read_audio, wave_bytes
from datapin.pipeline.operators.audio.spectra import FLOOR, Frames, power_spectra
from datapin.pipeline.operators.look import Appearance
from datapin.pipeline.operators.operator import UInt8

WIDTH, HEIGHT = 192, 96
LEVELS = 32
MOST_SECONDS = 10
_RANGE_DB = 80.0
_COLOURS = ((0, 0, 12), (60, 15, 110), (170, 45, 95), (240, 120, 40), (252, 250, 190))  # dark to light


def recording_look(data: bytes) -> Appearance:
    """The spectrogram of the whole, and its first seconds to hear. Raises AssetBroken."""
    read = read_audio(data)
    heard = wave_bytes(quantised(read.samples[: MOST_SECONDS * read.rate]), read.rate)
    note = f"{len(read.samples) / read.rate:.2f} s, {read.rate} Hz"
    picture = Image.fromarray(spectrogram(read))
    picture.putpalette(_palette())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return Appearance(note, file.getvalue(), sound=heard)


def recording_looks(before: bytes, after: bytes) -> tuple[Appearance, Appearance]:
    """Both of them. Raises AssetBroken."""
    return recording_look(before), recording_look(after)


def spectrogram(recording: Recording) -> UInt8:
    """uint8 [HEIGHT, WIDTH]: time to the right, frequency upwards from 0 to half the rate, LEVELS - 1 the loudest.

    Power of frames of 25 ms, in decibels, from 80 below the loudest on. However long the recording is, there are
    WIDTH frames, evenly spread.
    """
    frames = Frames(max(2, recording.rate // 40), 1)
    filled = np.pad(recording.samples, (0, max(0, frames.length - len(recording.samples))))
    starts = np.linspace(0, len(filled) - frames.length, WIDTH).astype(np.int64)
    block = filled[starts[:, None] + np.arange(frames.length)].astype(np.float64)
    power = power_spectra(block, frames)
    edges = np.linspace(0, power.shape[1] - 1, HEIGHT).astype(np.int64)
    bands = np.maximum.reduceat(power, edges, axis=1)  # no line falls between two rows of the picture
    level = 10 * np.log10(np.maximum(bands, FLOOR))
    shade = np.clip(1 + (level - level.max()) / _RANGE_DB, 0, 1).T[::-1]
    return np.asarray(np.rint(shade * (LEVELS - 1)), dtype=np.uint8)


def _palette() -> list[int]:
    """Red, green and blue of each level."""
    places, colours = np.linspace(0, LEVELS - 1, len(_COLOURS)), np.array(_COLOURS, dtype=np.float64)
    levels = np.stack([np.interp(np.arange(LEVELS), places, colours[:, n]) for n in range(3)], axis=1)
    return [int(value) for value in levels.reshape(-1)]
