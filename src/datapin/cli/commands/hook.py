"""`datapin hook`: what Git's hooks call. Not listed by `--help`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

import datapin
from datapin.base.errors import DatapinError, Usage, listed
from datapin.cli.bars import terminal_progress
from datapin.verbs.hooks import find_top, pushed_versions, read_refs, refs_from_pre_commit, refusal


@click.command("hook", hidden=True)
@click.argument("hook", type=click.Choice(["pre-push"]))
@click.argument("words", nargs=-1, metavar="[REMOTE URL]")
def command(hook: str, words: tuple[str, ...]) -> None:
    """Run datapin's part of a Git hook."""
    # Git tells its hooks by variables where they are; commands that we run elsewhere would take it for their place.
    for name in [name for name in os.environ if name.startswith("GIT_") and name in _GITS_OWN]:
        del os.environ[name]
    if sys.stdin.isatty():
        raise Usage(f"hook {hook} reads from stdin what Git tells it", "run `git push`, which calls it")
    refs = read_refs(sys.stdin) or refs_from_pre_commit(os.environ)
    remote = words[0] if words else os.environ.get("PRE_COMMIT_REMOTE_NAME", "")
    top = find_top(Path.cwd())
    if top is None:
        return
    progress = terminal_progress(quiet=False)
    for project in pushed_versions(top, remote, refs):
        if project.unknown:
            names = listed(sorted({pointer.dataset for pointer in project.unknown}), 3)
            progress.note(f"datapin: {names}: not here, so whether it is a dataset and on the remote was not looked at")
        if not project.versions:
            continue
        try:
            report = datapin.Repo.find(project.root, progress=progress).push_pinned(project.versions)
        except DatapinError as error:
            raise refusal(error) from error
        if report.assets or report.packs:
            progress.note(f"datapin: sent {report.assets} assets in {report.packs} packs before the commits")


_GITS_OWN = {
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE",
}  # fmt: skip
