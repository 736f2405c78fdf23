"""Where things lie in a store (docs/format.md#store-layout), and how its file errors are told. Light."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from datapin.base.errors import StorageFailed
from datapin.pack.format import SUFFIX

FORMAT = 1
FORMAT_FILE = "format.json"
PACKS = "packs"
ASSETS = "assets"
INDEX = "index"
QUARANTINE = "quarantine"
DAMAGED = "damaged"
INDEX_SUFFIX = ".parquet"
LOCK_FILE = "publish.lock"

LOOSE = ""  # in place of a pack's name: the asset is a file of its own


@dataclass(frozen=True, slots=True)
class Limits:
    """What decides where an asset goes, in bytes."""

    large_asset: int
    pack_size: int


def pack_key(pack_id: str) -> str:
    """The pack's place below the root of a store."""
    return f"{PACKS}/{pack_id[:2]}/{pack_id}{SUFFIX}"


def loose_key(asset_id: str) -> str:
    """The loose asset's place below the root of a store."""
    return f"{ASSETS}/{asset_id[:2]}/{asset_id}"


def index_key(name: str) -> str:
    """The place of the index file `name` (64 hex) below the root of a store."""
    return f"{INDEX}/{name}{INDEX_SUFFIX}"


@contextmanager
def storage_failures(action: str, root: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an error of the file system below `root` into StorageFailed."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(action, str(root), error.strerror or str(error)) from error
