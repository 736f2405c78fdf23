"""Cached manifests on their way into the work tree: laid out as `dvc checkout` would, without its import."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from datapin.base.files import fsync_directory, fsync_path
from datapin.versions.dvc_settings import dvc_settings
from datapin.versions.tracking_links import register_folder

_COPIES = ("reflink", "copy")


def stage_shards(root: Path, shards: Sequence[tuple[str, Path]], staged: Path) -> None:
    """Make the folder `staged` of these cached files, by name; durable. Links where DVC's settings ask for them."""
    said = dvc_settings(root).get("cache", {}).get("type", _COPIES)
    kinds = [kind.strip() for kind in (said.split(",") if isinstance(said, str) else said)]
    staged.mkdir()
    for name, cached in shards:
        _lay_out(cached, staged / name, kinds)
    fsync_directory(staged)


def tell_dvc(root: Path, dataset: str) -> None:
    """Let DVC know that the folder `dataset` came from its cache, so that `dvc checkout` may take it away again."""
    register_folder(root, dataset, site_cache=dvc_settings(root).get("core", {}).get("site_cache_dir"))


def _lay_out(cached: Path, path: Path, kinds: Sequence[str]) -> None:
    for kind in kinds:
        if kind in ("hardlink", "symlink"):
            with suppress(OSError):
                os.link(cached, path) if kind == "hardlink" else os.symlink(os.path.abspath(cached), path)
                return
        else:
            break
    shutil.copyfile(cached, path)
    fsync_path(path)
