"""What a verb is about to read is here, or is brought now."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from datapin.base.errors import AssetsMissing, Locked, StorageFailed
from datapin.base.id_columns import IdMatrix, ids_to_hex
from datapin.verbs.workspace.workspace import Workspace

if TYPE_CHECKING:
    from datapin.store.remote import RemoteStore


def ensure_here(workspace: Workspace, ids: IdMatrix, *, what: str, keys: pa.Array | None = None) -> None:
    """Fetch those of the assets `ids` that are not in the local store; `what` says for whom, `keys` names them.

    Raises AssetsMissing if there is no remote, if it does not answer or lacks one; DamagedAsset, StorageFailed.
    """
    store = workspace.store
    if not store.missing(ids).any():
        return
    with suppress(StorageFailed, Locked):
        store.take_in_strays()
    count = int(store.missing(ids).sum())
    if not count:
        return
    # Late: mostly all is here, and then no remote is needed (decision 0015).
    from datapin.transfer.lazy import Lazy
    from datapin.verbs.workspace.place import remote_place

    def remote() -> RemoteStore:
        place = remote_place(workspace)
        workspace.progress.note(f"{what}: fetching {count} asset(s) from {place.name}")
        return place.store

    lazy = Lazy(store, remote, jobs=workspace.jobs, progress=workspace.progress)
    try:
        lazy.ensure(ids)
    except AssetsMissing as error:
        if (damage := store.known_damage(ids)) is not None:
            raise damage from None
        raise error if keys is None else _by_key(error, ids, keys) from None


def _by_key(error: AssetsMissing, ids: IdMatrix, keys: pa.Array) -> AssetsMissing:
    rows = pa.table({"id": ids_to_hex(ids), "key": keys})
    wanted = [rows["id"].index(name).as_py() for name in error.names]
    names = tuple(keys[row].as_py() if row >= 0 else name for row, name in zip(wanted, error.names, strict=True))
    return AssetsMissing(names=names, count=error.count, where=error.where, reason=error.reason)
