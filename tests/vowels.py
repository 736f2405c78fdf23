"""A small set of recordings: three vowels as a throat makes them, by pulses and resonances. No person spoke them.

    python tests/vowels.py [FOLDER]        writes FOLDER/<vowel>/<number>.wav, default vowels

Formants are the means of 33 men in Peterson & Barney 1952. Written for these tests; public domain (CC0 1.0).
"""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

RATE = 16_000
FORMANTS = {"ee": (270, 2290, 3010), "ah": (730, 1090, 2440), "oo": (300, 870, 2240)}


def vowel(name: str, number: int) -> npt.NDArray[np.int16]:
    """One vowel, about half a second: every number is another pitch, length, loudness and place in silence."""
    chance = np.random.Generator(np.random.Philox(key=[number, sorted(FORMANTS).index(name)]))
    length = int(RATE * (0.3 + 0.3 * chance.random()))
    pitch = 90 + 90 * chance.random() + 10 * np.sin(np.arange(length) / 2000)
    phase = np.cumsum(pitch / RATE)
    spectrum = np.fft.rfft(np.diff(np.floor(phase), prepend=0.0))  # a pulse for each period
    hertz = np.fft.rfftfreq(length, 1 / RATE)
    for formant in FORMANTS[name]:
        centre = formant * (0.95 + 0.1 * chance.random())
        spectrum *= 1 / (1 + ((hertz - centre) / (60 + centre / 20)) ** 2) + 0.02
    sound = np.fft.irfft(spectrum, length) * np.hanning(length) ** 0.3
    before, after = (np.zeros(int(RATE * 0.2 * chance.random())) for _ in range(2))
    whole = np.concatenate([before, sound / np.abs(sound).max() * (0.3 + 0.6 * chance.random()), after])
    return np.asarray(np.rint(whole * 32_000), dtype=np.int16)


def write_vowels(folder: Path, each: int = 14) -> int:
    """Write `each` recordings of every vowel below `folder`; how many there are."""
    for name in FORMANTS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            with wave.open(str(folder / name / f"{number:02d}.wav"), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes(vowel(name, number).astype("<i2").tobytes())
    return each * len(FORMANTS)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("vowels")
    print(f"{write_vowels(target)} recordings in {target}")
