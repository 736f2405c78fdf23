"""What every commit's `dvc.lock` says that stages read and wrote; which commit first pinned each dataset version."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datapin.base.errors import DatapinError
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.stages import LockedFile, read_stage_files
from datapin.git.ask import file_changes, iter_blobs
from datapin.pins.files import LOCK, PROJECT, WorkingFolders, beside, is_lock
from datapin.pins.history import PointerChange, iter_pointer_changes
from datapin.pins.projects import InnerProjects
from datapin.pins.read import Pins


@dataclass(frozen=True, slots=True)
class PinnedStage:
    """A stage as the `dvc.lock` of `commit` tells it; None: as the work tree's does."""

    commit: str | None
    name: str
    deps: tuple[LockedFile, ...]
    outs: tuple[LockedFile, ...]


def pinned_versions_with_commits(root: Path) -> list[tuple[PinnedOut, str]]:
    """Every distinct dataset version that any commit of any branch or tag pins, with the oldest such commit.

    Newest first. A folder of which nobody here can tell whether it is a dataset counts as one.
    """
    cache = DvcCache(root)
    found: dict[tuple[str, str], tuple[PinnedOut, str]] = {}
    for change in iter_pointer_changes(root):
        if not isinstance(change, PointerChange):
            continue
        for pointer in change.pointers:
            key = (pointer.dataset, pointer.md5)
            if key in found or (
                change.is_ours or cache.find(pointer.md5) is None or cache.holds_manifest(pointer, in_work_tree=False)
            ):
                found.pop(key, None)
                found[key] = (pointer, change.commit)
    return list(found.values())


def pinned_stages(root: Path) -> list[PinnedStage]:
    """Every stage of every `dvc.lock` in history, newest first, those of the work tree before all.

    One that cannot be read pins nothing.
    """
    changes = list(file_changes(root, (LOCK, PROJECT)))
    projects, folders = InnerProjects(root), WorkingFolders(root)
    projects.learn(change.file for change in changes)
    names = [(change.commit, change.file) for change in changes if change.after is not None and is_lock(change.file)]
    others = projects.of_others(names)
    names = [name for name in names if name not in others]
    texts = iter_blobs(
        root, [ask for commit, file in names for ask in (f"{commit}:./{file}", f"{commit}:./{beside(file)}")]
    )
    here = Pins(root)
    found = [PinnedStage(None, stage.name, stage.deps, stage.outs) for stage in here.stages]
    for commit, file in names:
        text, pipeline = next(texts) or b"", next(texts) or b""
        with suppress(DatapinError):
            stages = read_stage_files(text, file, folders.of(beside(file), pipeline, commit)) if text else []
            found += [PinnedStage(commit, stage.name, stage.deps, stage.outs) for stage in stages]
    return found
