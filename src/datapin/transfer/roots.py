"""Root records on a remote: who pushed which manifest, and which packs it needs. Written last.

The state is "final" here; "pending", and its check against a running gc, come with the protocol of reliability B.2.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from datapin.base import failpoints
from datapin.base.errors import AssetsMissing, DamagedPack, ObjectMissing
from datapin.base.id_columns import IdMatrix
from datapin.store.index import IN_LOOSE_FILE
from datapin.store.remote import RemoteStore

ROOTS = "roots"
FINAL = "final"


@dataclass(frozen=True, slots=True)
class RootRecord:
    """One pushed manifest: `manifest` is the md5 of its directory as DVC names it, `digest` ours."""

    state: str
    dataset: str
    digest: str
    manifest: str
    packs: tuple[str, ...]
    loose: tuple[str, ...]


def write_root(remote: RemoteStore, *, dataset: str, digest: str, manifest: str, ids: IdMatrix) -> RootRecord:
    """Record that the remote holds this manifest's assets `ids`; nothing is written if a record says so already.

    Raises AssetsMissing if the remote lacks one, RemoteUnreachable.
    """
    places = remote.index().locate(ids)
    if not places.found.all():
        absent = ids[~places.found]
        names = tuple(row.tobytes().hex() for row in absent[:20])
        raise AssetsMissing(names=names, count=len(absent), where=remote.url)
    is_loose = places.pack == IN_LOOSE_FILE
    packs = tuple(places.packs[number].hex() for number in np.unique(places.pack[~is_loose]))
    loose = tuple(sorted({row.tobytes().hex() for row in ids[is_loose]}))
    record = RootRecord(FINAL, dataset, digest, manifest, packs, loose)
    if record not in {found for _, found in read_roots(remote)}:
        data = json.dumps(asdict(record), sort_keys=True).encode()
        remote.backend.put_if_absent(f"{ROOTS}/{secrets.token_hex(16)}.json", data)
        failpoints.hit("push.root.sent")
    return record


def read_roots(remote: RemoteStore) -> Iterator[tuple[str, RootRecord]]:
    """The key and content of every root record. Raises DamagedPack if one does not parse, RemoteUnreachable."""
    for found in remote.backend.iter_objects(f"{ROOTS}/"):
        try:
            said = json.loads(remote.backend.get(found.key))
            yield found.key, _record(said)
        except ObjectMissing:
            continue  # retired since we listed
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedPack(f"{remote.url}/{found.key}", f"not a root record: {error}") from None


def _record(said: dict[str, object]) -> RootRecord:
    texts = [said[name] for name in ("state", "dataset", "digest", "manifest")]
    lists = [said[name] for name in ("packs", "loose")]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(names, list) for names in lists):
        raise TypeError("a value has another type")
    state, dataset, digest, manifest = (str(text) for text in texts)
    packs, loose = (tuple(map(str, names)) for names in lists if isinstance(names, list))
    return RootRecord(state, dataset, digest, manifest, packs, loose)
