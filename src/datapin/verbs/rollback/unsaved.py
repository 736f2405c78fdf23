"""What a rollback would lose, and where a copy of it is kept."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datapin.base.errors import UNREADABLE_ROWS, ManifestMissing, listed
from datapin.base.files import fsync_directory, fsync_path, make_directory
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.tracking.objects import cache_files
from datapin.git.ask import ask_git, blob_at, has_commit
from datapin.manifest.comparing.diff import compare_manifests
from datapin.manifest.manifest import Manifest
from datapin.pins.held import held_manifests, is_saved
from datapin.pins.history import is_committed
from datapin.pins.manifests import open_linked
from datapin.pins.outputs import differs
from datapin.pins.read import Pins
from datapin.verbs.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Unsaved:
    """Something that nothing keeps: `paths` are what a copy must hold, relative to `top` or `top` itself."""

    where: str
    problem: str
    top: Path
    paths: tuple[str, ...] = ()


def keep_copies(workspace: Workspace, unsaved: Sequence[Unsaved]) -> list[str]:
    """Copies of all that is unsaved, durable; where they are."""
    if not unsaved:
        return []
    folder = workspace.state.kept
    make_directory(folder)
    place = _new_folder(folder)
    kept = []
    for one in unsaved:
        target = place / (
            os.path.relpath(one.top, workspace.root) if one.top.is_relative_to(workspace.root) else one.top.name
        )
        for name in one.paths or ("",):
            _copy(one.top / name if name else one.top, target / name if name else target)
        kept.append(_shown(target, workspace.root))
    return kept


def unsaved_rows(
    workspace: Workspace, dataset: str, pointer: PinnedOut | None, *, is_pinned: bool, stays: bool, dry_run: bool
) -> Unsaved | None:
    """The work tree's rows, if its pointer does not pin them, or no commit that version; None if they are safe.

    `is_pinned` says that the shards are, byte for byte, those that the pointer pins, `stays` that it goes on to do so.
    A version that only the work tree holds (DVC's cache was emptied) is put into the cache, unless `dry_run`.
    """
    directory = workspace.dataset_path(dataset)
    if not directory.is_dir() or not any(directory.iterdir()):
        return None
    if pointer is None:
        return Unsaved(dataset, "no pointer pins what lies there", directory)
    cache = DvcCache(workspace.root)
    if not is_pinned and not _is_kept(workspace, cache, dataset):
        if cache.is_whole(pointer.md5):
            return Unsaved(dataset, _edits(workspace, dataset, pointer), directory)
        if not dry_run and _cached(cache, directory) != pointer.md5:
            return Unsaved(dataset, f"{pointer.file} pins other rows than lie there", directory)
    if pointer.stage is None and not stays and not is_committed(workspace.root, dataset, pointer.md5):
        return Unsaved(dataset, f"no commit pins its version{_since_head(workspace, pointer)}", directory)
    return None


def unsaved_output(root: Path, out: PinnedOut, pinned: PinnedOut | None) -> Unsaved | None:
    """The output in the work tree, if it is not the pinned one."""
    top = root / out.path
    if not os.path.lexists(top):
        return None
    if pinned is None:
        return Unsaved(out.path, "no pointer pins what lies there", top)
    names = differs(root, DvcCache(root), pinned)
    if not names:
        return None
    return Unsaved(out.path, f"edited: {listed(names, 5)}", top)


def unsaved_text(root: Path, path: str, wanted: bytes) -> Unsaved | None:
    """A file that Git keeps, if no commit has it as it is."""
    try:
        data = (root / path).read_bytes()
    except FileNotFoundError:
        return None
    if data == wanted or data == (blob_at(root, "HEAD", path) if has_commit(root) else None):
        return None
    name = ask_git(root, "hash-object", "--stdin", said=data).decode().strip()
    if has_commit(root) and ask_git(root, "log", "--all", "-1", "--format=%H", f"--find-object={name}").strip():
        return None
    return Unsaved(path, "no commit has it as it is", root / path)


def _is_kept(workspace: Workspace, cache: DvcCache, dataset: str) -> bool:
    """Whether what lies there is a version that a commit pins and DVC's cache holds: Git changed the pointer alone."""
    here = held_manifests(workspace.root).find(dataset)
    return here is not None and is_saved(cache, here) and is_committed(workspace.root, dataset, here)


def _cached(cache: DvcCache, directory: Path) -> str:
    return cache_files(cache.objects, sorted(path for path in directory.iterdir() if path.is_file())).md5


def _edits(workspace: Workspace, dataset: str, pointer: PinnedOut) -> str:
    """By which rows the work tree differs from what its pointer pins; by which files, if the rows cannot be told."""
    try:
        here = Manifest.open(workspace.dataset_path(dataset), name=dataset)
        found = _difference(open_linked(workspace.root, pointer), here)
    except UNREADABLE_ROWS as error:
        return error.message
    names = differs(workspace.root, DvcCache(workspace.root), PinnedOut(dataset, pointer.md5, pointer.file))
    # Footers that were carried over to other rows tell of no difference.
    return found or f"not the files that {pointer.file} pins: {listed(names, 5)}"


def _since_head(workspace: Workspace, pointer: PinnedOut) -> str:
    """By which rows the version differs from that of HEAD, if that can be told."""
    at_head = Pins.at(workspace.root, "HEAD").dataset(pointer.dataset) if has_commit(workspace.root) else None
    if at_head is None:
        return ""
    try:
        before, after = (open_linked(workspace.root, one) for one in (at_head, pointer))
        return f" (against HEAD: {_difference(before, after)})"
    except (ManifestMissing, *UNREADABLE_ROWS):
        return ""


def _difference(before: Manifest, here: Manifest) -> str:
    found = compare_manifests(before, here)
    names = [key for keys in (found.changed, found.added, found.removed) for key in keys.slice(0, 6).to_pylist()]
    counts = f"{len(found.added)} row(s) added, {len(found.removed)} removed, {len(found.changed)} changed"
    total = len(found.added) + len(found.removed) + len(found.changed)
    shown = ", ".join(names[:5])
    if not total:
        return ""
    return f"{counts}: {shown}" if total <= 5 else f"{counts}: {shown}, …"


def _new_folder(folder: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    number = 0
    while True:
        place = folder / (stamp if not number else f"{stamp}-{number}")
        try:
            place.mkdir()
        except FileExistsError:
            number += 1
            continue
        fsync_directory(folder)
        return place


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _copy(source: Path, target: Path) -> None:
    make_directory(target.parent)
    if source.is_symlink() or not source.is_dir():
        shutil.copy2(source, target, follow_symlinks=False)
        _make_durable(target)
    else:
        shutil.copytree(source, target, symlinks=True)
        for folder, _, names in os.walk(target):
            for name in names:
                _make_durable(Path(folder) / name)
            fsync_directory(folder)
    fsync_directory(target.parent)


def _make_durable(path: Path) -> None:
    if path.is_file() and not path.is_symlink():
        fsync_path(path)
