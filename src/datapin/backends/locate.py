"""From a DVC remote to the backend where datapin keeps its part of it."""

from __future__ import annotations

import re
from pathlib import Path

from datapin.backends.backend import Backend
from datapin.backends.local import LocalBackend
from datapin.base.errors import RemoteUnreachable

# Three or more characters: `dvc gc -c` deletes `<remote>/<2 characters>/<file>` as if it were an old object of its own.
PREFIX = "datapin"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def locate_backend(remote: str, url: str, *, base: Path) -> Backend:
    """The backend below the DVC remote named `remote`, whose `url` DVC's settings give; relative ones start at `base`.

    Raises RemoteUnreachable if this version cannot use it.
    """
    scheme = _SCHEME.match(url)
    if scheme is not None and scheme[1] != "file":
        raise RemoteUnreachable(
            remote,
            f"only directory remotes are supported in this version, this one is {scheme[1]}",
            "add one with `dvc remote add NAME DIRECTORY`",
        )
    return LocalBackend(base / url.removeprefix("file://") / PREFIX)
