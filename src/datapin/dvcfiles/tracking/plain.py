"""What `dvc add` writes, written without DVC: its import and its run take half a second.

Only for the plain case: one folder of shards, pinned by a `.dvc` file of its own, copies in the work tree, DVC's
settings as they come. All else is left to DVC's own code. `tests/contract/test_tracking_like_dvc.py` holds both ways
to the same bytes.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from datapin.base import failpoints
from datapin.base.files import (
    fsync_directory,
    fsync_path,
    make_directory,
    publish_bytes,
    sweep_leftovers,
    temporary_name,
)
from datapin.dvcfiles.hashes import OBJECTS, SHARD
from datapin.dvcfiles.laying_out import COPIES, link_kinds, stage_shards
from datapin.dvcfiles.locks import is_in_use, repository_lock
from datapin.dvcfiles.settings import cache_directory, dvc_settings
from datapin.dvcfiles.tracking.objects import cache_files
from datapin.dvcfiles.tracking.overlaps import may_overlap
from datapin.dvcfiles.tracking.pointer import PointerText
from datapin.dvcfiles.tracking_links import register_folder
from datapin.git.index import ignoring_patterns, is_tracked, stage

# A name that needs no escape in `.gitignore`, is no pattern there, and no URL to DVC.
_NAME = re.compile(r"[^\\\[\]!*?#:~\x00-\x1f\x7f\ud800-\udfff]+(?<! )\Z")
# All of DVC's sections; in these two, what has no say in what is written.
_SECTIONS = {"core", "cache", "remote", "state", "index", "machine", "feature", "plots", "exp", "parsing", "hydra",
             "studio", "db"}  # fmt: skip
_CORE = {"remote", "analytics", "check_update", "autostage", "interactive", "site_cache_dir", "checksum_jobs"}
_CACHE = {"dir", "type", "slow_link_warning"}


class LeftToDvc(Exception):
    """This case is not plain; nothing was written yet."""


def track_plain(root: Path, dataset: str, summary: Mapping[str, Any], *, timeout_s: float) -> str:
    """Pin the manifest in the folder `dataset`; the output's md5. Durable when it returns.

    Cache objects, `.gitignore`, `.dvc` file, in this order. Raises LeftToDvc, Locked if DVC's lock stays busy,
    StorageFailed, OSError.
    """
    objects, is_staged = _settings(root)
    with repository_lock(root, timeout_s=timeout_s):
        shards = _shards(root, dataset)
        _refuse_odd_places(root, dataset)
        is_new_to_git = _is_to_be_ignored(root, dataset)
        _refuse_dvcignored(root, dataset, [shard.name for shard in shards])
        pointer = root / f"{dataset}.dvc"
        before = _plain_text(pointer)
        try:
            text = PointerText(pointer.stem, before)
        except ValueError as error:
            raise LeftToDvc(f"{dataset}.dvc: {error}") from None
        if not text.is_plain:
            raise LeftToDvc(f"{dataset}.dvc says more than the plain things")
        ignore = pointer.parent / ".gitignore"
        ignored = (_plain_text(ignore) or "") if is_new_to_git else ""
        if may_overlap(root, dataset):
            raise LeftToDvc("another output may overlap")
        if is_in_use(root, root / dataset, timeout_s=timeout_s):
            raise LeftToDvc("a stage is running")
        sweep_leftovers(pointer.parent)  # else `git add` would take what a crash left beside the pointer
        directory = cache_files(objects, shards)
        failpoints.hit("track.cached")
        written = [f"{dataset}.dvc"]
        if is_new_to_git:
            line_end = "" if not ignored or ignored.endswith("\n") else "\n"
            publish_bytes(ignore, f"{ignored}{line_end}/{pointer.stem}\n".encode(), failpoint="track.ignore")
            written.append(ignore.relative_to(root).as_posix())
            failpoints.hit("track.ignored")
        register_folder(root, dataset)
        after = text.pinned(directory, summary)
        if after == before:
            fsync_path(pointer)
            fsync_directory(pointer.parent)
        else:
            publish_bytes(pointer, after.encode(), failpoint="track.text")
        failpoints.hit("track.pointer")
        if is_staged:
            stage(root, written)
        return directory.md5


def lay_out_plain(root: Path, dataset: str, shards: Sequence[tuple[str, Path]]) -> None:
    """Copies of these cached files as the folder `dataset`, which must not be there; whole and durable, or not at all.

    As `dvc checkout` does. Raises LeftToDvc where it would link, or where the folder is there; OSError.
    """
    _settings(root)
    _refuse_odd_places(root, dataset)
    target = root / dataset
    if os.path.lexists(target):
        raise LeftToDvc(f"{dataset} is there already")
    make_directory(target.parent)
    staged = target.parent / temporary_name()
    try:
        stage_shards(root, shards, staged)
        failpoints.hit("lay_out.staged")
        os.rename(staged, target)
        fsync_directory(target.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    register_folder(root, dataset)


def _settings(root: Path) -> tuple[Path, bool]:
    """Where the cache keeps its objects, and whether Git is told of what was written. Raises LeftToDvc."""
    settings = dvc_settings(root)
    core, cache = settings.get("core", {}), settings.get("cache", {})
    if not (settings.keys() <= _SECTIONS and _switched_on(core) <= _CORE and _switched_on(cache) <= _CACHE):
        raise LeftToDvc("DVC has settings that may change what it writes")
    if not set(link_kinds(root)) <= set(COPIES):
        raise LeftToDvc("DVC's settings ask for links")
    autostage = str(core.get("autostage", False)).lower()
    if autostage not in ("true", "false") or "://" in str(cache.get("dir", "")):
        raise LeftToDvc("DVC has settings that may change what it writes")
    return cache_directory(root) / OBJECTS, autostage == "true"


def _switched_on(section: Mapping[str, Any]) -> set[str]:
    """Names of the settings that are more than a switch left off; DVC's reader lists those too."""
    return {name for name, value in section.items() if str(value).lower() != "false"}


def _shards(root: Path, dataset: str) -> list[Path]:
    """The files of the manifest: regular ones without other names, for DVC replaces links by copies."""
    shards = []
    try:
        with os.scandir(root / dataset) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if not SHARD.match(entry.name) or not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                    raise LeftToDvc(f"{dataset} holds {entry.name}")
                shards.append(Path(entry.path))
    except (FileNotFoundError, NotADirectoryError):
        raise LeftToDvc(f"{dataset} is no folder") from None
    if not shards:
        raise LeftToDvc(f"{dataset} is empty")
    return sorted(shards)


def _refuse_odd_places(root: Path, dataset: str) -> None:
    """DVC adds nothing through symlinks, and treats what is below another repository in its own way."""
    folder = root
    for part in PurePosixPath(dataset).parts:
        folder = folder / part
        is_repository = (folder / ".dvc").exists() or (folder / ".git").exists()
        if not _NAME.match(part) or folder.is_symlink() or is_repository:
            raise LeftToDvc(f"{folder} is no plain folder of this repository")


def _is_to_be_ignored(root: Path, dataset: str) -> bool:
    """Whether `.gitignore` lacks the dataset. DVC's own files must be ignored by Git, and the pointer must not."""
    own = [".dvc/config.local", ".dvc/tmp", ".dvc/cache"]
    patterns = ignoring_patterns(root, [dataset, f"{dataset}.dvc", *own])
    if patterns is None:
        raise LeftToDvc("Git cannot tell what it ignores")
    of_dataset, of_pointer, *of_own = patterns
    # Git and the library that DVC asks differ over some patterns; no pattern and DVC's own line are beyond doubt.
    is_pointer_ignored = bool(of_pointer) and not of_pointer.startswith("!")
    if of_dataset not in ("", f"/{PurePosixPath(dataset).name}") or is_pointer_ignored:
        raise LeftToDvc(f"{of_dataset or of_pointer} decides whether Git ignores {dataset}")
    if any(not pattern or pattern.startswith("!") for pattern in of_own) or is_tracked(root, dataset):
        raise LeftToDvc(f"Git tracks {dataset}, or does not ignore what is DVC's own")
    return not of_dataset


def _refuse_dvcignored(root: Path, dataset: str, names: list[str]) -> None:
    """A wide net: a pattern that could match any of our paths, whatever the rest of the file says, is DVC's affair."""
    inside = PurePosixPath(dataset)
    paths = [str(inside), f"{dataset}.dvc", *(f"{dataset}/{name}" for name in names)]
    paths += [str(parent) for parent in inside.parents if parent.name]
    for folder in (root, *(root / parent for parent in inside.parents if parent.name)):
        with suppress(FileNotFoundError):
            for line in (folder / ".dvcignore").read_text(encoding="utf-8", errors="replace").splitlines():
                pattern = line.strip()
                if not pattern or pattern.startswith(("#", "!")):
                    continue
                wide = f"*{pattern.replace('**/', '*').strip('/')}"
                if set(pattern) & set("[\\") or any(fnmatch.fnmatchcase(path, wide) for path in paths):
                    raise LeftToDvc(f".dvcignore has {pattern}")


def _plain_text(path: Path) -> str | None:
    """The text of a file that may be replaced by a new one, None if there is none."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_mode & 0o111:
            raise LeftToDvc(f"{path} is no plain file")
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise LeftToDvc(f"{path} is not UTF-8") from None
    if "\r" in text or text.startswith("\ufeff"):
        raise LeftToDvc(f"{path} has line ends or marks that DVC may change")
    return text
