"""`push` and `fetch`: what is missing there or here, and nothing else.

Push goes packs, index, manifest shards, root record, each there before the next; fetch goes the other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datapin.backends.locate import locate_backend
from datapin.base.errors import BadSettings, ManifestMissing, Refused, UnknownDataset
from datapin.base.id_columns import IdMatrix, ids_from_hex
from datapin.manifest.manifest import Manifest
from datapin.manifest.query import select_rows
from datapin.manifest.schema import asset_columns
from datapin.store.remote import RemoteStore
from datapin.transfer.fetch import fetch_assets
from datapin.transfer.push import push_assets
from datapin.transfer.report import TransferReport
from datapin.transfer.roots import write_root
from datapin.verbs.known_remote import remember
from datapin.verbs.reports import MoveReport
from datapin.verbs.selector import manifest_at, work_tree_manifest
from datapin.verbs.workspace import Workspace
from datapin.versions.dvc_settings import default_remote, settings_of_remotes
from datapin.versions.objects import bring_manifests, lay_out, send_manifests
from datapin.versions.pointer import Pointer, find_pointers, read_dataset_pointer


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One dataset version to fetch; `is_named` if the user asked for this one."""

    pointer: Pointer
    version: str | None
    is_named: bool


def push(workspace: Workspace, names: Sequence[str], *, remote: str | None, dry_run: bool) -> MoveReport:
    """Send the named datasets, or all of the work tree.

    Raises AssetsMissing or ManifestMissing if something is not here, Refused for rows that no pointer pins,
    RemoteUnreachable.
    """
    remote_name, place = _remote(workspace, remote)
    pinned = [_pinned(workspace, dataset) for dataset in _here(workspace, names)]
    all_ids = [_ids(manifest) for _, manifest in pinned]
    wanted = np.concatenate([np.empty((0, 32), np.uint8), *all_ids])
    report = push_assets(
        workspace.store, place, wanted, jobs=workspace.jobs, progress=workspace.progress, dry_run=dry_run
    )
    if not dry_run and pinned:
        send_manifests(workspace.root, remote_name, [pointer.md5 for pointer, _ in pinned])
        for (pointer, manifest), ids in zip(pinned, all_ids, strict=True):
            write_root(place, dataset=pointer.dataset, digest=manifest.digest, manifest=pointer.md5, ids=ids)
        remember(workspace, remote_name, place.index().entries.ids)
    return _report(report, place, dry_run, [pointer.dataset for pointer, _ in pinned])


def fetch(
    workspace: Workspace, selectors: Sequence[str], *, remote: str | None, where: str | None, dry_run: bool
) -> MoveReport:
    """Bring the named dataset versions, or all datasets that the work tree pins; with `where`, assets of these rows.

    A stage's output that was never pushed is only an error if it was named: `dvc repro` makes it again. Raises
    ManifestMissing, AssetsMissing, BadQuery, RemoteUnreachable.
    """
    remote_name, place = _remote(workspace, remote)
    wanted = [_named(workspace, text) for text in selectors] or [
        _Wanted(pointer, None, False) for pointer in find_pointers(workspace.root)
    ]
    absent = set(bring_manifests(workspace.root, remote_name, sorted({one.pointer.md5 for one in wanted})))
    found: list[_Wanted] = []
    ids: list[IdMatrix] = [np.empty((0, 32), np.uint8)]
    there = place.index() if place.check_format() else None
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
    report = fetch_assets(
        workspace.store,
        place,
        np.concatenate(ids),
        jobs=workspace.jobs,
        progress=workspace.progress,
        dry_run=dry_run,
    )
    if there is not None:
        remember(workspace, remote_name, there.entries.ids)
    return _report(report, place, dry_run, [one.pointer.dataset for one in found])


def _remote(workspace: Workspace, wanted: str | None) -> tuple[str, RemoteStore]:
    """The DVC remote of this name, of the settings, or DVC's default one, and the store on it."""
    name = wanted or workspace.settings.remote or default_remote(workspace.root)
    known = settings_of_remotes(workspace.root)
    if name is None:
        advice = "run `dvc remote add --default NAME DIRECTORY`"
        raise BadSettings(path=".dvc/config", where="", problem="no default remote", advice=advice)
    if name not in known:
        seen = ", ".join(sorted(known)) or "none"
        advice = f"run `dvc remote add {name} URL`"
        raise BadSettings(path=".dvc/config", where="", problem=f"no remote {name!r}; known: {seen}", advice=advice)
    backend = locate_backend(name, str(known[name].get("url", "")), base=workspace.root)
    return name, RemoteStore(backend)


def _here(workspace: Workspace, names: Sequence[str]) -> list[str]:
    if names:
        return [workspace.dataset_name(name) for name in names]
    return [dataset for dataset in workspace.datasets() if workspace.dataset_path(dataset).is_dir()]


def _pinned(workspace: Workspace, dataset: str) -> tuple[Pointer, Manifest]:
    manifest = work_tree_manifest(workspace, dataset)
    pointer = read_dataset_pointer(workspace.root, dataset)
    if pointer is None:
        raise Refused(f"{dataset} is not pinned by any pointer", f"run `dvc add {dataset}`")
    if pointer.digest is not None and pointer.digest != manifest.digest:
        raise Refused(f"{dataset} has rows that its pointer does not pin", f"run `dvc add {dataset}` and commit")
    return pointer, manifest


def _named(workspace: Workspace, text: str) -> _Wanted:
    name, _, version = text.partition("@")
    dataset = workspace.dataset_name(name, new=True)
    pointer = read_dataset_pointer(workspace.root, dataset, rev=version or None)
    if pointer is None:
        raise UnknownDataset(dataset=text, known=tuple(workspace.datasets()))
    return _Wanted(pointer, version or None, True)


def _manifest(workspace: Workspace, one: _Wanted, *, is_absent: bool) -> Manifest | None:
    """The manifest, laid out if it is the work tree's; None for a stage's output that can be made again."""
    dataset = one.pointer.dataset
    if one.version is not None:
        return manifest_at(workspace, dataset, one.version)
    if workspace.dataset_path(dataset).is_dir():
        return work_tree_manifest(workspace, dataset)
    if is_absent:
        if one.pointer.stage is not None and not one.is_named:
            workspace.progress.note(f"{dataset} is not on the remote; `dvc repro` makes it again")
            return None
        raise ManifestMissing(dataset=dataset, missing=f"{one.pointer.md5} on the remote")
    lay_out(workspace.root, [one.pointer.file if one.pointer.stage is None else dataset])
    return work_tree_manifest(workspace, dataset)


def _ids(manifest: Manifest, rows: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None) -> IdMatrix:
    """The ids in every asset column, of all rows or of some."""
    parts = []
    for name in asset_columns(manifest.schema):
        column = manifest.to_table(columns=[name])[name]
        column = column if rows is None else column.take(rows)
        parts.append(ids_from_hex(column.drop_null()))
    return np.concatenate(parts)


def _report(report: TransferReport, place: RemoteStore, dry_run: bool, datasets: list[str]) -> MoveReport:
    requests = 0 if dry_run else place.backend.requests
    return MoveReport(report.assets, report.packs, report.bytes, requests, report.skipped, datasets)
