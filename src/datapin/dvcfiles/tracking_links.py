"""DVC's register of the folders it laid out: `dvc checkout` takes away those that the commit checked out does not have.

Without an entry the folder would stay behind in a commit from before the dataset, where Git does not ignore it. The
register is DVC's private affair (`State.set_link` of dvc_data, `Repo.site_cache_dir` of dvc): it is written only where
DVC has made it, and an entry that DVC does not find or understand does what none does.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path

from datapin.dvcfiles.settings import dvc_settings

_DVC_MAJOR = 3  # a part of the register's address
_SITE_CACHE = "/var/tmp/dvc"  # noqa: S108  # DVC's place for it on Linux
_TIMEOUT_S = 1.0


def register_folder(root: Path, dataset: str) -> None:
    """Tell DVC that the folder `dataset`, as it is now, came from its cache."""
    import diskcache  # type: ignore[import-untyped]  # what the register is written with; dvc_data brings it

    place = _register(root)
    if place is None or not (place / "cache.db").is_file():
        return
    folder = os.path.join(os.path.realpath(root), dataset)
    with os.scandir(folder) as entries:
        times = {entry.path: entry.stat().st_mtime for entry in entries}
    token = hashlib.md5(json.dumps(times, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
    with suppress(diskcache.Timeout, sqlite3.Error, OSError):
        # The library itself would wait for a minute.
        with closing(sqlite3.connect(place / "cache.db", timeout=_TIMEOUT_S)) as register:
            register.execute("BEGIN IMMEDIATE")
        # These settings are DVC's; the library keeps them in the register.
        with diskcache.Cache(os.fspath(place), timeout=_TIMEOUT_S, disk_pickle_protocol=4, cull_limit=0) as links:
            links[dataset] = (os.lstat(folder).st_ino, token)


def _register(root: Path) -> Path | None:
    if sys.platform != "linux":
        return None
    try:
        made = os.path.getmtime(root / ".dvc" / "tmp" / "btime")
        user = getpass.getuser()
    except (OSError, KeyError):
        return None
    address = str((os.path.realpath(root), None, made, user, _DVC_MAJOR, 0))
    name = hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()
    said = os.environ.get("DVC_SITE_CACHE_DIR") or dvc_settings(root).get("core", {}).get("site_cache_dir")
    return Path(said or _SITE_CACHE) / "repo" / name / "links"
