"""Bytes to samples: which formats, which bounds, how channels become one."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datapin.pipeline.operators.audio.containers import check_container
from datapin.pipeline.operators.operator import AssetBroken, Float32

MOST_BYTES = 128 << 20
MOST_SAMPLES = 24_000_000  # of one channel: 25 minutes at 16 kHz; with MOST_BYTES, a worker stays below 512 MB
MOST_CHANNELS = 16
RATES = (1_000, 384_000)
FULL = 32_768
_FORMATS = {"WAV", "WAVEX", "FLAC", "OGG", "MP3"}
_VALUES_AT_ONCE = 1 << 18

Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Recording:
    """One channel: float32 in [-1, 1], unless the file says more; samples per second; what was odd."""

    samples: Float32
    rate: int
    note: str | None = None


def read_audio(data: bytes, most_seconds: float | None = None) -> Recording:
    """The recording in an asset. Several channels become their mean; what the file is called plays no part.

    Raises AssetBroken for what is no WAV, FLAC, Ogg or MP3 file, is cut off, is empty, too long, of an impossible
    rate, or holds samples that are no numbers.
    """
    import soundfile

    if len(data) > MOST_BYTES:
        raise AssetBroken(f"{len(data)} bytes, expected at most {MOST_BYTES} of one recording")
    odd = check_container(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _check_header(file.format, file.samplerate, file.channels)
            # MP3 and Ogg files may tell only while they are read how long they are: the bound holds for both.
            most = MOST_SAMPLES if most_seconds is None else min(MOST_SAMPLES, int(most_seconds * file.samplerate))
            counted = file.frames if file.format in ("WAV", "WAVEX", "FLAC") else None
            if counted is not None and counted > most:
                raise _too_long(counted, most, file.samplerate)
            samples = _mono(file, most)
            rate = int(file.samplerate)
    except soundfile.LibsndfileError as error:
        raise AssetBroken(f"does not decode: {error.error_string.rstrip('.')}") from None
    if counted is not None and len(samples) < counted:
        raise AssetBroken(f"cut off: the header says {counted} samples, {len(samples)} are there")
    if not len(samples):
        raise AssetBroken("holds no samples")
    if not np.isfinite(samples.min()) or not np.isfinite(samples.max()):  # NaN is the least and the most there is
        raise AssetBroken(f"sample {int(np.flatnonzero(~np.isfinite(samples))[0])} is not a number")
    return Recording(samples, rate, odd)


def _check_header(form: str, rate: int, channels: int) -> None:
    if form not in _FORMATS:
        raise AssetBroken(f"a {form} file, expected WAV, FLAC, Ogg or MP3")
    if not RATES[0] <= rate <= RATES[1]:
        raise AssetBroken(f"{rate} samples per second, expected {RATES[0]} to {RATES[1]}")
    if not 1 <= channels <= MOST_CHANNELS:
        raise AssetBroken(f"{channels} channels, expected 1 to {MOST_CHANNELS}")


def _too_long(seen: int, most: int, rate: int) -> AssetBroken:
    return AssetBroken(f"{seen} samples ({seen / rate:.0f} s), expected at most {most} ({most / rate:.0f} s)")


def _mono(file: object, most: int) -> Float32:
    """Block by block, so that channels lie in memory one block long only."""
    blocks: list[Float32] = []
    total = 0
    length = max(1, _VALUES_AT_ONCE // file.channels)  # type: ignore[attr-defined]  # soundfile has no types
    while len(block := file.read(length, dtype="float32", always_2d=True)):  # type: ignore[attr-defined]  # as above
        total += len(block)
        if total > most:
            raise _too_long(total, most, file.samplerate)  # type: ignore[attr-defined]  # as above
        one = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float64).astype(np.float32)
        blocks.append(np.ascontiguousarray(one))
    found = np.empty(total, dtype=np.float32)
    at = 0
    for number, block in enumerate(blocks):
        found[at : at + len(block)] = block
        at += len(block)
        blocks[number] = block[:0]  # so that nothing is in memory twice
    return found


def quantised(samples: npt.NDArray[np.floating]) -> Int16:
    """16-bit samples: times 32 768, to the nearest whole number, ties to the even one, cut at the ends of the range."""
    found = np.empty(len(samples), dtype=np.int16)
    for at in range(0, len(samples), _VALUES_AT_ONCE):
        part = np.rint(samples[at : at + _VALUES_AT_ONCE].astype(np.float64) * FULL)
        found[at : at + _VALUES_AT_ONCE] = np.clip(part, -FULL, FULL - 1)
    return found


def wave_bytes(samples: Int16, rate: int) -> bytes:
    """A WAV file of one channel of 16-bit PCM: the shortest header there is, 44 bytes, and the samples.

    No encoder has a say, and nothing in it tells of time or program: one byte string for one recording.
    """
    body = samples.astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"".join([struct.pack("<4sI4s", b"RIFF", 36 + len(body), b"WAVE"), form, b"data",
                     struct.pack("<I", len(body)), body])  # fmt: skip
