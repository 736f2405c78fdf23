"""This machine beside the one that made a run's outputs: what differs, and whether equal bytes can be expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from datapin.pipeline.record.record import describe_environment

Reach = Literal["nothing", "files", "numbers", "results"]
"""How far a difference reaches: nowhere; the bytes of files of the same content; last bits of numbers; anything."""

_NUMBERS = "numbers may differ in their last bits"
_MODELS = "trees are built from comparisons and have kept their bytes, linear models have not"
_LIBRARIES: Mapping[str, tuple[Reach, str]] = {
    "datapin": ("results", "stages may compute something else: see its CHANGELOG"),
    "joblib": ("nothing", "it only hands out work, which is done on one thread"),
    "numpy": ("numbers", f"{_NUMBERS}, in features and in models"),
    "pillow": ("results", "images may be decoded, scaled or turned to other pixels, and so become other assets"),
    "pyarrow": ("files", "the bytes of Parquet files may differ, the digests of their rows do not"),
    "scikit-learn": ("results", "models may be fitted in another way: compare the metrics"),
    "scipy": ("numbers", f"{_NUMBERS} where an estimator solves equations"),
    "skops": ("files", "the bytes of the model file may differ, not what the model says"),
    "threadpoolctl": ("nothing", "it only limits threads"),
}
_OTHERS: Mapping[str, tuple[str, Reach, str]] = {
    "python": ("Python", "nothing", "stages do not depend on it; check functions of your own"),
    "implementation": ("the implementation of Python", "results", "libraries are built in another way"),
    "system": ("the operating system", "numbers", _NUMBERS),
    "machine": ("the processor's architecture", "numbers", _NUMBERS),
    "libc": ("the C library", "numbers", f"{_NUMBERS} where exp, log and the like are computed"),
    "zlib": (
        "zlib",
        "results",
        "images are compressed to other bytes, and so become other assets with the same pixels",
    ),
}
_UNKNOWN: tuple[Reach, str] = ("results", "nobody has said yet what depends on it")
_ORDER: tuple[Reach, ...] = ("results", "numbers", "files", "nothing")


@dataclass(frozen=True, slots=True)
class EnvironmentDifference:
    """One thing that is not as recorded. `meaning` says whether it matters for equal bytes; empty text: not there."""

    name: str
    recorded: str
    here: str
    reach: Reach
    meaning: str

    @property
    def cause(self) -> str:
        """What differs, without what it means."""
        return f"{self.name} is {self.here or 'not installed'} here, {self.recorded or 'not there'} in the run record"

    @property
    def sentence(self) -> str:
        """What differs and whether it matters."""
        matters = "does not matter" if self.reach == "nothing" else "matters"
        return f"{self.cause}, which {matters}: {self.meaning}"


def environment_here() -> dict[str, Any]:
    """This machine as the train stage would record it, which has SciPy and its BLAS loaded."""
    import scipy.linalg  # noqa: F401

    return describe_environment()


def environment_differences(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[EnvironmentDifference]:
    """What differs between the environments of two runs, what reaches farthest first."""
    found = [*_libraries(_mapping(recorded.get("libraries")), _mapping(here.get("libraries")))]
    for name in dict.fromkeys([*recorded, *here]):
        if name in ("libraries", "blas", "cpu_features") or recorded.get(name) == here.get(name):
            continue
        title, reach, meaning = _OTHERS.get(name, (name, *_UNKNOWN))
        found.append(EnvironmentDifference(title, _text(recorded.get(name)), _text(here.get(name)), reach, meaning))
    found += _blas(recorded.get("blas"), here.get("blas"))
    found += _cpu_features(recorded.get("cpu_features"), here.get("cpu_features"))
    return sorted(found, key=lambda one: _ORDER.index(one.reach))


def _libraries(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[EnvironmentDifference]:
    names = [name for name in dict.fromkeys([*recorded, *here]) if recorded.get(name) != here.get(name)]
    return [
        EnvironmentDifference(name, _text(recorded.get(name)), _text(here.get(name)), *_LIBRARIES.get(name, _UNKNOWN))
        for name in names
    ]


def _blas(recorded: Any, here: Any) -> list[EnvironmentDifference]:
    was, now = ([_blas_text(blas) for blas in one] if isinstance(one, list) else [] for one in (recorded, here))
    lost, new = sorted(set(was) - set(now)), sorted(set(now) - set(was))
    if not lost and not new:
        return []
    meaning = f"{_NUMBERS} where matrices are multiplied; {_MODELS}"
    return [EnvironmentDifference("BLAS", ", ".join(lost), ", ".join(new), "numbers", meaning)]


def _blas_text(blas: Any) -> str:
    names = ("name", "version", "architecture", "threading")
    return " ".join(str(blas.get(name) or "?") for name in names) if isinstance(blas, dict) else str(blas)


def _cpu_features(recorded: Any, here: Any) -> list[EnvironmentDifference]:
    was, now = ({str(name) for name in one} if isinstance(one, list) else set() for one in (recorded, here))
    if was == now:
        return []
    meaning = f"NumPy takes other loops, so {_NUMBERS}; {_MODELS}"
    texts = _with_and_without(was - now, now - was), _with_and_without(now - was, was - now)
    return [EnvironmentDifference("the processor", *texts, "numbers", meaning)]


def _with_and_without(present: set[str], absent: set[str]) -> str:
    parts = (("with", present), ("without", absent))
    return " and ".join(f"{word} {', '.join(sorted(names))}" for word, names in parts if names)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return "" if value is None else str(value)
