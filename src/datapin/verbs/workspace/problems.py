"""Why one dataset cannot be read, with what helps: the others still can."""

from __future__ import annotations

import shlex

from datapin.base.errors import UNREADABLE_ROWS, DatapinError, ManifestMissing
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.cure import commit_of_another
from datapin.dvcfiles.outs import PinnedOut
from datapin.pins.held import held_manifests
from datapin.verbs.workspace.reports import Problem
from datapin.verbs.workspace.workspace import Workspace


def dataset_problem(workspace: Workspace, dataset: str, pointer: PinnedOut | None, error: DatapinError) -> Problem:
    """What to say of a dataset of the work tree whose pointer or manifest raised `error`."""
    hint = error.hint
    if isinstance(error, UNREADABLE_ROWS) and pointer is not None:
        hint = _way_back(workspace, dataset, pointer)
    elif isinstance(error, ManifestMissing) and pointer is not None and DvcCache(workspace.root).is_whole(pointer.md5):
        hint = f"`datapin restore {shlex.quote(dataset)}` takes it from another work tree or from DVC's cache"
    return Problem(dataset, error.kind, error.message, hint)


def _way_back(workspace: Workspace, dataset: str, pointer: PinnedOut) -> str:
    name = shlex.quote(dataset)
    here = held_manifests(workspace.root).find(dataset)
    if here != pointer.md5:
        return f"bring the pinned rows back with `datapin restore {name}`"
    if pointer.stage is not None:
        return f"these are the rows that {pointer.file} pins: `dvc repro --force {name}` makes them again"
    before = commit_of_another(workspace.root, pointer.file, pointer.md5)
    way = f"`datapin rollback {name} --to {before}` takes those before" if before else "no commit has other ones"
    return f"these are the rows that {pointer.file} pins: {way}"
