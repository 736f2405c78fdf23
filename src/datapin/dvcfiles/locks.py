"""DVC's locks, taken as DVC takes them: the repository's lock file, and the register of paths that stages are using."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datapin.base.documents import read_json
from datapin.base.files import lock

WHAT = "DVC's repository lock"


@contextmanager
def repository_lock(root: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold DVC's lock of the repository at `root`: no other DVC command changes it meanwhile.

    `zc.lockfile`, which DVC uses unless `core.hardlink_lock` is set, is `flock` on the same file. Raises Locked.
    """
    with lock(root / ".dvc" / "tmp" / "lock", what=WHAT, timeout_s=timeout_s):
        yield


def is_in_use(root: Path, path: Path, *, timeout_s: float) -> bool:
    """Whether a running stage may read or write `path`, or the register cannot be read; under `repository_lock`.

    Nobody can register meanwhile, for that takes the repository's lock. Raises Locked.
    """
    folder = root / ".dvc" / "tmp"
    with lock(folder / "rwlock.lock", what=WHAT, timeout_s=timeout_s):
        try:
            register = read_json((folder / "rwlock").read_bytes(), "rwlock")
            used = [other for kind in ("read", "write") for other in register.get(kind, {})]
        except FileNotFoundError:
            return False
        except (ValueError, AttributeError, TypeError):
            return True
    return any(overlap(os.fspath(path), other) for other in used)


def overlap(one: str, other: str) -> bool:
    """Whether two absolute paths are the same, or one lies below the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
