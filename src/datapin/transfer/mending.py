"""What a remote holds damaged, and its index made good: only `push --again` does this (docs/reliability.md).

Objects are named by the hash of their bytes. One that is not what its name says serves nobody as it is; it is replaced
only by bytes that were hashed here, and what cannot be replaced stays as it lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from datapin.base import log
from datapin.base.errors import DamagedPack, ObjectMissing
from datapin.pack.format import RECORD_BYTES, TRAILER_BYTES, decode_trailer
from datapin.pack.table import read_table
from datapin.store.index import (
    IN_LOOSE_FILE,
    NO_ENTRIES,
    Entries,
    Index,
    entries_of_loose,
    entries_of_table,
    join_entries,
)
from datapin.store.layout import index_key, loose_key, pack_key
from datapin.store.remote import RemoteStore
from datapin.transfer.survey import Objects, Survey
from datapin.transfer.threads import map_in_order

GONE = "is not there"
_READS_AT_ONCE = 8


def bad_packs(remote: RemoteStore, index: Index, listed: Mapping[bytes, int]) -> dict[bytes, str]:
    """Packs that `index` names and that are not there, or not as long as they must be, and what is wrong with each.

    `listed` has the size of each pack that is there. Raises RemoteUnreachable.
    """
    entries = index.entries
    is_packed = entries.pack != IN_LOOSE_FILE
    places = entries.pack[is_packed]
    ends = np.zeros(len(entries.packs), dtype=np.int64)
    np.maximum.at(ends, places, (entries.offset + entries.length)[is_packed])
    counts = np.bincount(places, minlength=len(entries.packs))
    bad = {}
    for pack, end, count in zip(entries.packs, ends.tolist(), counts.tolist(), strict=True):
        size = listed.get(pack)
        if size is None:
            bad[pack] = GONE
        elif size != end + count * RECORD_BYTES + TRAILER_BYTES:
            problem = _trailer_problem(remote, pack, size, end)
            if problem:
                bad[pack] = problem
    return bad


def bad_loose(index: Index, listed: Mapping[bytes, int]) -> dict[bytes, str]:
    """The same for assets that are objects of their own."""
    entries = index.entries
    bad = {}
    for row in np.flatnonzero(entries.pack == IN_LOOSE_FILE).tolist():
        name, expected = entries.ids[row].tobytes(), int(entries.length[row])
        size = listed.get(name)
        if size is None:
            bad[name] = GONE
        elif size != expected:
            bad[name] = f"has {size} bytes, expected {expected}"
    return bad


def mend_index(remote: RemoteStore, survey: Survey) -> None:
    """Make the remote's index readable again: each file is read, and one that is damaged replaced.

    It comes from the copy that was read here while it was whole; else what it may have named is read from the tables
    of the packs that are there. Raises RemoteUnreachable.
    """
    names = list(survey.index)
    is_damaged = map_in_order(remote.is_index_damaged, names, jobs=_READS_AT_ONCE)
    damaged = [name for name, is_bad in zip(names, is_damaged, strict=True) if is_bad]
    lost = [name for name in damaged if not remote.put_index_back(name)]
    if not lost:
        return
    named = set(remote.index(survey.index.keys() - lost).entries.packs)
    unnamed = [one for one in survey.packs.items() if one[0] not in named]
    tables = list(map_in_order(lambda one: _entries_of_pack(remote, *one), unnamed, jobs=_READS_AT_ONCE))
    loose = entries_of_loose(list(survey.loose), list(survey.loose.values()))
    published = remote.publish_index(join_entries([*tables, loose]), lost)
    for name in {*lost} - {published}:
        log.step("push", "index file %s was damaged; the packs say what it named", name)
        remote.backend.delete(index_key(name))


def damaged_objects(remote: RemoteStore, survey: Survey) -> Objects:
    """Packs and loose assets that are there and are not what the index says, or were found so by a deep check here.

    Raises DamagedPack for an index that cannot be read, RemoteUnreachable.
    """
    index = remote.index(survey.index)
    packs = {pack for pack, problem in bad_packs(remote, index, survey.packs).items() if problem != GONE}
    loose = {name for name, problem in bad_loose(index, survey.loose).items() if problem != GONE}
    noted = remote.noted_damage()

    def is_damaged(key: str, raw_id: bytes) -> bool:
        return key in noted and _is_damaged(remote, key, raw_id)

    packs |= {pack for pack in survey.packs if is_damaged(pack_key(pack.hex()), pack)}
    loose |= {name for name in survey.loose if is_damaged(loose_key(name.hex()), name)}
    return Objects(frozenset(packs), frozenset(loose))


def _trailer_problem(remote: RemoteStore, pack: bytes, size: int, end: int) -> str:
    """What is wrong with a pack that is not as long as the index lets expect; it may hold more than that says."""
    if size >= end + TRAILER_BYTES:
        key = pack_key(pack.hex())
        try:
            (data,) = remote.backend.get_ranges(key, [(size - TRAILER_BYTES, TRAILER_BYTES)])
            if decode_trailer(data, size, key).table_offset >= end:
                return ""
        except DamagedPack as error:
            return error.problem
    return f"has {size} bytes, its assets alone take {end}: it is cut off"


def _entries_of_pack(remote: RemoteStore, pack: bytes, size: int) -> Entries:
    """What is in a pack there, by its own table; nothing if that cannot be read."""
    key = pack_key(pack.hex())

    def read_at(offset: int, length: int) -> bytes:
        return remote.backend.get_ranges(key, [(offset, length)])[0] if length else b""

    try:
        return entries_of_table(pack, read_table(read_at, size, key))
    except (DamagedPack, ObjectMissing):
        return NO_ENTRIES


def _is_damaged(remote: RemoteStore, key: str, raw_id: bytes) -> bool:
    digest = hashlib.sha256()
    try:
        for chunk in remote.backend.iter_chunks(key):
            digest.update(chunk)
    except ObjectMissing:
        return False
    return digest.digest() != raw_id
