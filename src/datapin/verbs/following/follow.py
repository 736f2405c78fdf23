"""After Git has changed the work tree: manifests follow their pointers. Nothing here imports Arrow.

What is there is replaced only if DVC's cache holds it, as `dvc checkout` would; rows that nobody saved stay, and are
named.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from datapin.base import failpoints
from datapin.base.errors import DamagedManifest, DatapinError, listed
from datapin.base.files import fsync_directory, make_directory
from datapin.base.state import cache_of
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.git.ask import stash_holds
from datapin.pins.held import NO_MANIFEST, HeldManifests, held_manifests, is_saved
from datapin.pins.tracked import TrackedPin, departed_datasets, tracked_pins
from datapin.verbs.workspace.placing import edit_lock, replace_manifest, staging

_WAIT_S = 20.0


@dataclass(frozen=True, slots=True)
class FollowReport:
    """What followed: datasets whose manifest was replaced or taken away; left alone for edits; not here.

    `unreadable` are the errors of pointers that cannot be read.
    """

    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    missing: list[PinnedOut] = field(default_factory=list)
    unreadable: list[DatapinError] = field(default_factory=list)


def follow(root: Path, *, since: str | None = None) -> FollowReport:
    """Make the manifests of the work tree those that its pointers pin; with nothing to do it takes 50 ms.

    `since` names the commit that was checked out before: the manifest of a dataset that came to an end since goes.
    Raises Locked if somebody edits a dataset meanwhile.
    """
    held = held_manifests(root)
    report = FollowReport()
    pins = tracked_pins(root, cache_of(root) / "follow" / "pins.json", report.unreadable)
    cache = DvcCache(root)
    for pin in pins:
        if pin.is_ours:
            cache.keep(pin.out.md5)
        if not _is_stale(held, cache, pin):
            continue
        with edit_lock(root, pin.out.path, timeout_s=_WAIT_S):
            _follow_one(root, held, cache, pin, report)
    for dataset in departed_datasets(root, since) if since is not None else ():
        if all(pin.out.path != dataset for pin in pins) and held.find(dataset) is not None:
            _remove(root, dataset, held, cache, report)
    held.save()
    return report


def _is_stale(held: HeldManifests, cache: DvcCache, pin: TrackedPin) -> bool:
    here = held.find(pin.out.path)
    if here == pin.out.md5:
        held.is_at(pin.out.path, pin.out.md5)
        return False
    if pin.is_ours or (here is not None and here != NO_MANIFEST):
        return True
    return here is None and cache.holds_manifest(pin.out, in_work_tree=False)


def _follow_one(root: Path, held: HeldManifests, cache: DvcCache, pin: TrackedPin, report: FollowReport) -> None:
    here = held.find(pin.out.path)
    if here == pin.out.md5 or (here is None and stash_holds(root, pin.out.path)):
        return  # what Git has put away comes back with `git stash pop`, which finds no place for it if it is there
    if not is_saved(cache, here):
        if held.was_at(pin.out.path) != pin.out.md5:  # else Git has not moved the pointer under the edits
            report.edited.append(pin.out.path)
        return
    try:
        is_here = cache.is_whole(pin.out.md5)
    except DamagedManifest:
        is_here = False
    if not is_here:
        report.missing.append(pin.out)
        return
    cache.give_back(pin.out.md5)
    replace_manifest(root, pin.out.path, cache.shards(pin.out))
    held.is_at(pin.out.path, pin.out.md5)
    report.changed.append(pin.out.path)


def _remove(root: Path, dataset: str, held: HeldManifests, cache: DvcCache, report: FollowReport) -> None:
    with edit_lock(root, dataset, timeout_s=_WAIT_S):
        if not is_saved(cache, held.find(dataset)):
            report.edited.append(dataset)
            return
        aside = staging(root, dataset)
        os.rename(root / dataset, aside)
        failpoints.hit("follow.removed")
        fsync_directory((root / dataset).parent)
        shutil.rmtree(aside, ignore_errors=True)
        report.removed.append(dataset)


def tell_once(root: Path, report: FollowReport, *, is_first: bool) -> bool:
    """Whether the user has yet to hear of what stayed behind: of two hooks that one command calls, the first tells it.

    `is_first` for a hook that others may follow.
    """
    note = cache_of(root) / "follow" / "told.json"
    unread = [error.message for error in report.unreadable]
    left = json.dumps([report.edited, [[pointer.dataset, pointer.md5] for pointer in report.missing], unread])
    told = ""
    with suppress(OSError):
        told = note.read_text()
        note.unlink()
    if is_first and (report.edited or report.missing or unread):
        with suppress(OSError):
            make_directory(note.parent)
            note.write_text(left)
    return is_first or told != left


def lines_about(report: FollowReport, reason: str) -> list[str]:
    """What the user must know, a line each; `reason` says why manifests are missing."""
    lines = [f"datapin: {error.message}; {error.hint}" for error in report.unreadable]
    if report.edited:
        names = listed(report.edited, 3)
        ways = "`datapin restore` takes the pinned rows and keeps a copy of these, `dvc add` pins these"
        lines.append(f"datapin: {names}: rows that nobody saved, left as they are; {ways}")
    if report.missing:
        names = listed([pointer.dataset for pointer in report.missing], 3)
        lines.append(f"datapin: {names}: the manifest of this commit is not here ({reason}); run `datapin fetch`")
    return lines
