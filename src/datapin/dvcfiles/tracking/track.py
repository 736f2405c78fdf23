"""Let DVC and Git know of a changed manifest: what `dvc add` does, plus our summary.

The plain case is written by us (`tracking_plain`), all else by DVC's own interface, which costs half a second.
"""

from __future__ import annotations

import logging
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datapin.base import log
from datapin.base.errors import DatapinError, Locked, Refused, StorageFailed
from datapin.base.files import fsync_directory, fsync_path, sweep_leftovers
from datapin.base.processes import guarded_git
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.locks import WHAT
from datapin.dvcfiles.settings import bad_config
from datapin.dvcfiles.texts import SUMMARY
from datapin.dvcfiles.tracking.plain import LeftToDvc, track_plain

_RETRY_S = 0.1
_LOGGERS = ("dvc", "dvc_data", "dvc_objects", "scmrepo")


def track(root: Path, dataset: str, summary: Mapping[str, Any], *, timeout_s: float = 60.0) -> str:
    """Pin the manifest in the folder `dataset` as `dvc add` does, with `summary` in its `.dvc` file; the output's md5.

    Notes of the user's in `meta`, `desc`, `labels` and `type` stay. `core.autostage` is honoured. Durable when it
    returns. Raises Locked if DVC's lock stays busy for `timeout_s`, Refused if DVC refuses, StorageFailed if the
    disk does.
    """
    try:
        try:
            md5 = track_plain(root, dataset, summary, timeout_s=timeout_s)
        except LeftToDvc:
            md5 = track_by_dvc(root, dataset, summary, timeout_s=timeout_s)
        DvcCache(root).keep(md5, is_checked=True)
        return md5
    except OSError as error:
        raise StorageFailed("pin", error.filename or dataset, error.strerror or str(error)) from None


def track_by_dvc(root: Path, dataset: str, summary: Mapping[str, Any], *, timeout_s: float = 60.0) -> str:
    """As `track`, always by DVC's own code."""
    log.step("dvc", "dvc add %s", dataset)
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    deadline = time.monotonic() + timeout_s
    with silent():
        while True:
            try:
                return _track(root, dataset, summary)
            except LockError as error:
                if time.monotonic() >= deadline:
                    what = WHAT if "blocked by" not in str(error) else f"the output {dataset}"
                    raise Locked(what=what, path=".dvc/tmp/lock", waited_s=timeout_s) from None
                time.sleep(_RETRY_S)
            except DvcException as error:
                raise _refused(dataset, error) from None
            except OSError as error:
                raise StorageFailed("pin", error.filename or dataset, error.strerror or str(error)) from None
            except DatapinError:
                raise
            except Exception as error:
                # What its libraries raise is no error of DVC's own: a user whom the system has no name for, for one.
                raise _refused(dataset, error) from error


def _refused(dataset: str, error: Exception) -> DatapinError:
    said = " ".join(str(error).split())
    if "config file error" in said:
        return bad_config(said)
    name = shlex.quote(dataset)
    ways = f"see `dvc add {name}`, which says the same, and `datapin doctor`"
    if "dvcignore" in said or "DVC-ignored" in said:
        ways = f"take the pattern out of .dvcignore (`dvc check-ignore --details {name}` names it)"
    elif "git-ignored" in said or "gitignore" in said:
        ways = f"take the pattern out of .gitignore (`git check-ignore -v --no-index {name}.dvc` names it)"
    elif isinstance(error, KeyError) or "getpwuid" in said or "No username" in said:
        ways = "the system has no name for this user: set LOGNAME, for example `export LOGNAME=$(id -u)`"
    what = said if type(error).__module__.startswith("dvc") else f"{type(error).__name__}: {said}"
    return Refused(f"DVC does not pin {dataset}, nothing was changed: {what}", f"{ways}; then run the command again")


def _track(root: Path, dataset: str, summary: Mapping[str, Any]) -> str:
    from dvc.repo import Repo, lock_repo

    repo = Repo(os.fspath(root))
    try:
        # DVC's lock fails after three seconds; the caller's loop waits as long as it was told.
        with lock_repo(repo), repo.scm_context:
            sweep_leftovers((root / dataset).parent)
            (stage,) = repo.add(os.fspath(root / dataset))
            (out,) = stage.outs
            md5 = str(out.hash_info.value)
            notes = dict(out.annot.meta or {})
            wanted = {"for": md5, **summary}
            if notes.get(SUMMARY) != wanted or stage.md5 is not None:
                out.annot.meta = {**notes, SUMMARY: wanted}
                if stage.md5 is not None:  # of an import: `dvc add` leaves that of the bytes which were imported
                    stage.md5 = stage.compute_md5()
                stage.dump()
            _make_durable(repo, out, Path(stage.path))
        return md5
    finally:
        repo.close()


def _make_durable(repo: Any, out: Any, pointer: Path) -> None:
    """DVC renames but never fsyncs: a power cut would leave a pointer to empty objects in its cache."""
    cache = repo.cache.local
    objects = [Path(cache.oid_to_path(out.hash_info.value))]
    objects += [Path(cache.oid_to_path(hash_info.value)) for _, _, hash_info in out.obj or ()]
    for path in objects:
        fsync_path(path)
    for folder in {path.parent for path in objects}:
        fsync_directory(folder)
    fsync_directory(Path(cache.path))
    fsync_path(pointer)
    fsync_directory(pointer.parent)


@contextmanager
def silent() -> Iterator[None]:
    """DVC and its libraries log hints and draw bars by the level of their loggers; errors reach us as exceptions.

    Git, where they call it, runs nothing of the repository's.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with guarded_git():
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
