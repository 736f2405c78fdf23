"""`rollback`: datasets as they were, the code left alone; all of it or nothing.

Everything is brought, verified and staged first; one rename commits (rollback.journal).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from datapin.base import failpoints
from datapin.base.errors import BadQuery, DatapinError, Refused, StorageFailed, UnsavedRows, Usage
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.settings import dvc_settings
from datapin.git.index import changed_files, ignoring_patterns
from datapin.manifest.comparing.diff import Changes
from datapin.pins.outputs import differs, files_of
from datapin.rollback.journal import RollbackPlan, TreeToWrite, commit_rollback
from datapin.rollback.staging import Staging
from datapin.rollback.trees import TreeOutlook, look_at_tree
from datapin.trees.checkout.state import arrangement_of
from datapin.trees.places import FollowingTree, trees_of
from datapin.verbs.checkout import files_of_rows
from datapin.verbs.remote.mend import keep_work_trees
from datapin.verbs.rollback.goals import Goals, OutGoal, goals_of_all, named_goals, restored_goals
from datapin.verbs.rollback.rows import (
    ReadyDataset,
    absent_assets,
    bring_goals,
    counted_beside,
    make_sure_of_assets,
    ready,
)
from datapin.verbs.rollback.unsaved import Unsaved, keep_copies, unsaved_output, unsaved_rows, unsaved_text
from datapin.verbs.workspace.git_exclude import leave_out_of_git
from datapin.verbs.workspace.presence import ensure_here
from datapin.verbs.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class RolledBack:
    """One dataset: digests before (None: it was not there) and after, and how many rows came, went and changed.

    The numbers are None if the rows before turned out to be unreadable.
    """

    dataset: str
    before: str | None
    after: str
    added: int | None
    removed: int | None
    changed: int | None


@dataclass(frozen=True, slots=True)
class RollbackReport:
    """What a rollback changed, or would.

    `files` are what Git tracks and now differs from its index, unless `is_staged`; `left` did not exist then; `kept`
    are copies of the `unsaved` edits, which a dry run only names; `frozen` are stages that `dvc unfreeze` sets free;
    `fetched` assets were not here.
    """

    datasets: list[RolledBack]
    files: list[str]
    outputs: list[str]
    trees: list[str]
    left: list[str]
    kept: list[str]
    frozen: list[str]
    is_staged: bool
    is_dry_run: bool
    changes_anything: bool
    fetched: int
    notes: list[str] = field(default_factory=list)
    unsaved: list[str] = field(default_factory=list)


def rollback(
    workspace: Workspace,
    names: Sequence[str],
    version: str,
    *,
    every: bool = False,
    dry_run: bool = False,
    pin: bool = False,
    force: bool = False,
    lazy: bool = False,
) -> RollbackReport:
    """Bring the named datasets back as `version`, what follows `@` in a selector, has them; `every`: all that DVC pins.

    All assets are here then; `lazy` leaves those on the remote that are not here now. Raises UnknownDataset,
    UnknownVersion, UnsavedRows (unless `force`, which keeps copies), Refused for a stage's output (unless `pin`),
    ManifestMissing, OutputMissing, AssetsMissing, RemoteUnreachable, DamagedManifest, StorageFailed; nothing has
    changed then.
    """
    if every == bool(names):
        raise Usage("name the datasets to roll back, or --all", "for example `datapin rollback data/raw --to v1`")
    if not version.strip():
        raise Usage("--to names no version", "for example `--to v1` or `--to @~1`; `datapin log DATASET` lists them")
    if every and pin:
        raise Usage("--pin is for named outputs of stages; --all takes the whole dvc.lock", "leave --pin out")

    def find() -> Goals:
        return goals_of_all(workspace, version) if every else named_goals(workspace, names, version, pin=pin)

    goals = find()
    how = _How(version, force=force, dry_run=dry_run, lazy=lazy)
    if dry_run:
        return _Rollback(workspace, goals, how).run()
    with ExitStack() as locks:
        for dataset in sorted({one.dataset for one in goals.datasets}):
            locks.enter_context(workspace.edit_lock(dataset))
        # Again: somebody may have edited before we had the locks.
        return _Rollback(workspace, find(), how).run()


def restore(workspace: Workspace, names: Sequence[str], *, dry_run: bool = False) -> RollbackReport:
    """Bring the named datasets, or all, to the rows that their pointers in the work tree pin; pointers stay.

    Edits that nothing keeps are copied first, and the report says where. Assets are left where they are, but for those
    of folders that follow. Where DVC's cache is damaged and the rows are here, they heal it. Raises as `rollback`.
    """
    how = _How("", force=True, dry_run=dry_run, lazy=True, rows_only=True)
    goals = restored_goals(workspace, names)
    if dry_run:
        return _Rollback(workspace, goals, how).run()
    with ExitStack() as locks:
        for dataset in sorted({one.dataset for one in goals.datasets}):
            locks.enter_context(workspace.edit_lock(dataset))
        keep_work_trees(workspace, [one.wanted for one in goals.datasets])
        return _Rollback(workspace, restored_goals(workspace, names), how).run()


@dataclass(frozen=True, slots=True)
class _How:
    """What the user asked for, beside the goals."""

    version: str
    force: bool
    dry_run: bool
    lazy: bool
    rows_only: bool = False  # no assets, but those of folders that follow


@dataclass(frozen=True, slots=True)
class _MovingTree:
    """A checked-out tree, and the files that it will hold."""

    tree: FollowingTree
    outlook: TreeOutlook


class _Rollback:
    """One rollback under way."""

    def __init__(self, workspace: Workspace, goals: Goals, how: _How) -> None:
        self._workspace = workspace
        self._root = workspace.root
        self._goals = goals
        self._how = how
        self._cache = DvcCache(workspace.root)
        self._state = workspace.cache / "checkout"

    def run(self) -> RollbackReport:
        goals, workspace, how = self._goals, self._workspace, self._how
        texts = {path: text for path, text in goals.texts.items() if _differs(self._root / path, text)}
        outs = [one for one in goals.outs if differs(self._root, self._cache, one.wanted)]
        wanted_outs = [one.wanted for one in outs]
        bring_goals(workspace, goals, wanted_outs, how.version)
        datasets = [ready(workspace, one) for one in goals.datasets]
        moving = [one for one in datasets if not one.is_there]
        unsaved = self._unsaved(datasets, outs, texts)
        looked_at = [] if how.rows_only else moving
        absent = [(one.goal.dataset, assets) for one in looked_at if len((assets := absent_assets(workspace, one)).ids)]
        trees = [tree for one in moving for tree in self._trees(one)]
        unsaved += self._edited(trees)
        problems = [f"{one.where}: {one.problem}" for one in unsaved]
        if problems and not how.force:
            raise UnsavedRows(tuple(problems))
        kept: list[str] = []
        is_staged = str(dvc_settings(self._root).get("core", {}).get("autostage", False)).lower() == "true"
        if not how.dry_run:
            for dataset, assets in absent:
                make_sure_of_assets(workspace, dataset, assets, is_lazy=how.lazy)
            for tree in trees:
                self._bring_files(tree)
            kept = keep_copies(workspace, unsaved)
        with counted_beside(datasets) as counts:
            if not how.dry_run:
                texts = self._commit(moving, wanted_outs, texts, trees, is_staged=is_staged)
        return RollbackReport(
            datasets=[_rolled_back(*one) for one in zip(datasets, counts, strict=True)],
            files=sorted(texts) if how.dry_run else changed_files(self._root, sorted(texts)),
            outputs=[one.path for one in wanted_outs],
            trees=[one.tree.target for one in trees],
            left=goals.left,
            kept=kept,
            frozen=goals.frozen,
            is_staged=is_staged,
            is_dry_run=how.dry_run,
            changes_anything=bool(moving or outs or texts),
            fetched=0 if how.lazy else sum(len(assets.ids) for _, assets in absent),
            notes=goals.notes,
            unsaved=problems,
        )

    def _unsaved(
        self, datasets: Sequence[ReadyDataset], outs: Sequence[OutGoal], texts: dict[str, bytes]
    ) -> list[Unsaved]:
        found: list[Unsaved | None] = []
        for one in datasets:
            goal = one.goal
            if not one.is_there:
                unsaved = unsaved_rows(
                    self._workspace,
                    goal.dataset,
                    goal.current,
                    is_pinned=one.is_pinned,
                    stays=goal.current is not None and goal.current.md5 == goal.wanted.md5,
                    dry_run=self._how.dry_run,
                )
                found.append(unsaved)
        found += [unsaved_output(self._root, out.wanted, out.current) for out in outs]
        pointers = {f"{one.goal.dataset}.dvc" for one in datasets}
        for path, text in texts.items():
            if path not in pointers and path not in self._goals.merged:
                found.append(unsaved_text(self._root, path, text))
        return [one for one in found if one is not None]

    def _trees(self, dataset: ReadyDataset) -> list[_MovingTree]:
        found = []
        for tree in trees_of(self._state, self._root, dataset.goal.dataset):
            layout = arrangement_of(self._state, Path(tree.target)).layout
            try:
                rows = files_of_rows(dataset.after, tree.where, layout, name=f"the files in {tree.target}")
            except (BadQuery, Refused) as error:
                what = f"{tree.target}, a checkout of {tree.dataset}, cannot follow: {error.message}"
                raise Refused(what, "remove that folder, or check out into it in another way, and repeat") from None
            found.append(_MovingTree(tree, look_at_tree(rows, Path(tree.target), self._state)))
        return found

    def _edited(self, trees: Sequence[_MovingTree]) -> list[Unsaved]:
        return [
            Unsaved(
                os.path.relpath(one.tree.target, self._workspace.cwd),
                one.outlook.about_edited(self._workspace.cwd, one.tree.dataset),
                Path(one.tree.target),
                tuple(one.outlook.edited),
            )
            for one in trees
            if one.outlook.edited
        ]

    def _bring_files(self, moving: _MovingTree) -> None:
        """Assets of the tree, and room for them: what can fail must fail before the journal stands."""
        if self._how.lazy:  # else all assets of the version are here
            wanted = moving.outlook.look.wanted
            what = f"files of {moving.tree.dataset} in {moving.tree.target}"
            ensure_here(self._workspace, wanted.ids, what=what, keys=wanted.keys)
        place = os.statvfs(moving.tree.target)
        free = place.f_bavail * place.f_frsize
        if moving.outlook.new_bytes > free:
            problem = f"its files need {moving.outlook.new_bytes} bytes, {free} are free"
            raise StorageFailed("write", moving.tree.target, problem)

    def _commit(
        self,
        moving: Sequence[ReadyDataset],
        outs: Sequence[PinnedOut],
        texts: dict[str, bytes],
        trees: Sequence[_MovingTree],
        *,
        is_staged: bool,
    ) -> dict[str, bytes]:
        """Stage everything and put it in place; the texts that were written, `.gitignore` among them."""
        if not moving and not outs and not texts:
            return {}
        texts = {**texts, **self._ignores([*(one.goal.dataset for one in moving), *(out.path for out in outs)])}
        staging = Staging(self._root, self._workspace.scratch)
        is_committed = False
        try:
            # Beside each other, as most of it is waiting for the disk.
            with _storage_errors(self._root), ThreadPoolExecutor(2) as beside:
                rows = [beside.submit(staging.add_rows, one.outlook.rows) for one in trees]
                if trees:
                    beside.submit(self._open_index)
                self._stage(staging, moving, outs, texts)
                to_write = [
                    TreeToWrite(one.tree.target, str(path.result()), bool(one.outlook.edited))
                    for one, path in zip(trees, rows, strict=True)
                ]
            plan = RollbackPlan(
                placements=tuple(staging.placements),
                trees=tuple(to_write),
                folders=tuple(one.goal.dataset for one in moving),
                to_stage=tuple(sorted(texts)) if is_staged else (),
            )
            failpoints.hit("rollback.all-staged")
            outlooks = {one.tree.target: one.outlook for one in trees}

            def write_tree(tree: TreeToWrite) -> None:
                self._workspace.write_tree(tree, outlooks.get(tree.target))

            commit_rollback(self._root, self._workspace.scratch, plan, write_tree)
            is_committed = True
            for tree in to_write:
                leave_out_of_git(self._workspace, Path(tree.target), is_done=True)
        finally:
            # A journal that stands needs what is staged, and will be finished.
            if not is_committed and not self._workspace.is_rollback_cut_off:
                staging.discard()
        return texts

    def _open_index(self) -> None:
        """The files to write are looked up in it soon; what is wrong with it is told there."""
        with suppress(DatapinError):
            _ = self._workspace.store.index

    def _stage(
        self, staging: Staging, moving: Sequence[ReadyDataset], outs: Sequence[PinnedOut], texts: dict[str, bytes]
    ) -> None:
        for dataset in moving:
            kept = dataset.kept if staging.makes_copies else {}
            staging.add_folder(self._workspace.dataset_path(dataset.goal.dataset), dataset.files, kept)
        for out in outs:
            files = files_of(self._cache, out) or []
            if out.is_folder:
                staging.add_folder(self._root / out.path, files)
            else:
                staging.add_file(self._root / out.path, files[0][1], is_executable=out.is_executable)
        # Manifests before pointers (docs/protocols.md#publish-order).
        for path, text in sorted(texts.items()):
            staging.add_text(self._root / path, text)

    def _ignores(self, paths: Sequence[str]) -> dict[str, bytes]:
        """`.gitignore` files with what Git must not take: an output that was deleted since has no line there."""
        patterns = ignoring_patterns(self._root, paths)
        texts: dict[str, bytes] = {}
        for path, pattern in zip(paths, patterns or (), strict=False):
            if not pattern:
                file = posixpath.join(posixpath.dirname(path), ".gitignore")
                here = self._root / file
                text = texts.get(file, here.read_bytes() if here.is_file() else b"")
                line_end = b"" if not text or text.endswith(b"\n") else b"\n"
                texts[file] = text + line_end + f"/{PurePosixPath(path).name}\n".encode()
        return texts


def _rolled_back(dataset: ReadyDataset, changes: Changes | None) -> RolledBack:
    before = None if dataset.before is None else dataset.before.digest
    name, after = dataset.goal.dataset, dataset.after.digest
    if changes is None:
        return RolledBack(name, before, after, None, None, None)
    return RolledBack(name, before, after, changes.added, changes.removed, changes.changed)


def _differs(path: Path, text: bytes) -> bool:
    try:
        return path.read_bytes() != text
    except FileNotFoundError:
        return True


@contextmanager
def _storage_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed("write", str(error.filename or root), error.strerror or str(error)) from None
