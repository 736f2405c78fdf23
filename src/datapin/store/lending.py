"""A second store that shows some assets of a store and nothing else: links to its packs, an index of its own.

What is put into the second store stays there; the first one is only read.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from datapin.base.errors import AssetsMissing
from datapin.base.files import publish_bytes
from datapin.base.id_columns import IdMatrix
from datapin.base.settings import StoreSettings
from datapin.store.index import IN_LOOSE_FILE, Entries, Index, join_entries
from datapin.store.index_files import encode_index, index_file_name
from datapin.store.layout import index_key, loose_key, pack_key, storage_failures
from datapin.store.store import Store

_MOST_NAMED = 20


def lend(store: Store, ids: IdMatrix, root: Path) -> Store:
    """A new store at `root`, where nothing may lie yet, with these assets of `store` in it.

    Raises AssetsMissing for an asset that `store` lacks, StorageFailed.
    """
    index = store.index
    is_here, rows = index.find(ids)
    if not is_here.all():
        absent = ids[~is_here]
        names = tuple(row.tobytes().hex() for row in absent[:_MOST_NAMED])
        raise AssetsMissing(names=names, count=len(absent))
    lent = Store.create(root, StoreSettings())
    wanted = Index(index.entries.take(np.unique(rows)))
    entries = join_entries([index.entries.take(wanted.find(index.entries.ids)[0])])  # all copies: one may be damaged
    with storage_failures("make a store at", root):
        for key in _keys(entries):
            link = root / key
            link.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(os.path.abspath(store.root / key), link)
        if len(entries):
            data = encode_index(entries)
            publish_bytes(root / index_key(index_file_name(data)), data)
    return lent


def _keys(entries: Entries) -> list[str]:
    used = np.unique(entries.pack)
    packs = [pack_key(entries.packs[number].hex()) for number in used.tolist() if number != IN_LOOSE_FILE]
    loose = entries.ids[entries.pack == IN_LOOSE_FILE]
    return [*packs, *(loose_key(row.tobytes().hex()) for row in loose)]
