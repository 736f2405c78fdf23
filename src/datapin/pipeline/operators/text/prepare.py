"""The operator of prepare for texts: one encoding, one normal form, a bounded length."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import asdict, dataclass
from typing import Literal

from datapin.pipeline.operators.operator import AssetBroken, Derived
from datapin.pipeline.operators.text.reading import AUTO, environment, read_text
from datapin.pipeline.record.fingerprint import fingerprint_of

NormalForm = Literal["NFC", "NFKC", "none"]
Spaces = Literal["keep", "collapse"]
_RUNS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class NormaliseText:
    """UTF-8 without a mark, in one normal form. Lengths are in characters (code points) of the result."""

    encoding: str = AUTO
    normal: NormalForm = "NFC"
    spaces: Spaces = "keep"
    lowercase: bool = False
    min_chars: int = 1
    max_chars: int = 100_000

    @property
    def name(self) -> str:
        """For people."""
        return "normalise-text"

    @property
    def fingerprint(self) -> str:
        """Code and parameters."""
        return fingerprint_of({"op": self.name, "code": {"version": "1"}, "params": asdict(self)})

    @property
    def environment(self) -> dict[str, str]:
        """Another version of Unicode may have other normal forms and small letters."""
        return environment()

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """The text as UTF-8. Raises AssetBroken if the asset is none, or one of another length."""
        read = read_text(data, self.encoding)
        text = read.text if self.normal == "none" else unicodedata.normalize(self.normal, read.text)
        if self.lowercase:
            text = text.lower()
        if self.spaces == "collapse":
            text = _RUNS.sub(" ", text).strip()
        if not text.strip():
            raise AssetBroken("holds nothing but space")
        if not self.min_chars <= len(text) <= self.max_chars:
            raise AssetBroken(f"has {len(text)} characters, expected {self.min_chars} to {self.max_chars}")
        return Derived(text.encode(), note=read.note)
