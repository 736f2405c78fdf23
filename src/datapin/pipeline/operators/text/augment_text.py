"""The operator of augment for texts: all that is done to one copy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapin.base.documents import read_bounded
from datapin.base.errors import BadDocument, OperatorRefused
from datapin.pipeline.operators.operator import Derived
from datapin.pipeline.operators.text.augment import Pieces, Synonyms, TextDraw, TextOperators
from datapin.pipeline.operators.text.reading import environment, read_text
from datapin.pipeline.record.fingerprint import fingerprint_of

MOST_DICTIONARY_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class AugmentText:
    """Copy n of a text is a function of the asset's id, n and the seed."""

    operators: TextOperators
    seed: int = 0
    synonyms: Synonyms = field(default_factory=dict, repr=False)
    dictionary: str | None = None  # SHA-256 of the file that they come from

    @property
    def name(self) -> str:
        """For people."""
        return "augment-text"

    @property
    def fingerprint(self) -> str:
        """Operators with their versions and parameters, what the dictionary holds, and the seed."""
        return fingerprint_of({"op": self.name, **self.parts})

    @property
    def environment(self) -> dict[str, str]:
        """Unicode says what is a word."""
        return environment()

    @property
    def parts(self) -> dict[str, Any]:
        """Operators with their versions, and what holds for all of them."""
        operators = {
            operator.NAME: {"version": operator.VERSION, **operator.model_dump()} for operator in self.operators.named
        }
        told = {} if self.dictionary is None else {"dictionary": self.dictionary}
        return {"kind": "text", "operators": operators, "seed": self.seed, **told}

    @property
    def moves_places(self) -> bool:
        """No column names places in a text."""
        return False

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """Copy number `copy` of the text, as UTF-8. Raises AssetBroken."""
        pieces, draw = Pieces.of(read_text(data).text), TextDraw(asset_id, copy, self.seed)
        for operator in self.operators.named:
            operator.apply(pieces, draw, self.synonyms)
        return Derived(pieces.text.encode())


def from_recipe(parts: Mapping[str, Any]) -> AugmentText:
    """The operator that the parts of a recipe describe. Raises KeyError, TypeError or ValueError for others."""
    operators = {
        name: {key: value for key, value in params.items() if key != "version"}
        for name, params in parts["operators"].items()
    }
    found = TextOperators.model_validate(operators)
    if found.synonyms is not None:
        raise ValueError("a recipe does not hold the dictionary of synonyms")
    return AugmentText(found, int(parts["seed"]))


def read_synonyms(root: Path, name: str) -> tuple[dict[str, tuple[str, ...]], str]:
    """The dictionary in the file `name` below `root`, words in small letters, and its SHA-256.

    Raises OperatorRefused.
    """
    try:
        data = read_bounded(root / name, MOST_DICTIONARY_BYTES)
        lines = data.decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise OperatorRefused("synonyms", f"there is no file {name}") from None
    except (OSError, BadDocument, UnicodeDecodeError) as error:
        raise OperatorRefused("synonyms", f"{name} is no UTF-8 text: {error}") from None
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, 1):
        word, *others = (part.strip() for part in line.split("\t"))
        if not line.strip() or line.startswith("#"):
            continue
        if not word or not others or not all(others):
            raise OperatorRefused("synonyms", f"{name}, line {number}: expected a word and synonyms, tabs between them")
        found[word.lower()] = (*found.get(word.lower(), ()), *others)
    return found, hashlib.sha256(data).hexdigest()
