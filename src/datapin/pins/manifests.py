"""Manifests that pins name, as directories of links into DVC's cache, and opened there."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from datapin.base.errors import UnknownVersion
from datapin.base.files import make_directory, temporary_name
from datapin.base.state import cache_of
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.manifest.manifest import Manifest
from datapin.pins.read import Pins


def open_linked(root: Path, pointer: PinnedOut, *, name: str = "") -> Manifest:
    """The manifest that `pointer` pins, from DVC's cache; `name` is what errors call it.

    Raises ManifestMissing, DamagedManifest, BadRows.
    """
    directory = link_manifest(root, pointer, cache_of(root) / "versions")
    return Manifest.open(directory, name=name or f"{pointer.dataset} ({pointer.md5[:8]})")


def link_version(root: Path, dataset: str, rev: str, into: Path) -> Path:
    """As `link_manifest`, of what revision `rev` pins for `dataset`. Raises UnknownVersion if that is nothing."""
    pinned = Pins.at(root, rev).dataset(dataset)
    if pinned is None:
        raise UnknownVersion(selector=f"{dataset}@{rev}", problem=f"that revision has no dataset {dataset}")
    return link_manifest(root, pinned, into)


def link_manifest(root: Path, pointer: PinnedOut, into: Path) -> Path:
    """A directory below `into` that holds the manifest that `pointer` pins: links into DVC's cache.

    It is named by its content, so a second call finds it. Raises ManifestMissing, DamagedManifest.
    """
    shards = DvcCache(root).shards(pointer)
    target = into / pointer.md5.removesuffix(".dir")
    if _links(target) == {name: os.path.abspath(path) for name, path in shards}:
        return target
    make_directory(into)
    staged = into / temporary_name()
    staged.mkdir()
    for name, path in shards:
        os.symlink(os.path.abspath(path), staged / name)
    shutil.rmtree(target, ignore_errors=True)
    try:
        os.rename(staged, target)
    except OSError:
        # Another process has made the same directory meanwhile; its content is the same by its name.
        shutil.rmtree(staged, ignore_errors=True)
        if not target.is_dir():
            raise
    return target


def _links(directory: Path) -> dict[str, str]:
    with suppress(OSError):
        return {entry.name: os.readlink(entry.path) for entry in os.scandir(directory)}
    return {}
