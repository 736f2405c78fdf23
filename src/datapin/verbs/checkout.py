"""`checkout --into`: a dataset version as files."""

from __future__ import annotations

import os
from pathlib import Path

from datapin.base.errors import Usage
from datapin.base.id_columns import ids_from_hex
from datapin.manifest.query import select_rows
from datapin.verbs.presence import ensure_here
from datapin.verbs.selector import select
from datapin.verbs.workspace import Workspace
from datapin.versions.checkout import CheckoutReport, checkout_files
from datapin.versions.rollback_trees import register_tree


def checkout(workspace: Workspace, selector: str, *, into: str, where: str | None, force: bool) -> CheckoutReport:
    """Write the files of the matching rows into `into`; see versions.checkout for what is refused."""
    target = Path(os.path.normpath(workspace.cwd / into))
    if target == workspace.root or any(part in (".git", ".dvc", ".datapin") for part in target.parts):
        raise Usage(f"--into {into}: not a place for files", "name a folder of its own, for example --into out")
    for dataset in workspace.datasets():
        directory = workspace.dataset_path(dataset)
        if target == directory or target.is_relative_to(directory):
            raise Usage(
                f"--into {into}: {dataset} is a dataset, its folder holds manifest shards", "name another folder"
            )
    selected = select(workspace, selector)
    manifest = selected.manifest
    table = manifest.to_table(columns=["key", "asset_id", "size"])
    if where is not None:
        table = table.take(select_rows(manifest, where))
    ensure_here(workspace, ids_from_hex(table["asset_id"]), what=f"checkout of {selector}", keys=table["key"])
    state = workspace.cache / "checkout"
    report = checkout_files(
        table,
        target,
        store=workspace.store,
        state=state,
        jobs=workspace.jobs,
        progress=workspace.progress,
        force=force,
    )
    register_tree(state, target, selected.dataset, where, is_following=selected.version is None)
    return report
