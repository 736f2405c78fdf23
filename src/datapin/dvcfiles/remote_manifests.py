"""Which manifests a DVC remote holds whole; each file is asked for: DVC takes a list for what it lists."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datapin.backends.backend import Backend
from datapin.base.errors import DamagedManifest, ObjectMissing
from datapin.dvcfiles.cache import DvcCache, check_list_hash, parse_list
from datapin.dvcfiles.hashes import OBJECTS, key_of

_THREADS = 16
_MOST_HEADS = 64


def manifests_on(root: Path, remote: Backend, md5s: Sequence[str]) -> set[str]:
    """Those of the manifests with these `.dir` hashes that `remote` holds: their lists, and every file named there.

    Up to 64 objects are asked for one by one, all at once: a HEAD costs a twelfth of a LIST and takes as long. More are
    listed. Raises DamagedManifest for a hash that names no folder, RemoteUnreachable.
    """
    cache = DvcCache(root)
    with ThreadPoolExecutor(_THREADS) as threads:
        lists = dict(zip(md5s, threads.map(lambda md5: _files_of(cache, remote, md5), md5s), strict=True))
        objects = sorted({*(file for named in lists.values() for file in named or ()), *lists})
        if len(objects) > _MOST_HEADS:
            listed = {found.key for found in remote.iter_objects(f"{OBJECTS}/")}
            is_there = {name: key_of(name) in listed for name in objects}
        else:
            looked = threads.map(lambda name: remote.head(key_of(name)) is not None, objects)
            is_there = dict(zip(objects, looked, strict=True))
    return {md5 for md5, named in lists.items() if named is not None and all(map(is_there.get, (md5, *named)))}


def _files_of(cache: DvcCache, remote: Backend, md5: str) -> list[str] | None:
    """The hashes of the manifest's files, None if neither the cache nor the remote has a list of them."""
    entries = cache.entries(check_list_hash(md5))
    if entries is not None:
        return [file for _, file in entries]
    try:
        return [file for _, file in parse_list(remote.get(key_of(md5)), f"{remote.url}/{key_of(md5)}")]
    except (ObjectMissing, DamagedManifest):
        return None
