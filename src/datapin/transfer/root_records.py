"""Root records: what each says, under which key, and how it is read. `roots/<version>-<nonce>.json`, one per push.

`<version>` is the start of SHA-256 over dataset, digest and manifest (32 hex), so that a listing shows who may vouch
for a version; the nonce (16 hex) is the push's own. A record is pending, then final or expired; these two never
change, and are kept in a cache here. Records under `roots/<32 hex>.json` are older ones, written final at once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from datapin.base.documents import read_json
from datapin.base.errors import DamagedPack, ObjectMissing
from datapin.store.remote import RemoteStore

ROOTS = "roots"
PENDING, FINAL, EXPIRED = "pending", "final", "expired"

_STATES = (PENDING, FINAL, EXPIRED)
_SUFFIX = ".json"
_CHECKSUM = "checksum"
_READS = 3  # of a record that comes damaged
_READS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class RootRecord:
    """One pushed manifest: `manifest` is the md5 of its directory as DVC names it, `digest` ours.

    `packs` and `loose` hold all of its assets, `assets` of them. `compare_and_swap` tells whether the step to final
    was one: where it was not, garbage must not be collected while anybody may push. The last three inform only.
    """

    state: str
    dataset: str
    digest: str
    manifest: str
    packs: tuple[str, ...]
    loose: tuple[str, ...]
    assets: int = 0
    compare_and_swap: bool = False
    actor: str = ""
    commit: str = ""
    time: str = ""

    @property
    def version(self) -> str:
        """The part of its key that names the version."""
        return version_name(self.dataset, self.digest, self.manifest)

    def encoded(self) -> bytes:
        """The bytes of the object."""
        said = asdict(self)
        return json.dumps({**said, _CHECKSUM: _checksum(said)}, sort_keys=True).encode()


def version_name(dataset: str, digest: str, manifest: str) -> str:
    """The same for every push of one version: 32 hex."""
    return hashlib.sha256(f"{dataset}\0{digest}\0{manifest}".encode()).hexdigest()[:32]


def new_root_key(record: RootRecord) -> str:
    """A key that no other push has."""
    return f"{ROOTS}/{record.version}-{secrets.token_hex(8)}{_SUFFIX}"


def version_of_key(key: str) -> str:
    """The version that the record under `key` is about; empty for an older record, whose key does not tell."""
    name = key.removeprefix(f"{ROOTS}/").removesuffix(_SUFFIX)
    version, dash, _ = name.partition("-")
    return version if dash else ""


def decode_root(data: bytes, key: str, where: str) -> RootRecord:
    """Raises DamagedPack if `data` is not a record, or one of another version than its key says."""
    path = f"{where}/{key}"
    try:
        record = _record(read_json(data, path))
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedPack(path, f"not a root record: {error}") from None
    if version_of_key(key) not in ("", record.version):
        raise DamagedPack(path, "it is a root record of another version than its name says")
    return record


def keep_root(remote: RemoteStore, key: str, record: RootRecord) -> None:
    """Remember a record that will not change, so that a listing is enough the next time."""
    if record.state in (FINAL, EXPIRED):
        remote.kept_roots.keep(key.removeprefix(f"{ROOTS}/"), record.encoded())


def list_roots(remote: RemoteStore) -> tuple[str, ...]:
    """The keys of all records. Raises RemoteUnreachable."""
    return tuple(found.key for found in remote.backend.iter_objects(f"{ROOTS}/") if found.key.endswith(_SUFFIX))


def kept_root(remote: RemoteStore, key: str) -> RootRecord | None:
    """The record under `key` if it is known here to be final or expired."""
    kept = remote.kept_roots.find(key.removeprefix(f"{ROOTS}/"))
    if kept is None:
        return None
    try:
        record = decode_root(kept, key, "the cache")
    except DamagedPack:
        return None
    return record if record.state in (FINAL, EXPIRED) else None


def forget_other_roots(remote: RemoteStore, keys: Sequence[str]) -> None:
    """Forget the records that are not listed any more."""
    remote.kept_roots.forget_all_but({key.removeprefix(f"{ROOTS}/") for key in keys})


def read_root(remote: RemoteStore, key: str) -> RootRecord | None:
    """The record under `key`, None if it is gone. Raises DamagedPack, RemoteUnreachable."""
    kept = kept_root(remote, key)
    if kept is not None:
        return kept
    for attempt in range(_READS):
        try:
            record = decode_root(remote.backend.get(key), key, remote.url)
        except ObjectMissing:
            return None
        except DamagedPack:
            if attempt + 1 == _READS:
                raise
        else:
            keep_root(remote, key, record)
            return record
    return None


def _checksum(said: Mapping[str, object]) -> str:
    """The SHA-256 of the values: a bit that flipped in a name or a list must not pass for what was pushed."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _record(said: dict[str, object]) -> RootRecord:
    if not isinstance(said, dict):
        raise TypeError("it is no mapping of names")
    checksum = said.pop(_CHECKSUM, None)  # records of older versions have none, and no other names than these
    if checksum is not None and checksum != _checksum(said):
        raise ValueError("it does not have the checksum that it was written with")
    strange = sorted(said.keys() - {field.name for field in fields(RootRecord)})
    if strange:
        raise ValueError(f"it holds the unknown name {strange[0][:80]!r}")
    texts = [said[name] for name in ("state", "dataset", "digest", "manifest")]
    texts += [said.get(name, "") for name in ("actor", "commit", "time")]
    lists = [said[name] for name in ("packs", "loose")]
    assets, compare_and_swap = said.get("assets", 0), said.get("compare_and_swap", False)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(names, list) for names in lists):
        raise TypeError("a value has another type")
    if not isinstance(assets, int) or not isinstance(compare_and_swap, bool):
        raise TypeError("a value has another type")
    state, dataset, digest, manifest, actor, commit, time = (str(text) for text in texts)
    if state not in _STATES:
        raise ValueError(f"state {state!r} is not one of {', '.join(_STATES)}")
    packs, loose = (tuple(map(str, names)) for names in lists if isinstance(names, list))
    for name in (*packs, *loose):
        bytes.fromhex(name)
    return RootRecord(
        state, dataset, digest, manifest, packs, loose, assets, compare_and_swap, actor, commit, time
    )  # fmt: skip
