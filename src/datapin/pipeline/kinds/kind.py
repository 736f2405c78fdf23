"""What a kind of data is to the stages: its operators and extractors, and how people call its assets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa

from datapin.base.findings import Finding
from datapin.manifest.columns.columns import Mask
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.operators.features import Extractor
from datapin.pipeline.operators.look import Appearance, plain_looks
from datapin.pipeline.operators.operator import AssetOperator, CopyOperator

NAMES = ("image", "audio", "text")


def _none(table: pa.Table, params: Any, context: StageContext) -> list[Finding]:
    return []


@dataclass(frozen=True, slots=True)
class DataKind:
    """One kind of data. Its functions take the params of this kind, see `params.stages`."""

    name: str  # as params say it
    noun: str  # one asset, for people
    media_types: frozenset[str]  # of assets that it reads
    media_type: str  # of assets that it makes
    ending: str  # of the keys of copies, with the dot
    endings: str  # regular expression of the endings that these keys leave out
    prepare: Callable[[Any], AssetOperator]
    """What prepare does to each asset."""
    copy: Callable[[Any, Path], CopyOperator]
    """What makes the copies of augment; files that its params name lie below the root of the repository."""
    extractor: Callable[[Any], Extractor]
    """A built-in extractor, from its params."""
    rows_to_decode: Callable[[pa.Table, StageContext], Mask]
    """Which rows must decode where prepare only looks at them. Raises AssetsMissing."""
    findings: Callable[[pa.Table, Any, StageContext], list[Finding]] = _none
    """What prepare tells of its rows once they have their splits."""
    looks: Callable[[bytes, bytes], tuple[Appearance, Appearance]] = plain_looks
    """What an asset and its copy look like to people. Raises AssetBroken."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Settings of prepare that refuse large assets, and how far each may be raised."""


def kind_named(name: str) -> DataKind:
    """The kind that params call so; only its own module is loaded. Raises KeyError."""
    if name not in NAMES:
        raise KeyError(name)
    found: DataKind = import_module(f"datapin.pipeline.kinds.{name}").KIND
    return found
