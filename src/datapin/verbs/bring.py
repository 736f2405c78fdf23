"""What DVC's cache lacks, from where it is: another worktree of this repository, else the remote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from datapin.backends.backend import Backend
from datapin.backends.local import LocalBackend
from datapin.base.errors import BadSettings, ManifestMissing, RemoteUnreachable
from datapin.verbs.known_remote import remember_versions
from datapin.verbs.place import remote_place
from datapin.verbs.workspace import Workspace
from datapin.versions.dvc_cache import DvcCache
from datapin.versions.git import other_worktrees
from datapin.versions.objects import bring_manifests, bring_outputs
from datapin.versions.pointer import cache_directory
from datapin.versions.pointer_file import Pointer


def bring(workspace: Workspace, pointers: Sequence[Pointer]) -> None:
    """Copy the manifests of these pointers into DVC's cache, where they are not yet.

    Raises ManifestMissing, which says why one cannot be had; the others are here then.
    """
    cache = DvcCache(workspace.root)
    lacking = {pointer.md5: pointer for pointer in pointers if not cache.is_whole(pointer.md5)}
    absent, reason = _bring(workspace, list(lacking), bring_manifests)
    if absent:
        first = lacking[absent[0]]
        raise ManifestMissing(first.dataset, f"{first.md5} in DVC's cache", reason)


def bring_what_is_somewhere(workspace: Workspace, md5s: Sequence[str]) -> tuple[list[str], str]:
    """Copy outputs of any kind into DVC's cache; the hashes of those that are nowhere, and why they are not here."""
    return _bring(workspace, md5s, bring_outputs)


def _bring(
    workspace: Workspace, md5s: Sequence[str], bring_from: Callable[[Path, Backend, Sequence[str]], list[str]]
) -> tuple[list[str], str]:
    lacking = list(md5s)
    for folder in _other_caches(workspace.root) if lacking else ():
        # A cache lays its objects out as a remote does.
        lacking = bring_from(workspace.root, LocalBackend(folder), lacking)
    if not lacking:
        return [], ""
    try:
        place = remote_place(workspace)
        absent = bring_from(workspace.root, place.root, lacking)
        remember_versions(workspace, place.name, set(lacking).difference(absent))
        return absent, f"{place.root.url} does not have it either"
    except (BadSettings, RemoteUnreachable) as error:
        return lacking, error.message


def _other_caches(root: Path) -> list[Path]:
    """The caches of the repository's other worktrees: each has its own, unless `cache.dir` says where all lie."""
    mine = cache_directory(root).resolve()
    places = [cache_directory(other) for other in other_worktrees(root)]
    return [place for place in dict.fromkeys(places) if place.is_dir() and place.resolve() != mine]
