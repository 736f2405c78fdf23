"""What a transfer did, or would do."""

from __future__ import annotations

from dataclasses import dataclass

from datapin.base.errors import DatapinError
from datapin.transfer.wanted import PushVersion


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one version was not pushed; all others were."""

    version: PushVersion
    error: DatapinError


@dataclass(frozen=True, slots=True)
class TransferReport:
    """Assets that moved and their stored bytes, packs and loose files they moved in, requests made, assets skipped.

    `skipped` counts the asked assets that were there already. A dry run counts what would move, and no requests.
    """

    assets: int
    packs: int
    bytes: int
    requests: int
    skipped: int
    failures: tuple[Failure, ...] = ()
