"""The operator of featurize: extractors side by side, those that ship and functions of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from datapin.pipeline.operators.operator import AssetBroken, Float32, Vectors
from datapin.pipeline.operators.user_code import UserFunction
from datapin.pipeline.record.fingerprint import fingerprint_of

_VALUES_AT_ONCE = 4 << 20  # bounds the memory of one batched computation


class Decoder(Protocol):
    """Makes of an asset what the extractors of one kind of data start from. Compared by identity: one for all."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Versions of libraries that may change what is decoded."""
        ...

    def decode(self, data: bytes) -> tuple[Any, str | None]:
        """The decoded asset, and what was odd about it. Raises AssetBroken."""
        ...


class Extractor(Protocol):
    """A built-in extractor."""

    @property
    def decoder(self) -> Decoder:
        """What it works on comes from here."""
        ...

    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        ...

    def array_of(self, decoded: Any) -> npt.NDArray[Any]:
        """What is computed on, of any shape: assets of one shape are computed together. Raises AssetBroken."""
        ...

    def vectors(self, batch: npt.NDArray[Any]) -> Float32:
        """float32 [n, d] from the arrays of n assets, [n, …]; rows independent of the batch."""
        ...


@dataclass(frozen=True, slots=True)
class Features:
    """Several extractors, their vectors one after the other."""

    extractors: tuple[Extractor | UserFunction, ...]

    @property
    def name(self) -> str:
        """For people."""
        return "+".join(str(extractor.identity()["use"]) for extractor in self.extractors)

    @property
    def fingerprint(self) -> str:
        """Code and parameters of every extractor, in order."""
        return fingerprint_of({"op": "features", "extractors": [one.identity() for one in self.extractors]})

    @property
    def environment(self) -> dict[str, str]:
        """That of all decoders; of the user's functions nothing but their code is known."""
        return {name: text for decoder in self._decoders() for name, text in decoder.environment.items()}

    def extract(self, assets: Sequence[bytes]) -> Vectors:
        """Vectors for a batch; an asset that one extractor cannot use has none."""
        problems: list[str | None] = [None] * len(assets)
        notes: list[str | None] = [None] * len(assets)
        values = [b""] * len(assets)
        gathered = {number: _Gathered(one, len(assets)) for number, one in self._built_in()}
        for decoder in self._decoders():
            users = [one for one in gathered.values() if one.extractor.decoder is decoder]
            for position, data in enumerate(assets):
                if problems[position] is None:
                    problems[position], notes[position] = _decoded(decoder, data, position, users, notes[position])
        for number, extractor in enumerate(self.extractors):
            usable = [position for position, problem in enumerate(problems) if problem is None]
            if isinstance(extractor, UserFunction):
                found = extractor.extract([assets[position] for position in usable])
            else:
                vectors = gathered[number].vectors()
                found = Vectors([vectors[position] for position in usable], [None] * len(usable))
            for position, value, problem in zip(usable, found.values, found.problems, strict=True):
                problems[position] = problem
                values[position] += value or b""
        return Vectors(
            [value if problem is None else None for value, problem in zip(values, problems, strict=True)],
            problems,
            notes,
        )

    def _built_in(self) -> Iterable[tuple[int, Extractor]]:
        return ((n, one) for n, one in enumerate(self.extractors) if not isinstance(one, UserFunction))

    def _decoders(self) -> list[Decoder]:
        return list({id(one.decoder): one.decoder for _, one in self._built_in()}.values())


def _decoded(
    decoder: Decoder, data: bytes, position: int, users: Sequence[_Gathered], note: str | None
) -> tuple[str | None, str | None]:
    """Hand one asset to the extractors that use this decoder: its problem, and its note."""
    try:
        decoded, odd = decoder.decode(data)
        for one in users:
            one.add(position, decoded)
    except AssetBroken as error:
        return str(error), note
    return None, note or odd


class _Gathered:
    """Assets on their way through one extractor: computed in groups of one shape, none kept larger than it takes them.

    A batch of small files may be gigabytes of pixels.
    """

    def __init__(self, extractor: Extractor, count: int) -> None:
        self.extractor = extractor
        self._vectors: list[bytes | None] = [None] * count
        self._waiting: dict[tuple[int, ...], list[tuple[int, npt.NDArray[Any]]]] = {}

    def add(self, position: int, decoded: Any) -> None:
        """Take one asset; compute its group if that is large. Raises AssetBroken."""
        array = self.extractor.array_of(decoded)
        group = self._waiting.setdefault(array.shape, [])
        group.append((position, array))
        if len(group) * array.size >= _VALUES_AT_ONCE:
            self._compute(self._waiting.pop(array.shape))

    def vectors(self) -> list[bytes | None]:
        """The vector of each asset that was taken, by its position."""
        for group in self._waiting.values():
            self._compute(group)
        self._waiting = {}
        return self._vectors

    def _compute(self, group: list[tuple[int, npt.NDArray[Any]]]) -> None:
        vectors = np.ascontiguousarray(self.extractor.vectors(np.stack([array for _, array in group])), dtype="<f4")
        for (position, _), vector in zip(group, vectors, strict=True):
            self._vectors[position] = vector.tobytes()
