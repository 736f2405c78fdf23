"""What params.yaml may say of texts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from datapin.pipeline.operators.text.augment import DeleteWords, SwapWords, TextOperators, TypingErrors
from datapin.pipeline.operators.text.extractors import Level, Norm
from datapin.pipeline.operators.text.prepare import NormalForm, Spaces
from datapin.pipeline.operators.text.reading import AUTO, ENCODINGS
from datapin.pipeline.params.bases import AugmentParams, PrepareParams
from datapin.pipeline.params.params import ParamsSection


def _check_encoding(name: str) -> str:
    if name not in ENCODINGS:
        raise ValueError(f"must be one of {', '.join(ENCODINGS)}")
    return name


class TextPrepareParams(PrepareParams, of="text"):
    """Encoding, normal form and length of the texts."""

    kind: Literal["text"]
    encoding: Annotated[str, AfterValidator(_check_encoding)] = Field(
        default=AUTO, description="of texts without a byte order mark; auto: strict UTF-8"
    )
    normal: NormalForm = "NFC"
    spaces: Spaces = "keep"
    lowercase: bool = False
    min_chars: Annotated[int, Field(ge=1)] = Field(default=1, description="fewer, and the text counts as broken")
    max_chars: Annotated[int, Field(ge=1, le=16 << 20)] = 100_000
    near_duplicates: Annotated[float, Field(ge=0.5, le=1.0)] | Literal["none"] = Field(
        default=0.8, description="share of 5-grams from which on two texts are told as nearly the same"
    )

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars must not exceed max_chars, {self.min_chars} > {self.max_chars}")
        return self

    @property
    def makes_assets(self) -> bool:
        """Every text is written anew, as UTF-8."""
        return True


def _default_operators() -> TextOperators:
    return TextOperators(swap=SwapWords(), delete=DeleteWords(), typos=TypingErrors())


class TextAugmentParams(AugmentParams, of="text"):
    """What is done to the words of each copy."""

    kind: Literal["text"]
    operators: TextOperators = Field(default_factory=_default_operators)

    @model_validator(mode="after")
    def _no_dictionary_online(self) -> Self:
        if self.mode == "online" and self.operators.synonyms is not None:
            raise ValueError("synonyms need mode: offline, a recipe does not hold their dictionary")
        return self


class NgramsParams(ParamsSection):
    """Hashed n-grams of words or characters."""

    KIND: ClassVar[str] = "text"

    use: Literal["ngrams"]
    level: Level = Field(default="word", description="char_wb: characters within words")
    low: Annotated[int, Field(ge=1, le=10)] = 1
    high: Annotated[int, Field(ge=1, le=10)] = 2
    size: Annotated[int, Field(ge=16, le=1 << 20)] = Field(default=4096, description="columns")
    norm: Norm = "l2"
    signed: bool = Field(default=True, description="false for train.scaler: tfidf")
    lowercase: bool = True

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, {self.low} > {self.high}")
        return self
