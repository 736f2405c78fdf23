"""Cached files on their way into the work tree: laid out as `dvc checkout` would, without its import."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from datapin.base.files import fsync_directory, fsync_path
from datapin.dvcfiles.settings import dvc_settings

COPIES = ("reflink", "copy")
_CLONE = 0x40049409  # FICLONE of linux/fs.h


def link_kinds(root: Path) -> tuple[str, ...]:
    """How DVC makes files of the work tree from those of its cache, the first that works."""
    said = dvc_settings(root).get("cache", {}).get("type", COPIES)
    return tuple(kind.strip() for kind in (said.split(",") if isinstance(said, str) else said))


def lay_out_file(cached: Path, path: Path, kinds: Sequence[str]) -> None:
    """Make the file `path` of a cached one, durable but for its name, by the first of these kinds that works."""
    for kind in (*kinds, "copy"):
        if kind in ("hardlink", "symlink"):
            with suppress(OSError):
                os.link(cached, path) if kind == "hardlink" else os.symlink(os.path.abspath(cached), path)
                return
        elif kind == "copy" or _cloned(cached, path):
            if kind == "copy":
                shutil.copyfile(cached, path)
            fsync_path(path)
            return


def stage_shards(root: Path, shards: Sequence[tuple[str, Path]], staged: Path) -> None:
    """Make the folder `staged` of these cached files, by name; durable. Links where DVC's settings ask for them."""
    kinds = link_kinds(root)
    staged.mkdir()
    for name, cached in shards:
        lay_out_file(cached, staged / name, kinds)
    fsync_directory(staged)


def _cloned(cached: Path, path: Path) -> bool:
    with cached.open("rb") as source, path.open("wb") as target, suppress(OSError):
        fcntl.ioctl(target, _CLONE, source.fileno())
        return True
    path.unlink()
    return False
