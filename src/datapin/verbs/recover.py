"""`recover`: the way out after a command that was cut off, also where what it noted cannot be read.

What can be finished is; a dataset that was left without its folder comes back from what its pointer pins; what a dead
command had staged or moved aside is kept where the user can look at it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datapin.base.errors import DamagedJournal, DatapinError
from datapin.base.files import fsync_directory, make_directory
from datapin.base.findings import Finding
from datapin.base.journals import SET_ASIDE, Anchors, finish_swap
from datapin.pins.read import Pins
from datapin.verbs.rollback.rollback import restore
from datapin.verbs.workspace.placing import is_placing
from datapin.verbs.workspace.workspace import Workspace

_RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class RecoverReport:
    """Datasets whose swap was finished, and those brought back from their pointers; where leftovers are kept."""

    finished: list[str]
    restored: list[str]
    kept: list[str]
    problems: list[str]


def recover(workspace: Workspace) -> RecoverReport:
    """Finish or set aside what was cut off, bring back what is pinned and gone, and empty the place of what is aside.

    One dataset that cannot be brought back keeps none of the others from it; the report names it.
    """
    finished, restored, problems = [], [], []
    datasets = workspace.pins().names
    for dataset in datasets:
        try:
            if is_placing(workspace.root, dataset):
                workspace.recover(dataset)
                finished.append(dataset)
        except DamagedJournal:
            pass  # set aside by now
    _finish_stages(workspace)
    for dataset in datasets:
        try:
            pointer = Pins(workspace.root).dataset(dataset)
            if pointer is not None and pointer.stage is None and not workspace.dataset_path(dataset).exists():
                restore(workspace, [dataset])
                restored.append(dataset)
        except DatapinError as error:
            problems.append(f"{error.message}; {error.hint}")
    return RecoverReport(finished, restored, [] if problems else _keep(workspace), problems)


def set_aside_findings(workspace: Workspace) -> list[Finding]:
    """What waits for `recover`."""
    names = sorted(path.name for path in _set_aside(workspace) if not path.is_dir())
    if not names:
        return []
    message = f"{len(names)} journal(s) of commands that were cut off could not be followed and were set aside"
    where = os.path.relpath(workspace.scratch / SET_ASIDE, workspace.root)
    return [Finding("warning", "journal", where, message, "run `datapin recover`")]


def _finish_stages(workspace: Workspace) -> None:
    """A swap of a stage's output that was cut off; it would be finished when the stage runs again."""
    for journal in workspace.scratch.glob("swap-*.json"):
        with suppress(DamagedJournal):
            finish_swap(journal, Anchors(workspace.root, workspace.scratch))


def _keep(workspace: Workspace) -> list[str]:
    """Move what was set aside to where nothing removes it; where that is."""
    kept = []
    for path in list(_set_aside(workspace)):
        folder = workspace.state.kept / _RECOVERED
        make_directory(folder)
        number = 0
        while (target := folder / f"{number}-{path.name}").exists():
            number += 1
        shutil.move(path, target)
        fsync_directory(folder)
        kept.append(str(target))
    return kept


def _set_aside(workspace: Workspace) -> Iterator[Path]:
    folder = workspace.scratch / SET_ASIDE
    return folder.iterdir() if folder.is_dir() else iter(())
