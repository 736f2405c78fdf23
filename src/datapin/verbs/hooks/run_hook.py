"""What `datapin hook` does when a hook of Git calls it: rows and files follow pointers, data goes before commits."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from datapin.base.errors import DatapinError, ManifestMissing, Usage, listed
from datapin.base.progress import Progress
from datapin.base.settings import read_settings
from datapin.rollback.journal import is_rollback_cut_off
from datapin.verbs.following.follow import FollowReport, follow, lines_about, tell_once
from datapin.verbs.hooks.hooks import (
    commit_before,
    find_top,
    projects_of,
    pushed_versions,
    read_refs,
    refs_from_pre_commit,
    refusal,
)
from datapin.verbs.workspace.placing import scratch_of
from datapin.verbs.workspace.workspace import Workspace

# A remote that does not answer must not hold a checkout up for a minute.
_PATIENCE = {"DATAPIN_REMOTE_TIMEOUT_S": "10"}


def run_hook(hook: str, words: Sequence[str], progress: Progress) -> None:
    """Do datapin's part of a Git hook that was called with `words`. Raises Refused where Git must not push."""
    if hook == "pre-push":
        _before_push(words, progress)
        return
    top = find_top(Path.cwd())
    if top is None:
        return
    since = commit_before(hook, words, os.environ)
    for root in projects_of(top):
        # What goes wrong here is told; Git has done its work, and must not seem to have failed.
        try:
            _follow(root, hook, since, progress)
        except DatapinError as error:
            progress.note(f"datapin: {error.message}; {error.hint}")


def _before_push(words: Sequence[str], progress: Progress) -> None:
    if os.isatty(0):
        raise Usage("hook pre-push reads from stdin what Git tells it", "run `git push`, which calls it")
    refs = read_refs(os.fsdecode(line) for line in sys.stdin.buffer) or refs_from_pre_commit(os.environ)
    remote = words[0] if words else os.environ.get("PRE_COMMIT_REMOTE_NAME", "")
    top = find_top(Path.cwd())
    if top is None:
        return
    try:
        for project in pushed_versions(top, remote, refs):
            if project.unknown:
                names = listed(sorted({pointer.dataset for pointer in project.unknown}), 3)
                progress.note(f"datapin: {names}: not here, so nobody looked whether it is a dataset and on the remote")
            if project.versions:
                from datapin.verbs.hooks.with_rows import push_pinned

                report = push_pinned(Workspace.find(project.root, progress=progress), project.versions)
                _tell(progress, report.assets, report.packs)
    except DatapinError as error:
        raise refusal(error) from error


def _tell(progress: Progress, assets: int, packs: int) -> None:
    if assets:
        progress.note(f"datapin: sent {_counted(assets, 'asset')} in {_counted(packs, 'pack')} before the commits")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _follow(root: Path, hook: str, since: str | None, progress: Progress) -> None:
    if is_rollback_cut_off(scratch_of(root)):
        Workspace.find(root, progress=progress)  # which finishes it
    report = follow(root, since=since)
    changed = list(report.changed)
    reason = ""
    is_news = tell_once(root, report, is_first=hook == "post-index-change")
    if report.missing and is_news:
        report, reason = _bring(root, report, progress)
        changed += report.changed
    if changed and read_settings(root).checkout.follow:
        from datapin.verbs.hooks.with_rows import follow_trees

        follow_trees(Workspace.find(root, progress=progress), changed)
    for line in lines_about(report, reason) if is_news else ():
        progress.note(line)


def _bring(root: Path, report: FollowReport, progress: Progress) -> tuple[FollowReport, str]:
    """Bring what is missing and go on; what is missing then, and why."""
    from datapin.verbs.hooks.with_rows import bring

    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    reason = ""
    try:
        bring(Workspace.find(root, progress=progress), report.missing)
    except ManifestMissing as error:
        reason = error.reason
    return follow(root), reason
