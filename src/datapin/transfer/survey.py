"""What lies on a remote, by listings alone: a push with nothing to do needs no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from datapin.base.documents import read_json
from datapin.base.errors import DamagedPack, ObjectMissing
from datapin.store.index import IN_LOOSE_FILE, Index
from datapin.store.remote import RemoteStore
from datapin.transfer.root_records import RootRecord, list_roots

CONDEMNED = "condemned"


@dataclass(frozen=True, slots=True)
class Objects:
    """Raw ids of packs and loose assets."""

    packs: frozenset[bytes]
    loose: frozenset[bytes]

    def has_any_of(self, other: Objects) -> bool:
        """Whether the two overlap."""
        return not (self.packs.isdisjoint(other.packs) and self.loose.isdisjoint(other.loose))


def objects_of(record: RootRecord) -> Objects:
    """What the record relies on."""
    return Objects(frozenset(map(bytes.fromhex, record.packs)), frozenset(map(bytes.fromhex, record.loose)))


class Survey:
    """One look around a remote: four listings at once; the loose assets are listed only if somebody asks."""

    def __init__(self, remote: RemoteStore) -> None:
        """Raises DamagedPack if a record of condemned objects does not parse, RemoteUnreachable."""
        self._remote = remote
        calls: list[Callable[[RemoteStore], Any]] = [RemoteStore.list_index, list_roots, RemoteStore.list_packs]
        with ThreadPoolExecutor(len(calls) + 1) as threads:
            condemned = threads.submit(read_condemned, remote)
            index, roots, packs = [future.result() for future in [threads.submit(call, remote) for call in calls]]
            self.condemned = condemned.result()
        self.index: dict[str, int] = index
        self.roots: tuple[str, ...] = roots
        self.packs: dict[bytes, int] = packs
        self._damaged: Objects | None = None  # asked by nobody yet

    @cached_property
    def loose(self) -> dict[bytes, int]:
        """The size of every loose asset."""
        return self._remote.list_loose()

    def take_as_lost(self, damaged: Objects) -> None:
        """From now on these are not there; what is sent in their place replaces them, as whatever has another size."""
        self._damaged = damaged
        self.packs = {pack: size for pack, size in self.packs.items() if pack not in damaged.packs}
        self.loose = {name: size for name, size in self.loose.items() if name not in damaged.loose}

    def is_replaced(self, raw_id: bytes, size: int) -> bool:
        """Whether this pack or loose asset of `size` bytes takes the place of a damaged one."""
        if self._damaged is None:
            return False
        listed = self.packs.get(raw_id, self.loose.get(raw_id, size))
        return raw_id in self._damaged.packs or raw_id in self._damaged.loose or listed != size

    @cached_property
    def _named(self) -> Index:
        """What the index names. Its files are kept here: it costs no request where nothing is new."""
        return self._remote.index(self.index)

    @cached_property
    def _named_packs(self) -> frozenset[bytes]:
        return frozenset(self._named.entries.packs)

    def holds(self, record: RootRecord) -> bool:
        """Whether everything that `record` names is there to stay, and the index finds it.

        Raises DamagedPack for an index that cannot be read, RemoteUnreachable.
        """
        named = objects_of(record)
        if not self.packs.keys() >= named.packs or self.condemned.has_any_of(named):
            return False
        # A push publishes one index file for whole packs, and merges keep all rows: a pack is named whole or not.
        if not self._named_packs >= named.packs:
            return False
        if not named.loose:
            return True
        return self.loose.keys() >= named.loose and all(self._named.find_one(one) is not None for one in named.loose)

    def reliable(self, index: Index) -> Index:
        """What of the remote's `index` can be relied on: not what it names in vain, nor what is condemned."""
        entries = index.entries
        good = [pack in self.packs and pack not in self.condemned.packs for pack in entries.packs]
        keep = np.array([*good, True], dtype=bool)[entries.pack]  # the last place is for loose assets, whose pack is -1
        loose = np.flatnonzero(entries.pack == IN_LOOSE_FILE)
        if len(loose):
            names = [entries.ids[row].tobytes() for row in loose]
            keep[loose] = [name in self.loose and name not in self.condemned.loose for name in names]
        return index if keep.all() else Index(entries.take(keep))


def read_condemned(remote: RemoteStore) -> Objects:
    """What collectors of garbage are about to delete: nobody may rely on it.

    Each collector says so in one object, `condemned/<id>.json`: `{"packs": [hex, …], "loose": [hex, …]}`. Raises
    DamagedPack, RemoteUnreachable.
    """
    packs: set[bytes] = set()
    loose: set[bytes] = set()
    for found in list(remote.backend.iter_objects(f"{CONDEMNED}/")):
        try:
            said = read_json(remote.backend.get(found.key), found.key)
            packs |= _ids(said["packs"])
            loose |= _ids(said["loose"])
        except ObjectMissing:
            continue  # that collector is done: what it deleted is not listed any more
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedPack(f"{remote.url}/{found.key}", f"does not tell what is condemned: {error}") from None
    return Objects(frozenset(packs), frozenset(loose))


def _ids(names: Iterable[str]) -> set[bytes]:
    return set(map(bytes.fromhex, names))
