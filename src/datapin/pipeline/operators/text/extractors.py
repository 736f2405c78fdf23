"""Feature extractors of texts that ship: hashed n-grams, which need no vocabulary and so no training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from datapin.pipeline.operators.operator import Float32
from datapin.pipeline.operators.text.reading import environment, read_text
from datapin.pipeline.record.fingerprint import library_versions

Level = Literal["word", "char", "char_wb"]
Norm = Literal["l1", "l2", "none"]


class TextDecoder:
    """Bytes to texts."""

    @property
    def environment(self) -> dict[str, str]:
        """Unicode says what small letters and words are; scikit-learn counts and hashes them."""
        return {**environment(), **library_versions(["scikit-learn"], "ngrams")}

    def decode(self, data: bytes) -> tuple[str, str | None]:
        """The text. Raises AssetBroken."""
        read = read_text(data)
        return read.text, read.note


DECODER = TextDecoder()


@dataclass(frozen=True, slots=True)
class Ngrams:
    """Counts of the n-grams of `low` to `high` words or characters, in `size` columns by their hash.

    scikit-learn's HashingVectorizer (MurmurHash3). `signed`: half of the n-grams count down, so that collisions cancel.
    """

    level: Level = "word"
    low: int = 1
    high: int = 2
    size: int = 4096
    norm: Norm = "l2"
    signed: bool = True
    lowercase: bool = True

    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        return {"use": "ngrams", "version": "1", **asdict(self)}

    @property
    def decoder(self) -> TextDecoder:
        """Texts are decoded once for all extractors."""
        return DECODER

    def array_of(self, decoded: str) -> Float32:
        """float32 [size]: of one text alone, so that no other can show in it."""
        return _vectoriser(self).transform([decoded]).toarray()[0].astype(np.float32)  # type: ignore[no-any-return]

    def vectors(self, batch: Float32) -> Float32:
        """float32 [n, size]: they are computed already."""
        return batch


@lru_cache(maxsize=8)
def _vectoriser(ngrams: Ngrams) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer  # half a second, only where texts are read

    return HashingVectorizer(
        analyzer=ngrams.level,
        ngram_range=(ngrams.low, ngrams.high),
        n_features=ngrams.size,
        norm=None if ngrams.norm == "none" else ngrams.norm,
        alternate_sign=ngrams.signed,
        lowercase=ngrams.lowercase,
        dtype=np.float64,
    )
