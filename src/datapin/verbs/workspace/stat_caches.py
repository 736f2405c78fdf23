"""Where a repository keeps the stat caches of its source trees."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datapin.base.id_columns import IdMatrix
from datapin.trees.intake.walk import FoundFiles
from datapin.trees.stat_records import StatRecords, write_stat_records
from datapin.verbs.workspace.workspace import Workspace


def stat_cache_path(workspace: Workspace, dataset: str, sources: list[str]) -> Path:
    """Where the stat cache of these source trees for this dataset lies."""
    name = hashlib.sha256("\0".join([dataset, *sources]).encode()).hexdigest()[:24]
    return workspace.cache / "stat" / name


def save_stat_cache(path: Path, found: FoundFiles, stats: npt.NDArray[np.int64], ids: IdMatrix, *, stamp: str) -> None:
    """Remember what is known about these files; a cache that cannot be written only costs time later.

    `stats` must not be newer than the bytes that `ids` name, or a file that changed while it was read would be trusted.
    """
    records = StatRecords(found.keys, stats, ids, settled_before_ns=found.settled_before_ns, stamp=stamp)
    with suppress(OSError):
        write_stat_records(path, records)
