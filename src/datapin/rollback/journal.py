"""A rollback's journal: one rename says what is to be put in place; from then on it is, whatever crashes.

Everything that the journal names is durable before the journal is. Until its rename nothing has changed; afterwards
`finish_rollback` completes the work, in this process or in the next one that comes by.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from datapin.base import failpoints
from datapin.base.errors import (
    Damage,
    DatapinError,
    Refused,
    StorageFailed,
    ToolFailed,
    WorldError,
    YourError,
    listed,
)
from datapin.base.files import fsync_directory, lock, make_directory, publish_bytes, sweep_temporaries
from datapin.base.journals import Anchors, ForeignPlace, read_journal, set_aside
from datapin.dvcfiles.locks import is_in_use, repository_lock
from datapin.dvcfiles.tracking_links import register_folder
from datapin.git.index import stage
from datapin.trees.places import registered_trees

_JOURNAL = Path("rollback") / "journal"
_LOCK = Path("locks") / "rollback"
_DVC_WAIT_S = 60.0
_ABSENT, _CONTENT = "absent", "sha256:"


@dataclass(frozen=True, slots=True)
class Placement:
    """`staged`, a file or a folder, takes the place of `target`; a folder that is there steps to `aside` first."""

    staged: str
    target: str
    aside: str
    before: str  # what it replaces, see `fingerprint`


@dataclass(frozen=True, slots=True)
class TreeToWrite:
    """A folder of files that follows its dataset: `rows` is an Arrow file of the files it will hold."""

    target: str
    rows: str
    force: bool


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """All that a rollback puts in place. Paths are absolute, but for `folders` and `to_stage`; not in the journal.

    `folders` are what DVC's register is told of, `to_stage` what Git's index is.
    """

    placements: tuple[Placement, ...]
    trees: tuple[TreeToWrite, ...] = ()
    folders: tuple[str, ...] = ()
    to_stage: tuple[str, ...] = field(default=())


WriteTree = Callable[[TreeToWrite], None]


def is_rollback_cut_off(scratch: Path) -> bool:
    """Whether a rollback has begun to put things in place and has not ended; it may be under way."""
    return (scratch / _JOURNAL).exists()


def commit_rollback(root: Path, scratch: Path, plan: RollbackPlan, write_tree: WriteTree) -> None:
    """Put everything in place, or nothing.

    The caller holds the edit locks of all datasets in the plan. Raises Refused if a stage is running, Locked; what
    goes wrong once the journal stands is raised after all else is done, a full disk at once: the next command goes on.
    """
    with _alone(scratch):
        _finish(root, scratch, write_tree)
        with repository_lock(root, timeout_s=_DVC_WAIT_S):
            _refuse_running(root, plan)
            if others := _changed_since(plan):
                names = listed([os.path.relpath(path, root) for path in others], 3)
                raise Refused(f"{names}: changed while the rollback was made ready", "run the command again")
            refuse_unwritable(_folders_of(plan))
            make_directory((scratch / _JOURNAL).parent)
            sweep_temporaries((scratch / _JOURNAL).parent, older_than_s=0.0)  # nobody else writes there now
            failpoints.hit("rollback.ready")
            publish_bytes(scratch / _JOURNAL, _text_of(plan, Anchors(root, scratch)), failpoint="rollback.journal")
            _place_all(plan)
        problems = _end(root, scratch, plan, write_tree)
    if problems:
        raise problems[0]


def refuse_unwritable(folders: Iterable[str]) -> None:
    """Raise StorageFailed for the first folder, or what is there of its path, in which we may make no names."""
    for folder in folders:
        place = folder
        while not os.path.lexists(place):
            place = os.path.dirname(place)
        if not os.access(place, os.W_OK | os.X_OK):
            raise StorageFailed("write", place, "no permission to make or remove files in it")


def finish_rollback(root: Path, scratch: Path, write_tree: WriteTree) -> list[DatapinError]:
    """Complete a rollback that a crash cut off, or wait for one that is under way; what could not be done.

    Safe to call again after a crash in here. Raises Locked, StorageFailed.
    """
    if not is_rollback_cut_off(scratch):
        return []
    with _alone(scratch):
        return _finish(root, scratch, write_tree)


def _folders_of(plan: RollbackPlan) -> Iterator[str]:
    """Folders in which a placement makes a name; a folder that steps aside must be ours to write, too."""
    for one in plan.placements:
        yield os.path.dirname(one.target)
        if os.path.isdir(one.target) and not os.path.islink(one.target):
            yield one.target


def _finish(root: Path, scratch: Path, write_tree: WriteTree) -> list[DatapinError]:
    try:
        plan = _read(scratch / _JOURNAL, Anchors(root, scratch))
    except FileNotFoundError:
        return []
    except ForeignPlace as error:
        return [set_aside(scratch / _JOURNAL, scratch, str(error))]
    if others := _changed_since(plan):
        return [_abandon(scratch, plan, [os.path.relpath(path, root) for path in others])]
    with repository_lock(root, timeout_s=_DVC_WAIT_S):
        _place_all(plan)
    return _end(root, scratch, plan, write_tree)


@contextmanager
def _alone(scratch: Path) -> Iterator[None]:
    with lock(scratch / _LOCK, what="a rollback's journal"):
        yield


def _text_of(plan: RollbackPlan, anchors: Anchors) -> bytes:
    placements = [
        {"staged": anchors.named(one.staged), "target": anchors.named(one.target), "before": one.before}
        for one in plan.placements
    ]
    trees = [{"target": one.target, "rows": anchors.named(one.rows), "force": one.force} for one in plan.trees]
    return json.dumps(
        {"placements": placements, "trees": trees, "folders": plan.folders, "to_stage": plan.to_stage}
    ).encode()


def _read(journal: Path, anchors: Anchors) -> RollbackPlan:
    """The plan, every place in it checked. Raises ForeignPlace, FileNotFoundError."""
    said = read_journal(journal)
    try:
        placements = []
        for one in said["placements"]:
            staged, target = anchors.staged(one["staged"]), anchors.target(one["target"])
            placements.append(Placement(str(staged), str(target), f"{staged}.old", str(one["before"])))
        trees = [
            TreeToWrite(str(one["target"]), str(anchors.staged(one["rows"])), bool(one["force"]))
            for one in said["trees"]
        ]
        names = [str(name) for name in (*said["folders"], *said["to_stage"])]
        plan = RollbackPlan(tuple(placements), tuple(trees), tuple(said["folders"]), tuple(said["to_stage"]))
    except (KeyError, TypeError):
        raise ForeignPlace("it does not say what a rollback's journal says") from None
    for name in names:
        anchors.target(f"tree:{name}")
    # Folders that follow a dataset may lie anywhere: those that this user checked out, and no others.
    recorded = {tree.target for tree in registered_trees(anchors.scratch.parent / "cache" / "checkout", anchors.root)}
    if others := [tree.target for tree in trees if tree.target not in recorded]:
        raise ForeignPlace(f"nothing was checked out into {others[0]!r}")
    return plan


def fingerprint(path: Path, *, by_content: bool) -> str:
    """What lies at `path`, for a journal to know it again: a text by its content, all else by its stats."""
    if not os.path.lexists(path):
        return _ABSENT
    if by_content and path.is_file():
        return f"{_CONTENT}{hashlib.sha256(path.read_bytes()).hexdigest()}"
    files = [path]
    if path.is_dir():
        files = sorted(Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    stats = [
        (os.path.relpath(one, path), seen.st_size, seen.st_mtime_ns, seen.st_ino)
        for one, seen in ((one, one.lstat()) for one in files)
    ]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def _changed_since(plan: RollbackPlan) -> list[str]:
    """What is still to be replaced and was changed meanwhile by somebody else, by Git for one."""
    changed = []
    for one in plan.placements:
        seen = fingerprint(Path(one.target), by_content=one.before.startswith(_CONTENT))
        has_stepped_aside = seen == _ABSENT and os.path.lexists(one.aside)
        if os.path.lexists(one.staged) and seen != one.before and not has_stepped_aside:
            changed.append(one.target)
    return changed


def _abandon(scratch: Path, plan: RollbackPlan, others: list[str]) -> Refused:
    for one in plan.placements:
        if os.path.lexists(one.aside) and not os.path.lexists(one.target):
            os.rename(one.aside, one.target)
    (scratch / _JOURNAL).unlink()
    fsync_directory((scratch / _JOURNAL).parent)
    discard(plan.placements, [])
    _sweep(plan)
    return Refused(
        f"a rollback that was cut off is given up: {listed(others, 3)} changed since",
        "run `dvc status`, then `dvc checkout` or the rollback again",
    )


def _refuse_running(root: Path, plan: RollbackPlan) -> None:
    for one in plan.placements:
        if is_in_use(root, Path(one.target), timeout_s=_DVC_WAIT_S):
            name = os.path.relpath(one.target, root)
            raise Refused(f"{name} is in use by a stage that is running", "run the command again when it has ended")


def _place_all(plan: RollbackPlan) -> None:
    try:
        for one in plan.placements:
            _place(one)
            failpoints.hit("rollback.placed")
    except OSError as error:
        raise StorageFailed("write", str(error.filename), error.strerror or str(error)) from None


def _place(one: Placement) -> None:
    staged, target, aside = Path(one.staged), Path(one.target), Path(one.aside)
    if os.path.lexists(staged):
        make_directory(target.parent)
        if target.is_dir() or (staged.is_dir() and os.path.lexists(target)):
            _remove(aside)
            os.rename(target, aside)
            failpoints.hit("rollback.aside")
        os.replace(staged, target)
    elif os.path.lexists(aside) and not os.path.lexists(target):
        # Somebody took away what was staged between the two renames: the old one comes back.
        os.rename(aside, target)
    fsync_directory(target.parent)
    fsync_directory(staged.parent)


def _end(root: Path, scratch: Path, plan: RollbackPlan, write_tree: WriteTree) -> list[DatapinError]:
    """All that follows the renames; each part may be done again."""
    problems: list[DatapinError] = []
    with ThreadPoolExecutor(1) as beside:
        registering = beside.submit(_register, root, plan)
        for tree in plan.trees:
            try:
                write_tree(tree)
            except StorageFailed:
                raise
            except (YourError, WorldError, Damage) as error:
                # Edited, or damaged, since it was looked at: the tree stays as it is, all else stands.
                problems.append(error)
            failpoints.hit("rollback.tree")
        registering.result()
    if plan.to_stage:
        try:
            stage(root, plan.to_stage)
        except ToolFailed as error:
            problems.append(error)
        failpoints.hit("rollback.indexed")
    (scratch / _JOURNAL).unlink()
    fsync_directory((scratch / _JOURNAL).parent)
    failpoints.hit("rollback.done")
    _sweep(plan)
    return problems


def _register(root: Path, plan: RollbackPlan) -> None:
    for folder in plan.folders:
        if (root / folder).is_dir():
            register_folder(root, folder)


def _sweep(plan: RollbackPlan) -> None:
    for path in (*(one.aside for one in plan.placements), *(tree.rows for tree in plan.trees)):
        _remove(Path(path))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def discard(placements: Sequence[Placement], rows: Sequence[Path]) -> None:
    """Take away what was staged for a rollback that does not come to its journal."""
    for path in (*(Path(one.staged) for one in placements), *rows):
        _remove(path)
