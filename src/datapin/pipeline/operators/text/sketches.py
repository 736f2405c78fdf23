"""Sketches of texts whose agreement estimates how much two texts share: MinHash (Broder 1997) of character 5-grams.

Characters and not words, since many scripts have no spaces; after casefolding, NFKC and joining of spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datapin.pipeline.operators.operator import AssetBroken, Vectors
from datapin.pipeline.operators.text.reading import environment, read_text
from datapin.pipeline.record.fingerprint import fingerprint_of

HASHES = 64
_GRAM = 5
_MOST_CHARS = 100_000
_RUNS = re.compile(r"\s+")
# Odd multipliers of multiply-shift hashing (Dietzfelbinger et al. 1997), from a fixed stream.
_FACTORS = np.random.Philox(key=5).random_raw(HASHES) | np.uint64(1)
_OFFSETS = np.random.Philox(key=6).random_raw(HASHES)
_BASE = np.uint64(0x100000001B3)  # the prime of FNV-1a


@dataclass(frozen=True, slots=True)
class Sketches:
    """Each asset's sketch, uint32 [HASHES], as bytes; a problem for what is no text."""

    @property
    def name(self) -> str:
        """For people."""
        return "sketch-text"

    @property
    def fingerprint(self) -> str:
        """Code only."""
        return fingerprint_of({"op": self.name, "code": {"version": "1"}, "hashes": HASHES, "gram": _GRAM})

    @property
    def environment(self) -> dict[str, str]:
        """Unicode says how letters are folded."""
        return environment()

    def extract(self, assets: Sequence[bytes]) -> Vectors:
        """A sketch for each asset."""
        values: list[bytes | None] = []
        problems: list[str | None] = []
        for data in assets:
            try:
                values.append(sketch(read_text(data).text).tobytes())
                problems.append(None)
            except AssetBroken as error:
                values.append(None)
                problems.append(str(error))
        return Vectors(values, problems)


def sketch(text: str) -> npt.NDArray[np.uint32]:
    """uint32 [HASHES]: the least hash of any 5-gram, for each of the hash functions."""
    folded = _RUNS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()[:_MOST_CHARS]
    codes = np.frombuffer(folded.ljust(_GRAM).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    grams = np.zeros(len(codes) - _GRAM + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for place in range(_GRAM):
            grams = grams * _BASE + codes[place : place + len(grams)]
        grams = np.unique(grams)
        least = [int(((grams * factor + offset) >> np.uint64(32)).min()) for factor, offset in _PAIRS]
    return np.array(least, dtype=np.uint32)


_PAIRS = list(zip(_FACTORS, _OFFSETS, strict=True))
