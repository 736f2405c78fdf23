"""Manifest shards between DVC's cache and a DVC remote, by hash: what `dvc push` and `dvc pull` move, but checked.

DVC takes the presence of a `.dir` for the presence of its files (treeverse/dvc#11011); here each object is asked for.
The remote is the work tree's, whatever an old revision's settings say.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from datapin.base.errors import RemoteUnreachable, ToolFailed
from datapin.versions.tracking import silent


def send_manifests(root: Path, remote: str, md5s: Sequence[str]) -> int:
    """Copy the manifests with these `.dir` hashes from the cache to the remote; how many objects were sent.

    Raises RemoteUnreachable if one is not there afterwards.
    """
    return _move(root, remote, md5s, to_remote=True)


def bring_manifests(root: Path, remote: str, md5s: Sequence[str]) -> list[str]:
    """Copy these manifests from the remote to the cache; the hashes of those that the remote does not have whole."""
    here: list[str] = []
    absent: list[str] = []
    for md5 in md5s:
        (here if _is_whole(root, remote, md5) else absent).append(md5)
    if here:
        _move(root, remote, here, to_remote=False)
    return absent


def lay_out(root: Path, pointers: Sequence[str]) -> None:
    """`dvc checkout` of these `.dvc` files or stage outputs, which must not be in the work tree yet."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with silent(), closing(Repo(os.fspath(root))) as repo:
        try:
            repo.checkout(targets=[os.fspath(root / pointer) for pointer in pointers], force=False)
        except DvcException as error:
            raise ToolFailed("dvc", " ".join(str(error).split())) from None


def _move(root: Path, remote: str, md5s: Sequence[str], *, to_remote: bool) -> int:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.transfer import transfer

    with silent(), closing(Repo(os.fspath(root))) as repo:
        try:
            there = repo.cloud.get_remote(name=remote).odb
            here = repo.cache.local
            source, target = (here, there) if to_remote else (there, here)
            lists, shards = set(md5s), {oid for md5 in md5s for oid in _oids(source, md5)[1:]}
            absent = [oid for oid in [*lists, *shards] if not target.exists(oid)]
            # Shards before lists: a list is never visible before everything that it names.
            for wanted in (shards, lists):
                hashes = {HashInfo("md5", oid) for oid in wanted if oid in absent}
                if hashes and transfer(source, target, hashes, shallow=True).failed:
                    raise RemoteUnreachable(remote, f"some of {len(hashes)} manifest file(s) could not be copied")
            lost = [oid for oid in absent if not target.exists(oid)]
        except (DvcException, OSError) as error:
            raise RemoteUnreachable(remote, " ".join(str(error).split())) from None
    if lost:
        raise RemoteUnreachable(remote, f"manifest file {lost[0]} is not there after it was copied")
    return len(absent)


def _is_whole(root: Path, remote: str, md5: str) -> bool:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with silent(), closing(Repo(os.fspath(root))) as repo:
        try:
            there = repo.cloud.get_remote(name=remote).odb
            return bool(there.exists(md5)) and all(there.exists(oid) for oid in _oids(there, md5))
        except (DvcException, OSError) as error:
            raise RemoteUnreachable(remote, " ".join(str(error).split())) from None


def _oids(database: Any, md5: str) -> list[str]:
    """The object of a manifest's list and those of its shards; only the first if the list cannot be read."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree.load(database, HashInfo("md5", md5))
    return [md5, *(str(hash_info.value) for _, _, hash_info in tree)]
