"""What DVC's cache lacks, from where it is: another worktree of this repository, else the remote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datapin.backends.backend import Backend
from datapin.backends.local import LocalBackend
from datapin.base.errors import (
    BadSettings,
    Damage,
    DamagedManifest,
    DatapinError,
    ManifestMissing,
    RemoteUnreachable,
    who_must_push,
)
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.objects import bring_manifests, bring_outputs
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.settings import cache_directory
from datapin.git.ask import other_worktrees
from datapin.manifest.manifest import Manifest
from datapin.pins.manifests import open_linked
from datapin.verbs.workspace.known_remote import remember_versions
from datapin.verbs.workspace.workspace import Workspace

_NEITHER = " does not have it either"


@dataclass(frozen=True, slots=True)
class Absence:
    """The hashes of what could not be brought, and why; `advice` is empty if the remote answered and has it not."""

    md5s: list[str]
    reason: str
    advice: str

    @property
    def of_manifest(self) -> str:
        """Why a manifest is not here, as a log says it."""
        if self.advice:
            return f"its manifest is not here, and cannot be fetched: {self.reason}"
        return f"its manifest is neither here nor on {self.reason.removesuffix(_NEITHER)}"


def bring(workspace: Workspace, pointers: Sequence[PinnedOut]) -> None:
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


def bring_versions(workspace: Workspace, pointers: Sequence[PinnedOut]) -> dict[str, str]:
    """As `bring`, for many versions of which some may be lost: by hash, why those are not here."""
    cache = DvcCache(workspace.root)
    lacking = []
    for md5 in dict.fromkeys(pointer.md5 for pointer in pointers):
        with suppress(Damage):  # left to whoever reads it
            cache.give_back(md5)
            if not cache.is_whole(md5):
                lacking.append(md5)
    try:
        absence = _bring(workspace, lacking, bring_manifests)
    except DamagedManifest as error:
        return dict.fromkeys(lacking, error.message)
    except DatapinError as error:
        return dict.fromkeys(lacking, f"its manifest is not here, and cannot be fetched: {error.message}")
    return dict.fromkeys(absence.md5s, absence.of_manifest)


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
        return Absence(absent, f"{place.root.url}{_NEITHER}", "")
    except (BadSettings, RemoteUnreachable) as error:
        return Absence(lacking, error.message, error.hint)


def _other_caches(root: Path) -> list[Path]:
    """The caches of the repository's other worktrees: each has its own, unless `cache.dir` says where all lie."""
    mine = cache_directory(root).resolve()
    places = [cache_directory(other) for other in other_worktrees(root)]
    return [place for place in dict.fromkeys(places) if place.is_dir() and place.resolve() != mine]


def open_pinned(workspace: Workspace, pointer: PinnedOut) -> Manifest:
    """The manifest that `pointer` names, from DVC's cache, else brought from the remote.

    Raises ManifestMissing, DamagedManifest, RemoteUnreachable.
    """
    try:
        return open_linked(workspace.root, pointer)
    except ManifestMissing:
        bring(workspace, [pointer])
        return open_linked(workspace.root, pointer)
