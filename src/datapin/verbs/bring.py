"""Manifests that DVC's cache lacks, from where they are: another worktree of this repository, else the remote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from datapin.backends.local import LocalBackend
from datapin.base.errors import BadSettings, ManifestMissing, RemoteUnreachable
from datapin.verbs.place import remote_place
from datapin.verbs.workspace import Workspace
from datapin.versions.dvc_cache import DvcCache
from datapin.versions.git import other_worktrees
from datapin.versions.objects import bring_manifests
from datapin.versions.pointer import cache_directory
from datapin.versions.pointer_file import Pointer


def bring(workspace: Workspace, pointers: Sequence[Pointer]) -> None:
    """Copy the manifests of these pointers into DVC's cache, where they are not yet.

    Raises ManifestMissing, which says why one cannot be had; the others are here then.
    """
    cache = DvcCache(workspace.root)
    lacking = {pointer.md5: pointer for pointer in pointers if not cache.is_whole(pointer.md5)}
    for place in _other_caches(workspace.root) if lacking else ():
        # A cache lays its objects out as a remote does.
        absent = bring_manifests(workspace.root, LocalBackend(place), list(lacking))
        lacking = {md5: lacking[md5] for md5 in absent}
    if not lacking:
        return
    first = next(iter(lacking.values()))
    missing = ManifestMissing(first.dataset, f"{first.md5} in DVC's cache")
    try:
        remote = remote_place(workspace).root
        absent = bring_manifests(workspace.root, remote, list(lacking))
    except (BadSettings, RemoteUnreachable) as error:
        raise replace(missing, reason=error.message) from None
    if absent:
        first = lacking[absent[0]]
        reason = f"{remote.url} does not have it either"
        raise ManifestMissing(first.dataset, f"{first.md5} in DVC's cache", reason)


def _other_caches(root: Path) -> list[Path]:
    """The caches of the repository's other worktrees: each has its own, unless `cache.dir` says where all lie."""
    mine = cache_directory(root).resolve()
    places = [cache_directory(other) for other in other_worktrees(root)]
    return [place for place in dict.fromkeys(places) if place.is_dir() and place.resolve() != mine]
