"""Where manifests are staged and swapped into the work tree. No import of Arrow: Git's hooks must not wait for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from datapin.base import failpoints
from datapin.base.files import lock, make_directory, sweep_temporaries, temporary_name
from datapin.base.journals import Anchors, finish_swap, swap_directory
from datapin.base.state import folder_to_stage, slug_of, state_of
from datapin.dvcfiles.laying_out import stage_shards
from datapin.dvcfiles.tracking_links import register_folder


@contextmanager
def edit_lock(root: Path, dataset: str, *, timeout_s: float = 600.0) -> Iterator[None]:
    """Nobody else edits `dataset` meanwhile; a swap that a crash cut off is finished first. Raises Locked."""
    with lock(state_of(root).scratch / "locks" / slug_of(dataset), what=f"dataset {dataset}", timeout_s=timeout_s):
        finish_swap(_journal(root, dataset), Anchors(root, state_of(root).scratch))
        yield


def staging(root: Path, dataset: str) -> Path:
    """A name for a new manifest directory beside which `place` can rename it: on the same file system."""
    scratch = state_of(root).scratch
    make_directory(scratch)
    sweep_temporaries(scratch)
    return folder_to_stage(scratch, root / dataset) / temporary_name()


def place(root: Path, staged: Path, dataset: str) -> None:
    """Swap the staged manifest into the place of the dataset, whatever crashes."""
    swap_directory(staged, root / dataset, _journal(root, dataset), Anchors(root, state_of(root).scratch))


def replace_manifest(root: Path, dataset: str, shards: Sequence[tuple[str, Path]]) -> None:
    """Lay out these cached shards in place of the manifest that is there, whole or not at all; under the edit lock."""
    staged = staging(root, dataset)
    try:
        stage_shards(root, shards, staged)
        failpoints.hit("follow.staged")
        place(root, staged, dataset)
        failpoints.hit("follow.placed")
    finally:
        if not is_placing(root, dataset):  # a swap that has begun needs it, and will be finished
            shutil.rmtree(staged, ignore_errors=True)
    register_folder(root, dataset)


def is_placing(root: Path, dataset: str) -> bool:
    """True if a swap of this dataset has begun and not ended."""
    return _journal(root, dataset).exists()


def _journal(root: Path, dataset: str) -> Path:
    return state_of(root).scratch / "journal" / f"{slug_of(dataset)}.json"
