"""The operator of augment for recordings: all that is done to one copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from datapin.pipeline.operators.audio.augment import AudioDraw, AudioOperators
from datapin.pipeline.operators.audio.libraries import environment, need_libraries
from datapin.pipeline.operators.audio.reading import quantised, read_audio, wave_bytes
from datapin.pipeline.operators.operator import AssetBroken, Derived
from datapin.pipeline.record.fingerprint import fingerprint_of

MOST_COPIED = 4 << 20  # samples; operators hold several float64 arrays of that length, and their spectra


@dataclass(frozen=True, slots=True)
class AugmentAudio:
    """Copy n of a recording is a function of the asset's id, n and the seed."""

    operators: AudioOperators
    seed: int = 0

    @property
    def name(self) -> str:
        """For people."""
        return "augment-audio"

    @property
    def fingerprint(self) -> str:
        """Operators with their versions and parameters, and the seed."""
        return fingerprint_of({"op": self.name, **self.parts})

    @property
    def environment(self) -> dict[str, str]:
        """The decoders, the resampler, and NumPy's transforms."""
        return dict(environment())

    @property
    def parts(self) -> dict[str, Any]:
        """Operators with their versions, and what holds for all of them."""
        operators = {
            operator.NAME: {"version": operator.VERSION, **operator.model_dump()} for operator in self.operators.named
        }
        return {"kind": "audio", "operators": operators, "seed": self.seed}

    @property
    def moves_places(self) -> bool:
        """No column that is known of names places in a recording."""
        return False

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """Copy number `copy` of the recording, as WAV of its rate and length. Raises AssetBroken."""
        read = read_audio(data)
        if len(read.samples) > MOST_COPIED:
            raise AssetBroken(f"{len(read.samples)} samples, expected at most {MOST_COPIED}; set length_s in prepare")
        samples, draw = read.samples.astype(np.float64), AudioDraw(asset_id, copy, self.seed, read.rate)
        for operator in self.operators.named:
            samples = operator.apply(samples, draw)
        return Derived(wave_bytes(quantised(samples), read.rate))


def from_recipe(parts: Mapping[str, Any]) -> AugmentAudio:
    """The operator that the parts of a recipe describe.

    Raises KeyError, TypeError or ValueError for others, Usage where the libraries are missing.
    """
    need_libraries()
    operators = {
        name: {key: value for key, value in params.items() if key != "version"}
        for name, params in parts["operators"].items()
    }
    return AugmentAudio(AudioOperators.model_validate(operators), int(parts["seed"]))
