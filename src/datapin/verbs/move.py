"""`push` and `fetch`: what is missing there or here, and nothing else.

Push goes packs, index, manifest shards, root record, each there before the next; fetch goes the other way.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from datapin.base.errors import ManifestMissing, Refused, UnknownDataset, who_must_push
from datapin.base.files import make_directory
from datapin.base.id_columns import IdMatrix, ids_from_hex
from datapin.githooks.install import WITHOUT_HOOKS, lacks_hooks
from datapin.manifest.manifest import Manifest
from datapin.manifest.query import select_rows
from datapin.manifest.schema import asset_columns
from datapin.transfer.fetch import fetch_assets
from datapin.transfer.push import PushVersion, push_versions
from datapin.transfer.report import TransferReport
from datapin.verbs.follow import follow
from datapin.verbs.known_remote import is_known, knows_versions, remember, remember_versions
from datapin.verbs.place import RemotePlace, remote_place
from datapin.verbs.reports import MoveReport
from datapin.verbs.selector import name_version, work_tree_manifest
from datapin.verbs.workspace import Workspace
from datapin.versions.dvc_cache import DvcCache
from datapin.versions.git import author
from datapin.versions.history import pinned_versions
from datapin.versions.objects import bring_manifests, is_manifest_there, lay_out, send_manifests
from datapin.versions.pointer import FoundOutputs, Pointer, materialise_pointer, read_dataset_pointer


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One dataset version; `in_work_tree` if the work tree pins it, `is_named` if the user asked for this one."""

    pointer: Pointer
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

    `again` looks also at what was pushed before, and sends what the remote has lost of it. Raises AssetsMissing or
    ManifestMissing if something is neither here nor there, Refused for rows that no pointer pins, RemoteUnreachable.
    """
    place = remote_place(workspace, remote)
    found = None if names else workspace.find_outputs()
    datasets = _here(workspace, names, found)
    pinned = [_pinned(workspace, dataset) for dataset in datasets]
    if all_versions:
        seen = {(pointer.dataset, pointer.md5) for pointer, _ in pinned}
        older = [one for one in pinned_versions(workspace.root) if (one.dataset, one.md5) not in seen]
        wanted = [one for one in older if not names or one.dataset in datasets]
        pinned += _opened(workspace, place, wanted)
    report = _push(workspace, place, pinned, dry_run=dry_run, again=again)
    if found is not None:
        found.check()  # what can be read is sent all the same
    return report


def push_pinned(workspace: Workspace, pointers: Sequence[Pointer], *, remote: str | None = None) -> MoveReport:
    """Send these dataset versions, whichever commit pins them. Raises as `push`."""
    place = remote_place(workspace, remote)
    return _push(workspace, place, _opened(workspace, place, pointers), dry_run=False)


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
    an error if it was named: `dvc repro` makes it again. Raises ManifestMissing, AssetsMissing, BadQuery,
    RemoteUnreachable.
    """
    _tell_of_hooks(workspace)
    place = remote_place(workspace, remote)
    outputs = None if selectors else workspace.find_outputs()
    wanted = _wanted(workspace, place, selectors, outputs, all_versions=all_versions)
    cache = DvcCache(workspace.root)
    for one in wanted:
        cache.give_back(one.pointer.md5)
    not_here = {one.pointer.md5 for one in wanted if not cache.is_whole(one.pointer.md5)}
    absent = set(bring_manifests(workspace.root, place.root, sorted(not_here)))
    if not dry_run:
        follow(workspace.root)  # a pull that could not bring a manifest has left an older one
    found: list[_Wanted] = []
    ids: list[IdMatrix] = [np.empty((0, 32), np.uint8)]
    there = place.store.index() if place.store.check_format() else None
    for one in wanted:
        manifest = _manifest(workspace, one, is_absent=one.pointer.md5 in absent)
        if manifest is None:
            continue
        rows = _ids(manifest) if where is None else _ids(manifest, select_rows(manifest, where).to_numpy())
        if one.pointer.stage is not None and not one.is_named and there is not None:
            is_there, _ = there.find(rows)
            rows = rows[is_there]
        ids.append(rows)
        found.append(one)
        cache.keep(one.pointer.md5)
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
        remember_versions(workspace, place.name, not_here - absent)
    if outputs is not None:
        outputs.check()  # what can be read is brought all the same
    return _report(report, place, dry_run, [one.pointer for one in found])


def _wanted(
    workspace: Workspace,
    place: RemotePlace,
    selectors: Sequence[str],
    outputs: FoundOutputs | None,
    *,
    all_versions: bool,
) -> list[_Wanted]:
    """`outputs` are those of the work tree, where nobody named a dataset."""
    wanted = [_named(workspace, text) for text in selectors]
    if outputs is not None:
        # In a fresh clone only the remote can tell which outputs of stages are datasets.
        told = (
            one
            for one in outputs.unknown
            if one.stage is not None and is_manifest_there(workspace.root, place.root, one.md5)
        )
        wanted = [_Wanted(pointer, True, False) for pointer in (*outputs.datasets, *told)]
    if all_versions:
        seen = {(one.pointer.dataset, one.pointer.md5) for one in wanted}
        datasets = {one.pointer.dataset for one in wanted}
        wanted += [
            _Wanted(pointer, False, False)
            for pointer in pinned_versions(workspace.root)
            if (pointer.dataset, pointer.md5) not in seen and (not selectors or pointer.dataset in datasets)
        ]
    return wanted


def _tell_of_hooks(workspace: Workspace) -> None:
    if lacks_hooks(workspace.root):
        workspace.progress.note(WITHOUT_HOOKS)


def _push(
    workspace: Workspace,
    place: RemotePlace,
    pinned: Sequence[tuple[Pointer, Manifest]],
    *,
    dry_run: bool,
    again: bool = False,
) -> MoveReport:
    versions = [
        PushVersion(pointer.dataset, manifest.digest, pointer.md5, partial(_ids, manifest))
        for pointer, manifest in pinned
    ]
    report = push_versions(
        workspace.store,
        place.store,
        versions,
        lambda md5s: send_manifests(workspace.root, place.root, md5s),
        jobs=workspace.jobs,
        progress=workspace.progress,
        dry_run=dry_run,
        actor=author(workspace.root),
        again=again,
    )
    md5s = {pointer.md5 for pointer, _ in pinned}
    for md5 in md5s:
        DvcCache(workspace.root).keep(md5)
    if not dry_run:
        if report.assets or not is_known(workspace, place.name) or not knows_versions(workspace, place.name, md5s):
            remember(workspace, place.name, place.store.index().entries.ids)
        remember_versions(workspace, place.name, md5s)
    return _report(report, place, dry_run, [pointer for pointer, _ in pinned])


def _here(workspace: Workspace, names: Sequence[str], found: FoundOutputs | None) -> list[str]:
    if found is None:
        return [workspace.dataset_name(name) for name in names]
    return [dataset for dataset in found.readable if workspace.dataset_path(dataset).is_dir()]


def _pinned(workspace: Workspace, dataset: str) -> tuple[Pointer, Manifest]:
    manifest = work_tree_manifest(workspace, dataset)
    pointer = read_dataset_pointer(workspace.root, dataset)
    if pointer is None:
        raise Refused(f"{dataset} is not pinned by any pointer", f"run `dvc add {shlex.quote(dataset)}`")
    if pointer.digest is not None and pointer.digest != manifest.digest:
        raise Refused(
            f"{dataset} has rows that its pointer does not pin",
            f"run `datapin restore {shlex.quote(dataset)}` to take the pinned ones (a copy of edits is kept), "
            f"or `dvc add {shlex.quote(dataset)}` and commit if they are edits of yours",
        )
    return pointer, manifest


def _opened(workspace: Workspace, place: RemotePlace, pointers: Sequence[Pointer]) -> list[tuple[Pointer, Manifest]]:
    """Each version with its manifest, brought from the remote where it is not here.

    A stage's output that is nowhere is left out with a note. Raises ManifestMissing for any other.
    """
    opened = []
    for pointer in pointers:
        try:
            manifest = _manifest_of(workspace, pointer)
        except ManifestMissing:
            if not bring_manifests(workspace.root, place.root, [pointer.md5]):
                manifest = _manifest_of(workspace, pointer)
            elif pointer.stage is None:
                raise _nowhere(pointer) from None
            else:
                workspace.progress.note(
                    f"a version of {pointer.dataset} ({pointer.md5[:8]}) is neither here nor on the remote: left out; "
                    "`dvc repro` of its commit makes it again"
                )
                continue
        opened.append((pointer, manifest))
    return opened


def _nowhere(pointer: Pointer) -> ManifestMissing:
    advice = who_must_push(pointer.dataset, is_output=pointer.stage is not None)
    missing = f"{pointer.md5} in DVC's cache"
    return ManifestMissing(pointer.dataset, missing, "the remote does not have it either", advice)


def _named(workspace: Workspace, text: str) -> _Wanted:
    if "@" in text:
        named = name_version(workspace, text)
        if named.pinned is not None:
            return _Wanted(named.pinned.pointer, False, True)
    # Not asked of `name_version`: it knows no stage's output of which nothing is here yet.
    dataset = workspace.dataset_name(text, new=True)
    pointer = read_dataset_pointer(workspace.root, dataset)
    if pointer is None:
        raise UnknownDataset(dataset=text, known=tuple(workspace.datasets()))
    return _Wanted(pointer, True, True)


def _manifest(workspace: Workspace, one: _Wanted, *, is_absent: bool) -> Manifest | None:
    """The manifest, laid out if it is the work tree's; None for a stage's output that can be made again."""
    dataset = one.pointer.dataset
    if one.in_work_tree and workspace.dataset_path(dataset).is_dir():
        return work_tree_manifest(workspace, dataset)
    if is_absent:
        if one.pointer.stage is not None and not one.is_named:
            workspace.progress.note(f"{dataset} is not on the remote; `dvc repro` makes it again")
            return None
        raise _nowhere(one.pointer)
    if not one.in_work_tree:
        return _manifest_of(workspace, one.pointer)
    lay_out(workspace.root, [one.pointer])
    return work_tree_manifest(workspace, dataset)


def _manifest_of(workspace: Workspace, pointer: Pointer) -> Manifest:
    make_directory(workspace.cache)
    directory = materialise_pointer(workspace.root, pointer, workspace.cache / "versions")
    return Manifest.open(directory, name=f"{pointer.dataset} ({pointer.md5[:8]})")


def _ids(manifest: Manifest, rows: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None) -> IdMatrix:
    """The ids in every asset column, of all rows or of some."""
    parts = []
    for name in asset_columns(manifest.schema):
        column = manifest.to_table(columns=[name])[name]
        column = column if rows is None else column.take(rows)
        parts.append(ids_from_hex(column.drop_null()))
    return np.concatenate(parts)


def _report(report: TransferReport, place: RemotePlace, dry_run: bool, pointers: Sequence[Pointer]) -> MoveReport:
    requests = 0 if dry_run else place.requests
    datasets = list(dict.fromkeys(pointer.dataset for pointer in pointers))
    return MoveReport(report.assets, report.packs, report.bytes, requests, report.skipped, datasets)
