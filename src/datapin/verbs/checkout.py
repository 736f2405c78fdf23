"""`checkout --into`: a dataset version as files."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from datapin.base.errors import Usage
from datapin.base.id_columns import ids_from_hex
from datapin.manifest.manifest import Manifest
from datapin.manifest.query import select_rows
from datapin.verbs.presence import ensure_here
from datapin.verbs.selector import select
from datapin.verbs.workspace import Workspace
from datapin.versions.checkout import CheckoutReport, checkout_files
from datapin.versions.checkout_layout import columns_of, lay_out
from datapin.versions.checkout_places import register_tree
from datapin.versions.checkout_state import Arrangement, arrangement_of


def checkout(
    workspace: Workspace,
    selector: str,
    *,
    into: str,
    where: str | None,
    force: bool,
    link: bool | None = None,
    layout: str | None = None,
) -> CheckoutReport:
    """Write the files of the matching rows into `into`; see versions.checkout for what is refused.

    `link` gives large files of the store a second name there instead of a copy, `layout` says where files lie: None is
    as the last checkout into that folder had it.
    """
    target = _target(workspace, into)
    selected = select(workspace, selector)
    state = workspace.cache / "checkout"
    before = arrangement_of(state, target)
    arrangement = Arrangement(layout or before.layout, before.is_linked if link is None else link)
    files = files_of_rows(selected.manifest, where, arrangement.layout, name=selector)
    ids = ids_from_hex(files["asset_id"])
    ensure_here(workspace, ids, what=f"checkout of {selector}", keys=files["key"])
    report = checkout_files(
        files,
        target,
        store=workspace.store,
        state=state,
        jobs=workspace.jobs,
        progress=workspace.progress,
        force=force,
        arrangement=arrangement,
    )
    register_tree(state, target, selected.dataset, where, is_following=selected.version is None)
    return report


def files_of_rows(manifest: Manifest, where: str | None, layout: str, *, name: str) -> pa.Table:
    """The files (key, asset_id, size) of the matching rows, laid out; `name` is for messages.

    Raises BadQuery, and Refused if the rows cannot be laid out so.
    """
    rows = manifest.to_table(columns=columns_of(layout, manifest.schema.names))
    if where is not None:
        rows = rows.take(select_rows(manifest, where))
    return lay_out(rows, layout, name=name)


def _target(workspace: Workspace, into: str) -> Path:
    """The folder to write into. Raises Usage if it is the repository's own or a dataset's."""
    target = Path(os.path.normpath(workspace.cwd / into))
    # Of the path inside the repository only: an experiment's copy lies below the `.dvc` of its origin.
    is_inside = target.is_relative_to(workspace.root)
    reserved = (".git", ".dvc", ".datapin") if is_inside else (".git",)
    parts = target.relative_to(workspace.root).parts if is_inside else target.parts
    if target == workspace.root or any(part.casefold() in reserved for part in parts):
        raise Usage(f"--into {into}: not a place for files", "name a folder of its own, for example --into out")
    for dataset in workspace.find_outputs().names:
        directory = workspace.dataset_path(dataset)
        if target == directory or target.is_relative_to(directory):
            raise Usage(
                f"--into {into}: {dataset} is a dataset, its folder holds manifest shards", "name another folder"
            )
    return target
