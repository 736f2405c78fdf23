"""`push` and `fetch`: what is missing there or here, and nothing else.

Push goes packs, index, manifest shards, root record, each there before the next; fetch goes the other way.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from datapin.base.errors import (
    AssetsMissing,
    DamagedManifest,
    DatapinError,
    ManifestMissing,
    Refused,
    StorageFailed,
    UnknownDataset,
)
from datapin.base.id_columns import IdMatrix, ids_from_hex
from datapin.base.settings import WITHOUT_HOOKS
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.objects import bring_manifests, is_manifest_there, lay_out, manifests_on, send_manifests
from datapin.dvcfiles.outs import PinnedOut
from datapin.git.ask import author
from datapin.githooks.install import lacks_hooks
from datapin.manifest.columns.schema import asset_columns
from datapin.manifest.manifest import Manifest
from datapin.manifest.query import select_rows
from datapin.pins.history import pinned_versions
from datapin.pins.manifests import open_linked
from datapin.pins.read import Pins
from datapin.store.index import Index
from datapin.transfer.fetch import fetch_assets
from datapin.transfer.push import Manifests, PushVersion, push_versions
from datapin.transfer.report import Failure, TransferReport
from datapin.verbs.following.follow import follow
from datapin.verbs.remote.mend import bring_each, keep_work_trees, mend_work_tree, nowhere, work_tree_holds
from datapin.verbs.remote.rest import Failures
from datapin.verbs.workspace.known_remote import is_known, knows_versions, remember, remember_versions
from datapin.verbs.workspace.place import RemotePlace, remote_place
from datapin.verbs.workspace.reports import MoveReport
from datapin.verbs.workspace.selector import name_version, work_tree_manifest
from datapin.verbs.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One dataset version; `in_work_tree` if the work tree pins it, `is_named` if the user asked for this one."""

    pointer: PinnedOut
    in_work_tree: bool
    is_named: bool


def push(
    workspace: Workspace,
    names: Sequence[str],
    *,
    remote: str | None,
    dry_run: bool,
    all_versions: bool = False,
    again: bool = False,
) -> MoveReport:
    """Send the named datasets, or all of the work tree; with `all_versions`, every version in Git's history too.

    `again` looks also at what was pushed before, and sends what the remote has lost of it. A version that cannot be
    sent keeps none of the others. Raises AssetsMissing or ManifestMissing if something is neither here nor there,
    Refused for rows that no pointer pins, SomeLost for several; RemoteUnreachable.
    """
    place = remote_place(workspace, remote)
    failures = Failures("push")
    datasets = _here(workspace, names, failures)
    if not dry_run:
        keep_work_trees(workspace, _readable_pointers(workspace, datasets))
    pinned: list[tuple[PinnedOut, Manifest]] = []
    for dataset in datasets:
        with failures.gather():
            pinned.append(_pinned(workspace, dataset))
    if all_versions:
        seen = {(pointer.dataset, pointer.md5) for pointer, _ in pinned}
        older = [one for one in pinned_versions(workspace.root) if (one.dataset, one.md5) not in seen]
        wanted = [one for one in older if not names or one.dataset in datasets]
        pinned += _opened(workspace, place, wanted, failures)
    return _push(workspace, place, pinned, failures, dry_run=dry_run, again=again)


def push_pinned(workspace: Workspace, pointers: Sequence[PinnedOut]) -> MoveReport:
    """Send these dataset versions, whichever commit pins them. Raises as `push`."""
    place = remote_place(workspace)
    failures = Failures("push")
    return _push(workspace, place, _opened(workspace, place, pointers, failures), failures, dry_run=False)


def fetch(
    workspace: Workspace,
    selectors: Sequence[str],
    *,
    remote: str | None,
    where: str | None,
    dry_run: bool,
    all_versions: bool = False,
) -> MoveReport:
    """Bring the named dataset versions, or all datasets that the work tree pins; with `where`, assets of these rows.

    `all_versions` brings every version of them in Git's history too. A stage's output that was never pushed is only
    an error if it was named: `dvc repro` makes it again. What cannot be had keeps none of the rest away. Raises
    ManifestMissing, AssetsMissing, Damage, SomeLost for several; BadQuery, RemoteUnreachable.
    """
    if lacks_hooks(workspace.root):
        workspace.progress.note(WITHOUT_HOOKS)
    place = remote_place(workspace, remote)
    failures = Failures("fetch")
    wanted = _wanted(workspace, place, selectors, failures, all_versions=all_versions)
    if not dry_run:
        keep_work_trees(workspace, [one.pointer for one in wanted if one.in_work_tree])
    cache = DvcCache(workspace.root)
    for one in wanted:
        cache.give_back(one.pointer.md5)
    absent = bring_each(workspace, place.root, [one.pointer for one in wanted])
    if not dry_run:
        follow(workspace.root)  # a pull that could not bring a manifest has left an older one
    found: list[_Wanted] = []
    ids: list[IdMatrix] = [np.empty((0, 32), np.uint8)]
    there = place.store.index() if place.store.check_format() else None
    for one in wanted:
        with failures.gather():
            manifest = _manifest(workspace, one, absent, dry_run=dry_run)
            if manifest is None:
                continue
            rows = _ids(manifest) if where is None else _ids(manifest, select_rows(manifest, where).to_numpy())
            if one.pointer.stage is not None and not one.is_named and there is not None:
                rows = _made_here(workspace, one.pointer.dataset, rows, there)
            ids.append(rows)
            found.append(one)
            cache.keep(one.pointer.md5)
    report = TransferReport(0, 0, 0, 0, 0)
    with failures.gather(), suppress(StorageFailed):
        workspace.store.take_in_strays()
    with failures.gather():
        report = fetch_assets(
            workspace.store,
            place.store,
            np.concatenate(ids),
            jobs=workspace.jobs,
            progress=workspace.progress,
            dry_run=dry_run,
        )
    if there is not None:
        remember(workspace, place.name, there.entries.ids)
        remember_versions(workspace, place.name, {one.pointer.md5 for one in found if one.pointer.md5 not in absent})
    failures.check()
    return _report(report, place, dry_run, [one.pointer for one in found])


def _wanted(
    workspace: Workspace,
    place: RemotePlace,
    selectors: Sequence[str],
    failures: Failures,
    *,
    all_versions: bool,
) -> list[_Wanted]:
    wanted: list[_Wanted] = []
    for text in selectors:
        with failures.gather():
            wanted.append(_named(workspace, text))
    if not selectors:
        found = workspace.pins()
        failures.errors += found.unreadable.values()
        # In a fresh clone only the remote can tell which outputs of stages are datasets.
        told = (one for one in found.unknown if one.stage is not None and is_manifest_there(place.root, one.md5))
        wanted = [_Wanted(pointer, True, False) for pointer in (*found.datasets, *told)]
    if all_versions:
        seen = {(one.pointer.dataset, one.pointer.md5) for one in wanted}
        datasets = {one.pointer.dataset for one in wanted}
        wanted += [
            _Wanted(pointer, False, False)
            for pointer in pinned_versions(workspace.root)
            if (pointer.dataset, pointer.md5) not in seen and (not selectors or pointer.dataset in datasets)
        ]
    return wanted


def _made_here(workspace: Workspace, dataset: str, ids: IdMatrix, there: Index) -> IdMatrix:
    """Those of a stage's assets that the remote has; what is nowhere can only be made again, and that is said."""
    is_there, _ = there.find(ids)
    lost = int(workspace.store.missing(ids[~is_there]).sum())
    if lost:
        again = f"`dvc repro --force {shlex.quote(dataset)}` makes them again"
        workspace.progress.note(f"{dataset}: {lost} asset(s) are neither here nor on the remote; {again}")
    return ids[is_there]


def _push(
    workspace: Workspace,
    place: RemotePlace,
    pinned: Sequence[tuple[PinnedOut, Manifest]],
    failures: Failures,
    *,
    dry_run: bool,
    again: bool = False,
) -> MoveReport:
    versions: dict[PushVersion, PinnedOut] = {}
    for pointer, manifest in pinned:
        with failures.gather():
            versions[PushVersion(pointer.dataset, manifest.digest, pointer.md5, partial(_ids, manifest))] = pointer
    report = push_versions(
        workspace.store,
        place.store,
        list(versions),
        Manifests(
            partial(send_manifests, workspace.root, place.root, again=again),
            partial(manifests_on, workspace.root, place.root),
        ),
        jobs=workspace.jobs,
        progress=workspace.progress,
        dry_run=dry_run,
        actor=author(workspace.root),
        again=again,
    )
    failures.errors += [_not_sent(failure) for failure in report.failures]
    failed = {failure.version for failure in report.failures}
    sent = [pointer for version, pointer in versions.items() if version not in failed]
    md5s = {pointer.md5 for pointer in sent}
    for md5 in md5s:
        DvcCache(workspace.root).keep(md5)
    if not dry_run:
        if report.assets or not is_known(workspace, place.name) or not knows_versions(workspace, place.name, md5s):
            remember(workspace, place.name, place.store.index().entries.ids)
        remember_versions(workspace, place.name, md5s)
    failures.check()
    return _report(report, place, dry_run, sent)


def _not_sent(failure: Failure) -> DatapinError:
    """The error with the version that it kept back."""
    version, error = failure.version, failure.error
    name = f"{version.dataset} ({version.manifest[:8]})"
    if isinstance(error, AssetsMissing):
        return replace(error, reason=f"{name} was not pushed")
    if isinstance(error, ManifestMissing):
        return replace(error, dataset=name)
    return error


def _here(workspace: Workspace, names: Sequence[str], failures: Failures) -> list[str]:
    if names:
        return [workspace.dataset_name(name) for name in names]
    found = workspace.pins()
    failures.errors += found.unreadable.values()
    names = [pointer.dataset for pointer in found.datasets]
    return [dataset for dataset in names if workspace.dataset_path(dataset).is_dir()]


def _readable_pointers(workspace: Workspace, datasets: Sequence[str]) -> list[PinnedOut]:
    pointers = []
    for dataset in datasets:
        with suppress(DatapinError):  # told when it is needed
            pointer = Pins(workspace.root).dataset(dataset)
            pointers += [] if pointer is None else [pointer]
    return pointers


def _pinned(workspace: Workspace, dataset: str) -> tuple[PinnedOut, Manifest]:
    manifest = work_tree_manifest(workspace, dataset)
    pointer = Pins(workspace.root).dataset(dataset)
    if pointer is None:
        raise Refused(f"{dataset} is not pinned by any pointer", f"run `dvc add {shlex.quote(dataset)}`")
    if pointer.digest is not None and pointer.digest != manifest.digest:
        raise Refused(
            f"{dataset} has rows that its pointer does not pin",
            f"run `datapin restore {shlex.quote(dataset)}` to take the pinned ones (a copy of edits is kept), "
            f"or `dvc add {shlex.quote(dataset)}` and commit if they are edits of yours",
        )
    return pointer, manifest


def _opened(
    workspace: Workspace, place: RemotePlace, pointers: Sequence[PinnedOut], failures: Failures
) -> list[tuple[PinnedOut, Manifest]]:
    """Each version with its manifest, brought from the remote where it is not here.

    A stage's output that is nowhere is left out with a note; any other has failed.
    """
    opened: list[tuple[PinnedOut, Manifest]] = []
    for pointer in pointers:
        with failures.gather():
            try:
                manifest = open_linked(workspace.root, pointer)
            except (ManifestMissing, DamagedManifest):
                if not bring_manifests(workspace.root, place.root, [pointer.md5]):
                    manifest = open_linked(workspace.root, pointer)
                elif pointer.stage is None:
                    raise nowhere(pointer) from None
                else:
                    workspace.progress.note(
                        f"a version of {pointer.dataset} ({pointer.md5[:8]}) is neither here nor on the remote: "
                        "left out; `dvc repro` of its commit makes it again"
                    )
                    continue
            opened.append((pointer, manifest))
    return opened


def _named(workspace: Workspace, text: str) -> _Wanted:
    if "@" in text:
        named = name_version(workspace, text)
        if named.pinned is not None:
            return _Wanted(named.pinned.pointer, False, True)
    # Not asked of `name_version`: it knows no stage's output of which nothing is here yet.
    dataset = workspace.dataset_name(text, new=True)
    pointer = Pins(workspace.root).dataset(dataset)
    if pointer is None:
        raise UnknownDataset(dataset=text, known=tuple(workspace.datasets()))
    return _Wanted(pointer, True, True)


def _manifest(
    workspace: Workspace, one: _Wanted, absent: Mapping[str, DatapinError], *, dry_run: bool
) -> Manifest | None:
    """The manifest, laid out if it is the work tree's; None for a stage's output that can be made again."""
    pointer, dataset = one.pointer, one.pointer.dataset
    why = absent.get(pointer.md5)
    if one.in_work_tree and workspace.dataset_path(dataset).is_dir():
        if why is None and not dry_run:
            mend_work_tree(workspace, pointer)
        if why is None or work_tree_holds(workspace, pointer):
            return work_tree_manifest(workspace, dataset)
    if why is not None:
        if pointer.stage is None or one.is_named:
            raise why
        workspace.progress.note(f"{dataset} is not on the remote; `dvc repro` makes it again")
        return None
    if dry_run or not one.in_work_tree:
        return open_linked(workspace.root, pointer)
    lay_out(workspace.root, [pointer])
    return work_tree_manifest(workspace, dataset)


def _ids(manifest: Manifest, rows: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None) -> IdMatrix:
    """The ids in every asset column, of all rows or of some."""
    parts = []
    for name in asset_columns(manifest.schema):
        column = manifest.to_table(columns=[name])[name]
        column = column if rows is None else column.take(rows)
        parts.append(ids_from_hex(column.drop_null()))
    return np.concatenate(parts)


def _report(report: TransferReport, place: RemotePlace, dry_run: bool, pointers: Sequence[PinnedOut]) -> MoveReport:
    requests = 0 if dry_run else place.requests
    datasets = list(dict.fromkeys(pointer.dataset for pointer in pointers))
    return MoveReport(report.assets, report.packs, report.bytes, requests, report.skipped, datasets)
