"""Which manifests a DVC remote holds whole; each file is asked for: DVC takes a list for what it lists."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datapin.backends.backend import Backend
from datapin.base.errors import DamagedManifest, ObjectMissing
from datapin.versions.dvc_cache import DvcCache, check_list_hash, parse_list

_THREADS = 8


def manifests_on(root: Path, remote: Backend, md5s: Sequence[str]) -> set[str]:
    """Those of the manifests with these `.dir` hashes that `remote` holds: their lists, and every file named there.

    Raises DamagedManifest for a hash that names no folder, RemoteUnreachable.
    """
    cache = DvcCache(root)
    with ThreadPoolExecutor(_THREADS) as threads:
        lists = dict(zip(md5s, threads.map(lambda md5: _files_of(cache, remote, md5), md5s), strict=True))
        files = sorted({file for named in lists.values() for file in named or ()})
        is_there = dict(zip(files, threads.map(lambda file: remote.head(_key(file)) is not None, files), strict=True))
    return {md5 for md5, named in lists.items() if named is not None and all(is_there[file] for file in named)}


def _files_of(cache: DvcCache, remote: Backend, md5: str) -> list[str] | None:
    """The hashes of the manifest's files, None if the remote has no list of them."""
    entries = cache.entries(check_list_hash(md5))
    if entries is not None:
        return [file for _, file in entries] if remote.head(_key(md5)) is not None else None
    try:
        return [file for _, file in parse_list(remote.get(_key(md5)), f"{remote.url}/{_key(md5)}")]
    except (ObjectMissing, DamagedManifest):
        return None


def _key(md5: str) -> str:
    return f"files/md5/{md5[:2]}/{md5[2:]}"
