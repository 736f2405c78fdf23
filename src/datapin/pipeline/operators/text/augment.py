"""Copies of texts with edits: each operator is its parameters plus a pure function of uniform numbers and words.

Words are runs of letters and digits of any script; what stands between them stays where it is.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from datapin.pipeline.operators.seeding import uniforms

Synonyms = Mapping[str, Sequence[str]]
_PIECES = re.compile(r"\w+|\W+")
# Keys that lie beside each other on the usual Latin keyboard; other letters are doubled, dropped or swapped.
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BESIDE = {
    letter: "".join(row[max(0, at - 1) : at] + row[at + 1 : at + 2]) for row in _ROWS for at, letter in enumerate(row)
}


@dataclass(frozen=True, slots=True)
class TextDraw:
    """The random numbers of one asset and copy."""

    asset_id: str
    copy: int
    seed: int


@dataclass(slots=True)
class Pieces:
    """A text in words and what stands between them."""

    parts: list[str]

    @classmethod
    def of(cls, text: str) -> Pieces:
        """The pieces of a text."""
        return cls(_PIECES.findall(text))

    @property
    def words(self) -> list[int]:
        """Where the words are."""
        return [at for at, part in enumerate(self.parts) if _is_word(part)]

    @property
    def text(self) -> str:
        """The pieces together."""
        return "".join(self.parts)


def _is_word(part: str) -> bool:
    return part[:1].isalnum() or part[:1] == "_"


class TextOperator(BaseModel):
    """The parameters of one operator."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    NAME: ClassVar[str]
    VERSION: ClassVar[int] = 1

    probability: float = Field(default=1.0, ge=0.0, le=1.0, description="share of the copies that it applies to")
    fraction: float = Field(default=0.05, ge=0.0, le=1.0, description="share of the words that it changes")

    def apply(self, pieces: Pieces, draw: TextDraw, synonyms: Synonyms) -> None:
        """Change the pieces of one copy; two numbers are drawn for each word, whatever becomes of the others."""
        words = pieces.words
        first, *rest = uniforms(self.NAME, self.VERSION, draw.asset_id, draw.copy, draw.seed, 1 + 2 * len(words))
        if first >= self.probability:
            return
        chosen = [(at, rest[2 * n + 1]) for n, at in enumerate(words) if rest[2 * n] < self.fraction]
        self.change(pieces, chosen, words, synonyms)

    @abstractmethod
    def change(
        self, pieces: Pieces, chosen: Sequence[tuple[int, float]], words: Sequence[int], synonyms: Synonyms
    ) -> None:
        """Change the chosen words (place, uniform number)."""


class SynonymWords(TextOperator):
    """Put in place of a word one that the user's dictionary gives for it; its capital letters are kept."""

    NAME = "synonyms"
    file: str = Field(min_length=1, description="a word a line, its synonyms after it, separated by tabs; UTF-8")
    fraction: float = Field(default=0.1, ge=0.0, le=1.0, description="share of the words that it changes")

    def change(
        self, pieces: Pieces, chosen: Sequence[tuple[int, float]], words: Sequence[int], synonyms: Synonyms
    ) -> None:
        """Replace words that the dictionary has."""
        for at, uniform in chosen:
            word = pieces.parts[at]
            others = synonyms.get(word.lower(), ())
            if others:
                pieces.parts[at] = _cased(others[int(uniform * len(others))], word)


class InsertWords(TextOperator):
    """Write some words of the text a second time, elsewhere."""

    NAME = "insert"

    def change(
        self, pieces: Pieces, chosen: Sequence[tuple[int, float]], words: Sequence[int], synonyms: Synonyms
    ) -> None:
        """Put copies of the chosen words before others."""
        added = [(words[int(uniform * len(words))], pieces.parts[at]) for at, uniform in chosen]
        for at, word in sorted(added, key=lambda one: -one[0]):
            pieces.parts[at:at] = [word, " "]


class SwapWords(TextOperator):
    """Exchange words with the one after them."""

    NAME = "swap"

    def change(
        self, pieces: Pieces, chosen: Sequence[tuple[int, float]], words: Sequence[int], synonyms: Synonyms
    ) -> None:
        """Exchange neighbours."""
        after = dict(pairwise(words))
        for at, _ in chosen:
            if at in after:
                other = after[at]
                pieces.parts[at], pieces.parts[other] = pieces.parts[other], pieces.parts[at]


class DeleteWords(TextOperator):
    """Leave words out, never all."""

    NAME = "delete"

    def change(
        self, pieces: Pieces, chosen: Sequence[tuple[int, float]], words: Sequence[int], synonyms: Synonyms
    ) -> None:
        """Take out words, each with the space before it."""
        gone = [at for at, _ in chosen]
        if len(gone) == len(words):
            gone = gone[1:]
        for at in reversed(gone):
            has_space = at > 0 and pieces.parts[at - 1].isspace()
            del pieces.parts[at - has_space : at + 1]


class TypingErrors(TextOperator):
    """Hit the key beside, twice, not at all, or two keys in the wrong order: one error in each chosen word."""

    NAME = "typos"
    fraction: float = Field(default=0.03, ge=0.0, le=1.0, description="share of the words that it changes")

    def change(
        self, pieces: Pieces, chosen: Sequence[tuple[int, float]], words: Sequence[int], synonyms: Synonyms
    ) -> None:
        """Make one error in each of them."""
        for at, uniform in chosen:
            pieces.parts[at] = _mistyped(pieces.parts[at], uniform)


class TextOperators(BaseModel):
    """The operators in use. Those named are applied in this fixed order, whatever the order in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    synonyms: SynonymWords | None = None
    insert: InsertWords | None = None
    swap: SwapWords | None = None
    delete: DeleteWords | None = None
    typos: TypingErrors | None = None

    @property
    def named(self) -> list[TextOperator]:
        """Those in use, in order."""
        found = (getattr(self, name) for name in type(self).model_fields)
        return [operator for operator in found if operator is not None]


def _cased(word: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def _mistyped(word: str, uniform: float) -> str:
    """The word with one error; the number says where, and which of four."""
    step = uniform * 4
    kind, place = int(step), int((step - int(step)) * len(word))
    letter = word[place]
    if kind == 0 and letter.lower() in _BESIDE:
        near = _BESIDE[letter.lower()]
        return word[:place] + _cased(near[place % len(near)], letter) + word[place + 1 :]
    if kind == 1 and len(word) > 1:
        return word[:place] + word[place + 1 :]
    if kind == 2 and place + 1 < len(word):
        return word[:place] + word[place + 1] + letter + word[place + 2 :]
    return word[:place] + letter + word[place:]
