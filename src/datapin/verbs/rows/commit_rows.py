"""The last steps of every edit, always in this order: manifest durable, then pointer (docs/protocols.md#publish-order).

If the pointer cannot be written, the manifest is the old one again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from datapin.base import failpoints
from datapin.base.errors import Refused
from datapin.base.files import fsync_directory, publish_bytes
from datapin.dvcfiles.tracking.track import track
from datapin.manifest.edit import EditReport
from datapin.manifest.manifest import Manifest
from datapin.pins.read import Pins
from datapin.verbs.rows.new_datasets import refuse_odd_place
from datapin.verbs.workspace.edit_base import note_pinned, start_from_pinned_rows
from datapin.verbs.workspace.placing import is_placing, place, staging
from datapin.verbs.workspace.workspace import Workspace


def previous_manifest(workspace: Workspace, dataset: str, seen: Pins | None = None) -> Manifest | None:
    """The work tree's manifest to edit, None for a new dataset. Refuses what is no source dataset.

    `seen` are the pins from before the edit lock: good for what stages put out, not for the dataset's own pointer.
    """
    directory = workspace.dataset_path(dataset)
    refuse_odd_place(workspace, dataset)
    pins = Pins(workspace.root)
    pointer = pins.own(dataset)
    if pointer is None and (seen or pins).is_stage_output(dataset):
        raise Refused(
            f"{dataset} is the output of a stage; `dvc repro` would overwrite the edit",
            "edit the source dataset and run `dvc repro`",
        )
    if directory.exists() and not directory.is_dir():
        raise Refused(f"{dataset} is a file, a dataset is a folder of manifest shards", "choose another name with --to")
    if pointer is not None:
        start_from_pinned_rows(workspace, dataset, pointer)
    if directory.is_dir() and any(directory.iterdir()):
        return Manifest.open(directory, name=dataset)
    return None


def commit_rows(
    workspace: Workspace,
    dataset: str,
    edit: Callable[[Path], EditReport],
    *,
    sources: Sequence[str] | None = None,
) -> EditReport:
    """Write the edited manifest beside the old one, swap it in, then let DVC and Git know; under the edit lock.

    `edit` writes into the directory it is given. `sources` None keeps the source trees recorded so far.
    """
    staged = staging(workspace.root, dataset)
    try:
        report = edit(staged)
        changed = bool(report.added or report.changed or report.removed)
        pointer = Pins(workspace.root).own(dataset)
        recorded = pointer.sources if pointer is not None else []
        wanted = recorded if sources is None else list(sources)
        with all_or_nothing(workspace, dataset):
            if changed or not workspace.dataset_path(dataset).is_dir():
                failpoints.hit("add.staged")
                place(workspace.root, staged, dataset)
                failpoints.hit("add.placed")
            manifest = report.manifest
            facts = {"digest": manifest.digest, "rows": manifest.rows, "bytes": manifest.bytes}
            is_told = pointer is not None and facts.items() <= (pointer.summary or {}).items()
            if changed or not is_told or wanted != recorded:
                summary = {**facts, "source": wanted}
                note_pinned(workspace, dataset, track(workspace.root, dataset, summary))
                failpoints.hit("add.tracked")
    finally:
        if not is_placing(workspace.root, dataset):  # a swap that has begun needs it, and will be finished
            shutil.rmtree(staged, ignore_errors=True)
    return report


# An edit that DVC refuses to pin is taken back: the manifest, the pointer and `.gitignore` are as they were.


@contextmanager
def all_or_nothing(workspace: Workspace, dataset: str) -> Iterator[None]:
    """What the body changes of the dataset's manifest and pointer is undone if it raises; under the edit lock.

    A crash is not: what it leaves is an edit that the same command finishes.
    """
    target = workspace.dataset_path(dataset)
    kept = _links_to(target, staging(workspace.root, dataset)) if target.is_dir() else None
    parents = [folder for folder in target.parents if not folder.exists()]
    texts = {path: _text(path) for path in (Path(f"{target}.dvc"), target.parent / ".gitignore")}
    try:
        yield
    except BaseException:
        # The manifest last: a crash in here then leaves no more than one after the body's first step would.
        for path, before in texts.items():
            _put_back(path, before)
        if not is_placing(workspace.root, dataset):  # else the swap is finished by the next command, as after a crash
            _replace(workspace, kept, dataset)
        for folder in parents:
            with suppress(OSError):
                folder.rmdir()
        raise
    finally:
        if kept is not None:
            shutil.rmtree(kept, ignore_errors=True)


def _links_to(folder: Path, into: Path) -> Path:
    """Other names for the files of a manifest: they are replaced and never written to."""
    into.mkdir()
    for entry in os.scandir(folder):
        try:
            os.link(entry.path, into / entry.name, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copy2(entry.path, into / entry.name, follow_symlinks=False)
    return into


def _replace(workspace: Workspace, kept: Path | None, dataset: str) -> None:
    target = workspace.dataset_path(dataset)
    if kept is None:
        shutil.rmtree(target, ignore_errors=True)
    elif not target.is_dir() or not _same_files(kept, target):
        fsync_directory(kept)
        place(workspace.root, kept, dataset)
    failpoints.hit("undo.placed")


def _same_files(one: Path, other: Path) -> bool:
    def files(folder: Path) -> dict[str, int]:
        return {entry.name: entry.inode() for entry in os.scandir(folder)}

    return files(one) == files(other)


def _text(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes()
    return None


def _put_back(path: Path, before: bytes | None) -> None:
    if _text(path) == before:
        return
    with suppress(OSError):
        if before is None:
            path.unlink()
        else:
            publish_bytes(path, before)
