"""Feature extractors that ship: pixels, colorhist, hog; and the operator that puts several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from PIL import Image

from datapin.pipeline.operators.images import files as images
from datapin.pipeline.operators.images.hog import hog
from datapin.pipeline.operators.images.prepare import resized
from datapin.pipeline.operators.operator import AssetBroken, Float32, UInt8, Vectors
from datapin.pipeline.operators.user_code import UserFunction
from datapin.pipeline.record.fingerprint import fingerprint_of

_SAMPLES_AT_ONCE = 4 << 20  # bounds the memory of one batched computation


class ImageExtractor(Protocol):
    """A built-in extractor: vectors from images of one shape."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Images are brought to this (width, height) first."""
        ...

    @property
    def mode(self) -> str | None:
        """Images are brought to this mode first."""
        ...

    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        ...

    def vectors(self, batch: UInt8) -> Float32:
        """float32 [n, d] from uint8 [n, height, width, channels]; rows independent of the batch."""
        ...


@dataclass(frozen=True, slots=True)
class _Extractor:
    NAME: ClassVar[str]
    VERSION: ClassVar[str] = "1"

    size: tuple[int, int] | None = None
    mode: str | None = None

    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        params = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"use": self.NAME, "version": self.VERSION, **params}


@dataclass(frozen=True, slots=True)
class Pixels(_Extractor):
    """The samples themselves, row by row; scaled to 0…1 or as they are."""

    NAME = "pixels"
    scale: Literal["unit", "none"] = "unit"

    def vectors(self, batch: UInt8) -> Float32:
        """float32 [n, height · width · channels]."""
        flat: Float32 = batch.reshape(len(batch), -1).astype(np.float32)
        if self.scale == "unit":
            flat /= np.float32(255)
        return flat


@dataclass(frozen=True, slots=True)
class ColorHist(_Extractor):
    """Share of the pixels in each cell of a colour cube with `bins` steps per channel."""

    NAME = "colorhist"
    bins: int = 8

    def vectors(self, batch: UInt8) -> Float32:
        """float32 [n, bins ** channels]."""
        count, height, width, channels = batch.shape
        cells = self.bins**channels
        index = np.zeros((count, height * width), dtype=np.int64)
        for channel in range(channels):
            level = batch[..., channel].reshape(count, -1).astype(np.int64) * self.bins >> 8
            index = index * self.bins + level
        index += np.arange(count)[:, None] * cells
        counts = np.bincount(index.ravel(), minlength=count * cells).reshape(count, cells)
        shares: Float32 = (counts / (height * width)).astype(np.float32)
        return shares


@dataclass(frozen=True, slots=True)
class Hog(_Extractor):
    """Histograms of oriented gradients."""

    NAME = "hog"
    cell: int = 8
    bins: int = 9

    def vectors(self, batch: UInt8) -> Float32:
        """float32 [n, d], see `hog`."""
        return hog(batch, self.cell, self.bins)


@dataclass(frozen=True, slots=True)
class Features:
    """Several extractors, their vectors one after the other."""

    extractors: tuple[ImageExtractor | UserFunction, ...]

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
        """Pillow decides the pixels of a decoded image."""
        if all(isinstance(one, UserFunction) for one in self.extractors):
            return {}
        return {name: images.environment()[name] for name in ("decoder", "pillow")}

    def extract(self, assets: Sequence[bytes]) -> Vectors:
        """Vectors for a batch; an asset that one extractor cannot use has none."""
        problems: list[str | None] = [None] * len(assets)
        notes: list[str | None] = [None] * len(assets)
        values = [b""] * len(assets)
        gathered = [_Gathered(one, len(assets)) for one in self.extractors if not isinstance(one, UserFunction)]
        for position, data in enumerate(assets) if gathered else ():
            try:
                read = images.read_image(data)
            except AssetBroken as error:
                problems[position] = str(error)
                continue
            notes[position] = read.note
            for one in gathered:
                one.add(position, read.image)
        vectors_of_images = iter(gathered)
        for extractor in self.extractors:
            usable = [position for position, problem in enumerate(problems) if problem is None]
            if isinstance(extractor, UserFunction):
                found = extractor.extract([assets[position] for position in usable])
            else:
                vectors = next(vectors_of_images).vectors()
                found = Vectors([vectors[position] for position in usable], [None] * len(usable))
            for position, value, problem in zip(usable, found.values, found.problems, strict=True):
                problems[position] = problem
                values[position] += value or b""
        return Vectors(
            [value if problem is None else None for value, problem in zip(values, problems, strict=True)],
            problems,
            notes,
        )


class _Gathered:
    """Images on their way through one extractor: computed in groups of one shape, none kept larger than it takes them.

    A batch of small files may be gigabytes of pixels.
    """

    def __init__(self, extractor: ImageExtractor, count: int) -> None:
        self._extractor = extractor
        self._vectors: list[bytes | None] = [None] * count
        self._waiting: dict[tuple[int, ...], list[tuple[int, UInt8]]] = {}

    def add(self, position: int, image: Image.Image) -> None:
        """Take one image; compute its group if that is large."""
        size, mode = self._extractor.size, self._extractor.mode
        array = images.samples(resized(images.in_mode(image, mode), size, "stretch"))
        group = self._waiting.setdefault(array.shape, [])
        group.append((position, array))
        if len(group) * array.size >= _SAMPLES_AT_ONCE:
            self._compute(self._waiting.pop(array.shape))

    def vectors(self) -> list[bytes | None]:
        """The vector of each image that was taken, by its position."""
        for group in self._waiting.values():
            self._compute(group)
        self._waiting = {}
        return self._vectors

    def _compute(self, group: list[tuple[int, UInt8]]) -> None:
        vectors = np.ascontiguousarray(self._extractor.vectors(np.stack([array for _, array in group])), dtype="<f4")
        for (position, _), vector in zip(group, vectors, strict=True):
            self._vectors[position] = vector.tobytes()
