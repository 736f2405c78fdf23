"""What DVC's cache lacks, from where it is: another worktree of this repository, else the remote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datapin.backends.backend import Backend
from datapin.backends.local import LocalBackend
from datapin.base.errors import BadSettings, ManifestMissing, RemoteUnreachable, who_must_push
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.objects import bring_manifests, bring_outputs
from datapin.dvcfiles.texts import Pointer
from datapin.git.ask import other_worktrees
from datapin.pins.datasets import cache_directory
from datapin.verbs.workspace.known_remote import remember_versions
from datapin.verbs.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Absence:
    """The hashes of what could not be brought, and why; `advice` is empty if the remote answered and has it not."""

    md5s: list[str]
    reason: str
    advice: str


def bring(workspace: Workspace, pointers: Sequence[Pointer]) -> None:
    """Copy the manifests of these pointers into DVC's cache, where they are not yet.

    Raises ManifestMissing, which says why one cannot be had; the others are here then.
    """
    cache = DvcCache(workspace.root)
    for pointer in pointers:
        cache.give_back(pointer.md5)
    lacking = {pointer.md5: pointer for pointer in pointers if not cache.is_whole(pointer.md5)}
    absence = _bring(workspace, list(lacking), bring_manifests)
    if absence.md5s:
        first = lacking[absence.md5s[0]]
        advice = absence.advice or who_must_push(first.dataset, is_output=first.stage is not None)
        raise ManifestMissing(first.dataset, f"{first.md5} in DVC's cache", absence.reason, advice)


def bring_what_is_somewhere(workspace: Workspace, md5s: Sequence[str]) -> Absence:
    """Copy outputs of any kind into DVC's cache; the hashes of those that are nowhere, and why they are not here."""
    return _bring(workspace, md5s, bring_outputs)


def _bring(
    workspace: Workspace, md5s: Sequence[str], bring_from: Callable[[Path, Backend, Sequence[str]], list[str]]
) -> Absence:
    lacking = list(md5s)
    for folder in _other_caches(workspace.root) if lacking else ():
        # A cache lays its objects out as a remote does.
        lacking = bring_from(workspace.root, LocalBackend(folder), lacking)
    if not lacking:
        return Absence([], "", "")
    from datapin.verbs.workspace.place import remote_place  # late: as in verbs.workspace.presence

    try:
        place = remote_place(workspace)
        absent = bring_from(workspace.root, place.root, lacking)
        remember_versions(workspace, place.name, set(lacking).difference(absent))
        return Absence(absent, f"{place.root.url} does not have it either", "")
    except (BadSettings, RemoteUnreachable) as error:
        return Absence(lacking, error.message, error.hint)


def _other_caches(root: Path) -> list[Path]:
    """The caches of the repository's other worktrees: each has its own, unless `cache.dir` says where all lie."""
    mine = cache_directory(root).resolve()
    places = [cache_directory(other) for other in other_worktrees(root)]
    return [place for place in dict.fromkeys(places) if place.is_dir() and place.resolve() != mine]
