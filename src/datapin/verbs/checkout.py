"""`checkout --into`: a dataset version as files."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from datapin.base.errors import Usage
from datapin.base.id_columns import ids_from_hex
from datapin.manifest.manifest import Manifest
from datapin.manifest.query import select_rows
from datapin.trees.checkout.checkout import CheckoutReport, checkout_files
from datapin.trees.checkout.layout import columns_of, lay_out
from datapin.trees.checkout.state import Arrangement, arrangement_of
from datapin.trees.places import FollowingTree, is_below, register_tree, registered_trees
from datapin.verbs.workspace.git_exclude import leave_out_of_git
from datapin.verbs.workspace.presence import ensure_here
from datapin.verbs.workspace.selector import Selected, select
from datapin.verbs.workspace.workspace import Workspace


def checkout(
    workspace: Workspace,
    selector: str,
    *,
    into: str,
    where: str | None,
    force: bool,
    link: bool | None = None,
    layout: str | None = None,
    adopt: bool = False,
    follow: bool | None = None,
) -> CheckoutReport:
    """Write the files of the matching rows into `into`; see trees.checkout.checkout for what is refused.

    `link` gives large files of the store a second name there instead of a copy, `layout` says where files lie: None is
    as the last checkout into that folder had it. `adopt` takes equal files that are there as datapin's. `follow` says
    whether rollbacks, and hooks if the settings say so, move the files along with the work tree's rows: None is as the
    last time, else only inside the repository. Git is told to leave the folder alone.
    """
    target = _target(workspace, into)
    selected = select(workspace, selector)
    state = workspace.cache / "checkout"
    is_following = _will_follow(workspace, selected, state, target, follow, into)
    before = arrangement_of(state, target)
    arrangement = Arrangement(layout or before.layout, before.is_linked if link is None else link)
    files = files_of_rows(selected.manifest, where, arrangement.layout, name=selector)
    ids = ids_from_hex(files["asset_id"])
    ensure_here(workspace, ids, what=f"checkout of {selector}", keys=files["key"])
    leave_out_of_git(workspace, target, is_done=False)
    report = checkout_files(
        files,
        target,
        store=workspace.store,
        state=state,
        jobs=workspace.jobs,
        progress=workspace.progress,
        force=force,
        adopt=adopt,
        arrangement=arrangement,
    )
    leave_out_of_git(workspace, target, is_done=True)
    tree = FollowingTree(str(target), selected.dataset, where, is_chosen=not _is_inside(workspace, target))
    register_tree(state, tree, is_following=is_following)
    return report


def _will_follow(
    workspace: Workspace, selected: Selected, state: Path, target: Path, wanted: bool | None, into: str
) -> bool:
    """Whether the folder will follow. Raises Usage if it is asked to follow a version that never changes."""
    if selected.version is not None:
        if wanted:
            raise Usage(f"--follow: {selected.name} does not change", f"name the rows here: {selected.dataset}")
        return False
    if wanted is None:
        wanted = _is_inside(workspace, target) or any(
            tree.target == str(target) for tree in registered_trees(state, workspace.root)
        )
        if not wanted:
            workspace.progress.note(f"{into} lies outside the repository and does not follow it (--follow: it does)")
    return wanted


def _is_inside(workspace: Workspace, target: Path) -> bool:
    return is_below(str(target), str(workspace.root))


def files_of_rows(manifest: Manifest, where: str | None, layout: str, *, name: str) -> pa.Table:
    """The files (key, asset_id, size) of the matching rows, laid out; `name` is for messages.

    Raises BadQuery, and Refused if the rows cannot be laid out so.
    """
    rows = manifest.to_table(columns=columns_of(layout, manifest.schema.names))
    if where is not None:
        rows = rows.take(select_rows(manifest, where))
    return lay_out(rows, layout, name=name)


def _target(workspace: Workspace, into: str) -> Path:
    """The folder to write into; outside the repository the way to it may lead through links.

    Raises Usage if it is the repository's own or a dataset's, or holds the repository.
    """
    target = Path(os.path.normpath(workspace.cwd / into))
    is_inside = _is_inside(workspace, target)
    if not is_inside:
        target = Path(os.path.realpath(target.parent)) / target.name
    # Of the path inside the repository only: an experiment's copy lies below the `.dvc` of its origin.
    reserved = (".git", ".dvc", ".datapin") if is_inside else (".git",)
    parts = target.relative_to(workspace.root).parts if is_inside else target.parts
    if workspace.root.is_relative_to(target) or any(part.casefold() in reserved for part in parts):
        raise Usage(f"--into {into}: not a place for files", "name a folder of its own, for example --into out")
    for dataset in workspace.pins().names:
        directory = workspace.dataset_path(dataset)
        if target == directory or target.is_relative_to(directory):
            raise Usage(
                f"--into {into}: {dataset} is a dataset, its folder holds manifest shards", "name another folder"
            )
    return target
