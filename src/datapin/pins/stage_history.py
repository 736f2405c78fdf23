"""What every commit's `dvc.lock` says that stages read and wrote; which commit first pinned each dataset version."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path

from datapin.base.errors import DatapinError
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.stages import LockedFile, read_stage_files
from datapin.dvcfiles.texts import Pointer, stage_outputs
from datapin.git.ask import file_changes, iter_blobs
from datapin.pins.history import PointerChange, iter_pointer_changes

_LOCK, _PIPELINE = "dvc.lock", "dvc.yaml"


@dataclass(frozen=True, slots=True)
class PinnedStage:
    """A stage as the `dvc.lock` of `commit` tells it; None: as the work tree's does."""

    commit: str | None
    name: str
    deps: tuple[LockedFile, ...]
    outs: tuple[LockedFile, ...]


def pinned_versions_with_commits(root: Path) -> list[tuple[Pointer, str]]:
    """Every distinct dataset version that any commit of any branch or tag pins, with the oldest such commit.

    Newest first. A folder of which nobody here can tell whether it is a dataset counts as one.
    """
    cache = DvcCache(root)
    found: dict[tuple[str, str], tuple[Pointer, str]] = {}
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
    names = [(change.commit, change.file) for change in file_changes(root, (_LOCK,)) if change.after is not None]
    asked = [name for commit, file in names for name in (f"{commit}:./{file}", f"{commit}:./{_pipeline_of(file)}")]
    texts = iter_blobs(root, asked)
    found: list[PinnedStage] = []
    for file in sorted({file for _, file in names} | {_LOCK}):
        found += _stages(None, file, _file(root / file), _file(root / _pipeline_of(file)))
    for commit, file in names:
        found += _stages(commit, file, next(texts) or b"", next(texts) or b"")
    return found


def _stages(commit: str | None, file: str, text: bytes, pipeline: bytes) -> list[PinnedStage]:
    try:
        folders = stage_outputs(pipeline, _pipeline_of(file))[0] if b"wdir" in pipeline else {}
        stages = read_stage_files(text, file, folders) if text else []
    except DatapinError:
        return []
    return [PinnedStage(commit, stage.name, stage.deps, stage.outs) for stage in stages]


def _pipeline_of(lock_file: str) -> str:
    return posixpath.join(posixpath.dirname(lock_file), _PIPELINE)


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return b""
