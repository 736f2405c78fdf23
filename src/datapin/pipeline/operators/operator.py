"""What an operator is: a pure function on one asset, with a name and a fingerprint. Operators travel to workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]


class AssetBroken(Exception):
    """This asset cannot be used: not the operator's fault, not a bug, but a finding about the asset."""


class TooManyPixels(AssetBroken):
    """The image has more pixels than are decoded here."""


@dataclass(frozen=True, slots=True)
class Derived:
    """What an operator made of one asset."""

    data: bytes | None  # None: the asset as it is
    pixels: bytes | None = None  # SHA-256 over shape, dtype and raw samples of an image
    is_moved: bool = False  # what it holds lies elsewhere than in the asset as stored: what names places is wrong now
    note: str | None = None  # what was odd about the asset, though there is a result


class Operator(Protocol):
    """What all operators have."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def fingerprint(self) -> str:
        """64 hex: identifies code, parameters and seed."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """Versions of libraries that may change the result's bytes; part of the memo's key only."""
        ...


class AssetOperator(Operator, Protocol):
    """Makes an asset from an asset. The same asset, copy number and operator always give the same bytes."""

    def derive(self, data: bytes, asset_id: str, copy: int) -> Derived:
        """The result for one asset. Raises AssetBroken."""
        ...


class CopyOperator(AssetOperator, Protocol):
    """Makes the copies of augment: copy n of an asset is a function of its id, n and the seed."""

    @property
    def parts(self) -> Mapping[str, Any]:
        """All that it is made of, as JSON has it; the `kind` of data too, unless that is images."""
        ...

    @property
    def moves_places(self) -> bool:
        """Whether some copy may have what the asset holds in other places, see `Derived.is_moved`."""
        ...


@runtime_checkable
class PartnerOperator(CopyOperator, Protocol):
    """Makes copies of which each takes something from a second train asset, its partner, see `partners`."""

    @property
    def takes_partner(self) -> bool:
        """Whether it does so with its parameters; if not, it is a CopyOperator like others."""
        ...

    @property
    def seed(self) -> int:
        """The seed, which the choice of partners depends on, too."""
        ...

    def derive_pair(self, data: bytes, partner: bytes, asset_id: str, partner_id: str, copy: int) -> Derived:
        """Copy number `copy` of an asset with this partner. Raises AssetBroken."""
        ...


@dataclass(frozen=True, slots=True)
class Vectors:
    """Feature vectors of a batch. Exactly one of `values[i]` and `problems[i]` is None."""

    values: Sequence[bytes | None]  # little-endian float32; lengths may differ where the assets do
    problems: Sequence[str | None]
    notes: Sequence[str | None] = ()  # what was odd about assets that have a vector; empty: nothing


class FeatureOperator(Operator, Protocol):
    """Makes one vector from each asset; an asset's vector does not depend on the rest of its batch."""

    def extract(self, assets: Sequence[bytes]) -> Vectors:
        """Vectors for a batch. Raises OperatorRefused if the parameters do not fit the assets."""
        ...
