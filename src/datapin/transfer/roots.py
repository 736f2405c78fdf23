"""Makes a pushed version count: announce, then check, then declare it final (docs/protocols.md#the-remote).

What a record says is in docs/format.md#roots. A collector of garbage marks what no pending or final record names, says
so under `condemned/`, lists the records again, and deletes what is still named by none. So a push first says what it
relies on, and only then looks whether that is condemned or gone: one of the two always sees the other. No clock and no
lock carries this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from datapin.base import failpoints
from datapin.base.errors import ObjectMissing
from datapin.store.layout import loose_key, pack_key
from datapin.store.remote import RemoteStore
from datapin.transfer.root_records import EXPIRED, FINAL, PENDING, RootRecord, keep_root, new_root_key
from datapin.transfer.survey import Objects, objects_of, read_condemned
from datapin.transfer.threads import map_in_order

_AT_ONCE = 16
_MOST_HEADS = 16  # of more packs than this it is cheaper to list them all
_SWAPS = 3


def declare(remote: RemoteStore, records: Sequence[RootRecord]) -> list[bool]:
    """Announce these records and make final those whose packs are there to stay; for each whether it is final.

    Everything that a record names must be durable there, and its index and manifest too. What is not final has to be
    pushed again, from the listing on, under a new key. Raises DamagedPack, RemoteUnreachable.
    """
    swaps = remote.abilities().replace
    pending = [replace(record, state=PENDING, compare_and_swap=swaps) for record in records]
    keys = list(map_in_order(lambda record: _announce(remote, record), pending, jobs=_AT_ONCE))
    failpoints.hit("push.roots.announced")
    # The order is the protocol: condemned is read before the packs are looked at, or a collector slips in between.
    condemned = read_condemned(remote)
    relied_on = [objects_of(record) for record in pending]
    absent = _absent(remote, relied_on)
    is_safe = [not condemned.has_any_of(objects) and not absent.has_any_of(objects) for objects in relied_on]
    steps = list(zip(keys, pending, is_safe, strict=True))
    return list(map_in_order(lambda step: _settle(remote, *step), steps, jobs=_AT_ONCE))


def _announce(remote: RemoteStore, record: RootRecord) -> str:
    """The key under which the pending record lies on the remote."""
    while True:
        key = new_root_key(record)
        if remote.backend.put_if_absent(key, record.encoded()):
            return key


def _absent(remote: RemoteStore, wanted: Sequence[Objects]) -> Objects:
    """Which of these are not there."""
    packs = frozenset[bytes]().union(*(objects.packs for objects in wanted))
    loose = frozenset[bytes]().union(*(objects.loose for objects in wanted))
    return Objects(
        packs - (_seen(remote, packs, pack_key) if len(packs) <= _MOST_HEADS else remote.list_packs().keys()),
        loose - (_seen(remote, loose, loose_key) if len(loose) <= _MOST_HEADS else remote.list_loose().keys()),
    )


def _seen(remote: RemoteStore, ids: frozenset[bytes], key: Callable[[str], str]) -> frozenset[bytes]:
    looked = map_in_order(lambda raw: remote.backend.head(key(raw.hex())), sorted(ids), jobs=_AT_ONCE)
    return frozenset(raw for raw, found in zip(sorted(ids), looked, strict=True) if found is not None)


def _settle(remote: RemoteStore, key: str, record: RootRecord, is_safe: bool) -> bool:
    """Make the record final, or expired if it relies on what is condemned or gone; whether it is final now."""
    wanted = replace(record, state=FINAL if is_safe else EXPIRED)
    for _ in range(_SWAPS):
        try:
            seen, tag = remote.backend.get_tagged(key)
        except ObjectMissing:
            return False  # a collector made it expired, and swept it away
        if seen == wanted.encoded():
            break  # our own write, whose answer was lost
        if seen != record.encoded():
            return False  # a collector made it expired
        if remote.backend.replace(key, wanted.encoded(), tag):
            break
    else:
        return False
    failpoints.hit("push.root.settled")
    keep_root(remote, key, wanted)
    return is_safe
