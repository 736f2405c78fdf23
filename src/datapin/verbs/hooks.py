"""What Git's hooks ask. Nothing here imports Arrow: a push that changes no pointer must not wait for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datapin.base.errors import DatapinError, Refused, listed
from datapin.base.settings import CONFIG, FOLDER, read_settings
from datapin.versions.dvc_cache import DvcCache
from datapin.versions.git import known_objects, remote_tips, tracked_files
from datapin.versions.history import Pins, find_pins
from datapin.versions.pointer_file import Pointer

_WITHOUT = "`git push --no-verify` sends the commits without their data"


@dataclass(frozen=True, slots=True)
class PushedRef:
    """One ref that Git is about to push: the object it will name, and the one it names there, None if unknown."""

    oid: str
    remote_oid: str | None


@dataclass(frozen=True, slots=True)
class PushedVersions:
    """The dataset versions that pushed commits pin in one project of the repository.

    `unknown` are outputs of these commits that may be datasets and that nobody here can tell.
    """

    root: Path
    versions: list[Pointer]
    unknown: list[Pointer]


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
            refs.append(PushedRef(oid, remote_oid if remote_oid.strip("0") else None))
    return refs


def refs_from_pre_commit(environment: Mapping[str, str]) -> list[PushedRef]:
    """What the pre-commit tool tells its hooks instead, one ref at a time and nothing on stdin."""
    # When it pushes a history from its first commit on, it names the branch alone.
    oid = environment.get("PRE_COMMIT_TO_REF") or environment.get("PRE_COMMIT_LOCAL_BRANCH", "")
    return [PushedRef(oid, None)] if oid and not oid.startswith("(") else []


def pushed_versions(top: Path, remote: str, refs: Iterable[PushedRef]) -> list[PushedVersions]:
    """What the commits pin that the Git remote `remote` does not have yet, by project; projects without any left out.

    Raises Refused if such a commit pins datasets and the work tree has no project to push them from.
    """
    refs = list(refs)
    if not refs:
        return []
    wanted = [ref.oid for ref in refs]
    there = known_objects(top, [ref.remote_oid for ref in refs if ref.remote_oid is not None])
    not_in = [*there, *remote_tips(top, remote)]
    projects = projects_of(top)
    if not projects:
        ours = [pointer for pointer in find_pins(top, wanted, not_in).datasets if pointer.summary is not None]
        if ours:
            names = listed(sorted({pointer.dataset for pointer in ours}), 3)
            what = f"its commits pin {names}, and the branch that is checked out has no datapin to send them"
            raise Refused(what, "check out a branch that has it, then push again")
    found = [_told_apart(root, find_pins(root, wanted, not_in)) for root in projects]
    return [one for one in found if one.versions or one.unknown]


def commit_before(hook: str, words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """What was checked out before Git called `hook` with `words`; None if nothing else was, or nobody says."""
    if hook == "post-checkout":
        before, after = (*words, "", "")[:2]
        before = before or environment.get("PRE_COMMIT_FROM_REF", "")
        return before if before and before != (after or environment.get("PRE_COMMIT_TO_REF", "")) else None
    is_moved = hook == "post-merge" or (hook == "post-rewrite" and tuple(words[:1]) == ("rebase",))
    return "ORIG_HEAD" if is_moved else None


def follows_tree(root: Path) -> bool:
    """Whether the files of a dataset that were checked out follow its manifest."""
    return read_settings(root).checkout.follow


def refusal(error: DatapinError) -> Refused:
    """Why Git must not push: the error that kept data from the remote, and the ways on."""
    is_setup = error.kind == "bad-settings"
    ways = [error.hint, "`datapin init --no-hooks` takes the hook out" if is_setup else "", _WITHOUT]
    return Refused(f"push refused: {error.message}", "; or ".join(way for way in ways if way))


def _told_apart(root: Path, pins: Pins) -> PushedVersions:
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
