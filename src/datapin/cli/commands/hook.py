"""`datapin hook`: what Git's hooks call. Not listed by `--help`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

import datapin
from datapin.base.errors import DatapinError, Usage, listed
from datapin.base.progress import Progress
from datapin.cli.bars import terminal_progress
from datapin.verbs.hooks import find_top, pushed_versions, read_refs, refs_from_pre_commit, refusal

# By these Git tells its hooks where they are; commands that we run in other folders would take it for their place.
_PLACES = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE",
)  # fmt: skip


@click.command("hook", hidden=True)
@click.argument("hook", type=click.Choice(["pre-push"]))
@click.argument("words", nargs=-1, metavar="[REMOTE URL]")
def command(hook: str, words: tuple[str, ...]) -> None:
    """Run datapin's part of a Git hook."""
    for name in _PLACES:
        os.environ.pop(name, None)
    if os.isatty(0):
        raise Usage(f"hook {hook} reads from stdin what Git tells it", "run `git push`, which calls it")
    refs = read_refs(os.fsdecode(line) for line in sys.stdin.buffer) or refs_from_pre_commit(os.environ)
    remote = words[0] if words else os.environ.get("PRE_COMMIT_REMOTE_NAME", "")
    top = find_top(Path.cwd())
    if top is None:
        return
    progress = terminal_progress(quiet=False)
    try:
        for project in pushed_versions(top, remote, refs):
            if project.unknown:
                names = listed(sorted({pointer.dataset for pointer in project.unknown}), 3)
                progress.note(f"datapin: {names}: not here, so nobody looked whether it is a dataset and on the remote")
            if project.versions:
                # The package loads its façade, and with it Arrow, only when it is asked for it.
                report = datapin.Repo.find(project.root, progress=progress).push_pinned(project.versions)
                _tell(progress, report.assets, report.packs)
    except DatapinError as error:
        raise refusal(error) from error


def _tell(progress: Progress, assets: int, packs: int) -> None:
    if assets:
        progress.note(f"datapin: sent {assets} assets in {packs} packs before the commits")
