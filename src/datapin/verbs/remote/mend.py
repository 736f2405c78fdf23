"""Manifests that were lost or damaged on this machine: brought from wherever a good copy is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path

from datapin.backends.backend import Backend
from datapin.base.errors import (
    UNREADABLE_ROWS,
    Damage,
    DamagedManifest,
    DatapinError,
    ManifestMissing,
    ObjectMissing,
    who_must_push,
)
from datapin.base.files import make_directory, temporary_name
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.objects import bring_manifests, is_good, is_intact, keep_manifest
from datapin.dvcfiles.outs import PinnedOut
from datapin.manifest.manifest import Manifest
from datapin.pins.held import NO_MANIFEST, held_manifests
from datapin.verbs.workspace.placing import replace_manifest
from datapin.verbs.workspace.workspace import Workspace


def nowhere(pointer: PinnedOut) -> ManifestMissing:
    """The error for a version that neither this machine nor the remote has."""
    advice = who_must_push(pointer.dataset, is_output=pointer.stage is not None)
    missing = f"{pointer.md5} in DVC's cache"
    return ManifestMissing(pointer.dataset, missing, "the remote does not have it either", advice)


def keep_work_trees(workspace: Workspace, pointers: Sequence[PinnedOut]) -> None:
    """Give DVC's cache back what it has lost of these versions and the work tree still holds."""
    cache = DvcCache(workspace.root)
    held = held_manifests(workspace.root)
    for pointer in pointers:
        with suppress(OSError, DamagedManifest):
            if not is_intact(cache, pointer.md5) and held.find(pointer.dataset) == pointer.md5:
                keep_manifest(workspace.root, workspace.dataset_path(pointer.dataset), pointer.md5)


def bring_each(workspace: Workspace, remote: Backend, pointers: Sequence[PinnedOut]) -> dict[str, DatapinError]:
    """Bring into DVC's cache what it lacks of these versions, or holds damaged; why some cannot be had, by their md5.

    Raises RemoteUnreachable, StorageFailed.
    """
    cache = DvcCache(workspace.root)
    good = lru_cache(None)(partial(is_good, cache))  # versions share most of their shards
    absent: dict[str, DatapinError] = {}
    for pointer in {one.md5: one for one in pointers}.values():
        try:
            if not is_intact(cache, pointer.md5, good) and bring_manifests(workspace.root, remote, [pointer.md5]):
                absent[pointer.md5] = nowhere(pointer)
        except (Damage, ObjectMissing) as error:
            absent[pointer.md5] = error
    return absent


def work_tree_holds(workspace: Workspace, pointer: PinnedOut) -> bool:
    """Whether the work tree's folder is what the pointer pins, byte by byte."""
    return held_manifests(workspace.root).find(pointer.dataset) == pointer.md5


def mend_work_tree(workspace: Workspace, pointer: PinnedOut) -> None:
    """Put the pinned rows, from DVC's cache, in the place of a manifest of the work tree that cannot be read.

    What was there is kept aside. Rows that can be read stay, whatever they are.
    """
    here = held_manifests(workspace.root).find(pointer.dataset)
    folder = workspace.dataset_path(pointer.dataset)
    if here in (pointer.md5, NO_MANIFEST) or not DvcCache(workspace.root).is_whole(pointer.md5):
        return
    with workspace.edit_lock(pointer.dataset):
        problem = _problem(folder, pointer.dataset)
        if problem is None:
            return
        aside = workspace.scratch / "set-aside" / f"{pointer.md5[:8]}-{temporary_name()[-8:]}"
        make_directory(aside.parent)
        shutil.copytree(folder, aside)
        replace_manifest(workspace.root, pointer.dataset, DvcCache(workspace.root).shards(pointer))
    workspace.progress.note(f"{problem.message}; the pinned rows are back, what was there is in {aside}")


def _problem(folder: Path, dataset: str) -> DatapinError | None:
    try:
        Manifest.open(folder, name=dataset).verify()
    except (*UNREADABLE_ROWS, ManifestMissing) as error:
        return error
    return None
