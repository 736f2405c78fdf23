"""What `datapin hook` does when a hook of Git calls it: rows and files follow pointers, data goes before commits.

Nothing here imports Arrow: a push that changes no pointer must not wait for it.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datapin.base.errors import DatapinError, ManifestMissing, Refused, UnknownVersion, Usage, listed
from datapin.base.progress import Progress
from datapin.base.settings import CONFIG, FOLDER, read_settings
from datapin.base.state import state_of
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.git.ask import known_objects, remote_tips, tracked_files
from datapin.pins.history import PinnedVersions, UnreadablePointer, find_pins
from datapin.pins.projects import Owners
from datapin.pins.read import Pins
from datapin.rollback.journal import is_rollback_cut_off
from datapin.verbs.following.follow import FollowReport, follow, lines_about, tell_once
from datapin.verbs.workspace.workspace import Workspace

# A remote that does not answer must not hold a checkout up for a minute.
_PATIENCE = {"DATAPIN_REMOTE_TIMEOUT_S": "10"}
_WITHOUT = "`git push --no-verify` sends the commits without their data"


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
                if report.assets:
                    sent = f"{_counted(report.assets, 'asset')} in {_counted(report.packs, 'pack')}"
                    progress.note(f"datapin: sent {sent} before the commits")
    except DatapinError as error:
        raise refusal(error) from error


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _follow(root: Path, hook: str, since: str | None, progress: Progress) -> None:
    if is_rollback_cut_off(state_of(root).scratch):
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


@dataclass(frozen=True, slots=True)
class PushedRef:
    """One ref that Git is about to push: the object it will name, and the one it names there, None if unknown."""

    oid: str
    remote_oid: str | None
    name: str = "HEAD"  # of the branch or tag here


@dataclass(frozen=True, slots=True)
class PushedVersions:
    """The dataset versions that pushed commits pin in one project of the repository.

    `unknown` are outputs of these commits that may be datasets and that nobody here can tell.
    """

    root: Path
    versions: list[PinnedOut]
    unknown: list[PinnedOut]


def find_top(start: Path) -> Path | None:
    """The top of the Git work tree around `start`, None if there is none (a bare repository)."""
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), None)


def projects_of(top: Path) -> list[Path]:
    """Folders of the work tree where datapin is set up: the top, and those that Git tracks settings of."""
    tracked = [(top / name).parent.parent for name in tracked_files(top, f"{FOLDER}/{CONFIG}")]
    return [root for root in dict.fromkeys((top, *tracked)) if (root / FOLDER / CONFIG).is_file()]


def read_refs(lines: Iterable[str]) -> list[PushedRef]:
    """What Git tells a pre-push hook, `LOCAL-REF LOCAL-OID REMOTE-REF REMOTE-OID` a line; deletions left out."""
    refs = []
    for line in lines:
        words = line.split()
        if len(words) < 4:
            continue
        oid, remote_oid = words[-3], words[-1]
        if oid.strip("0"):
            name = " ".join(words[:-3]).removeprefix("refs/heads/").removeprefix("refs/tags/")
            refs.append(PushedRef(oid, remote_oid if remote_oid.strip("0") else None, name))
    return refs


def refs_from_pre_commit(environment: Mapping[str, str]) -> list[PushedRef]:
    """What the pre-commit tool tells its hooks instead, one ref at a time and nothing on stdin."""
    # When it pushes a history from its first commit on, it names the branch alone.
    oid = environment.get("PRE_COMMIT_TO_REF") or environment.get("PRE_COMMIT_LOCAL_BRANCH", "")
    name = environment.get("PRE_COMMIT_LOCAL_BRANCH", oid).removeprefix("refs/heads/")
    return [PushedRef(oid, None, name)] if oid and not oid.startswith("(") else []


def pushed_versions(top: Path, remote: str, refs: Iterable[PushedRef]) -> list[PushedVersions]:
    """What the commits pin that the Git remote `remote` does not have yet, by project; projects without any left out.

    Raises Refused if such a commit pins datasets of a project that the work tree does not have, to push them from; or
    if a pointer that is pushed cannot be read.
    """
    refs = list(refs)
    if not refs:
        return []
    wanted = [ref.oid for ref in refs]
    there = known_objects(top, [ref.remote_oid for ref in refs if ref.remote_oid is not None])
    not_in = [*there, *remote_tips(top, remote)]
    every = find_pins(top, wanted, not_in, every_project=True)
    if not (every.datasets or every.unknown or every.unreadable):
        return []
    roots = projects_of(top)
    owners = Owners.of(top, roots, wanted)
    _refuse_unreadable(top, refs, every.unreadable)
    _refuse_absent(refs, owners, every.datasets)
    found = [_told_apart(root, find_pins(root, wanted, not_in)) for root in roots]
    return [one for one in found if one.versions or one.unknown]


def _refuse_absent(refs: Sequence[PushedRef], owners: Owners, pinned: Sequence[PinnedOut]) -> None:
    """Refuse what no project of the work tree could send: its settings are on another branch."""
    left = [pointer for pointer in pinned if pointer.summary is not None and not owners.is_here(pointer.file)]
    if not left:
        return
    names = listed(sorted({pointer.dataset for pointer in left}), 3)
    projects = [project for project in dict.fromkeys(owners.owner(pointer.file) for pointer in left) if project]
    where = f"the project {listed(projects, 3)}" if projects else "datapin"
    tip = next((ref for ref in refs if not projects or owners.has(ref.oid, projects[0])), refs[0])
    raise Refused(
        f"its commits pin {names}, and the branch that is checked out has no {where.removeprefix('the ')} to send them",
        f"run `git checkout {shlex.quote(tip.name)}`, then push again",
    )


def _refuse_unreadable(top: Path, refs: Sequence[PushedRef], unreadable: Sequence[UnreadablePointer]) -> None:
    """Refuse pointers that nobody can read in what is pushed: whoever pulls it has no data. Mended ones may pass."""
    files = list(dict.fromkeys(one.file for one in unreadable))
    for ref in refs if files else ():
        with suppress(UnknownVersion):  # a tag on something that is no commit
            pins = Pins.at(top, ref.oid)
            for error in (error for file in files if (error := pins.problem(file)) is not None):
                raise Refused(f"{ref.name} has a pointer that cannot be read: {error.message}", error.hint)


def commit_before(hook: str, words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """What was checked out before Git called `hook` with `words`; None if nothing else was, or nobody says."""
    if hook == "post-checkout":
        before, after = (*words, "", "")[:2]
        before = before or environment.get("PRE_COMMIT_FROM_REF", "")
        return before if before and before != (after or environment.get("PRE_COMMIT_TO_REF", "")) else None
    is_moved = hook == "post-merge" or (hook == "post-rewrite" and tuple(words[:1]) == ("rebase",))
    return "ORIG_HEAD" if is_moved else None


def refusal(error: DatapinError) -> Refused:
    """Why Git must not push: the error that kept data from the remote, and the ways on."""
    is_setup = error.kind == "bad-settings"
    ways = [error.hint, "`datapin init --no-hooks` takes the hook out" if is_setup else "", _WITHOUT]
    return Refused(f"push refused: {error.message}", "; or ".join(way for way in ways if way))


def _told_apart(root: Path, pins: PinnedVersions) -> PushedVersions:
    """An output whose files DVC's cache does not know counts as a dataset if it is one in another version."""
    versions, unknown = list(pins.datasets), []
    names = {pointer.dataset for pointer in find_pins(root).datasets} if pins.unknown else set()
    cache = DvcCache(root)
    for pointer in pins.unknown:
        if pointer.dataset in names or cache.holds_manifest(pointer, in_work_tree=True):
            versions.append(pointer)
        elif not (root / pointer.dataset).is_dir():
            unknown.append(pointer)  # else it is here and no manifest: one that Git keeps instead of DVC's cache
    return PushedVersions(root, versions, unknown)
