"""An edit that DVC refuses to pin is taken back: the manifest, the pointer and `.gitignore` are as they were."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from datapin.base import failpoints
from datapin.base.files import fsync_directory, publish_bytes
from datapin.verbs.workspace.workspace import Workspace


@contextmanager
def all_or_nothing(workspace: Workspace, dataset: str) -> Iterator[None]:
    """What the body changes of the dataset's manifest and pointer is undone if it raises; under the edit lock.

    A crash is not: what it leaves is an edit that the same command finishes.
    """
    target = workspace.dataset_path(dataset)
    kept = _links_to(target, workspace.staging(dataset)) if target.is_dir() else None
    parents = [folder for folder in target.parents if not folder.exists()]
    texts = {path: _text(path) for path in (Path(f"{target}.dvc"), target.parent / ".gitignore")}
    try:
        yield
    except BaseException:
        # The manifest last: a crash in here then leaves no more than one after the body's first step would.
        for path, before in texts.items():
            _put_back(path, before)
        if not workspace.is_placing(dataset):  # else the swap is finished by the next command, as after a crash
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
        workspace.place(kept, dataset)
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
