"""What tests ask of stores, and the program does not: an id by its bytes, every root record of a remote."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from datapin.base.ids import AssetId
from datapin.store.remote import RemoteStore
from datapin.transfer.root_records import RootRecord, list_roots, read_root


def asset_id_of(data: bytes) -> AssetId:
    return AssetId(hashlib.sha256(data).hexdigest())


def read_roots(remote: RemoteStore, keys: Sequence[str] | None = None) -> Iterator[tuple[str, RootRecord]]:
    """The key and content of every record, or of these, that is there."""
    for key in list_roots(remote) if keys is None else keys:
        record = read_root(remote, key)
        if record is not None:
            yield key, record
