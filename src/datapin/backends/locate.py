"""From a DVC remote to the backend that speaks to it: same URL, same credentials, nothing configured twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datapin.backends.backend import Backend
from datapin.backends.dvcfs.backend import DvcBackend
from datapin.backends.local import LocalBackend
from datapin.backends.s3.backend import S3Backend
from datapin.backends.s3.settings import s3_settings
from datapin.base.errors import BadSettings, listed

# Three or more characters: `dvc gc -c` deletes `<remote>/<2 characters>/<file>` as if it were an old object of its own.
PREFIX = "datapin"

Remotes = Mapping[str, Mapping[str, Any]]

_SETTINGS_FILE = ".dvc/config"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_TRUE = ("true", "yes", "on", "1")
_OWN_WAYS = ("version_aware", "worktree")


def locate_backend(name: str, remotes: Remotes, *, root: Path) -> Backend:
    """The backend at the URL of the DVC remote `name`; `remotes` is what DVC's settings say about all of them.

    `root` is the repository's. Nothing is asked of the remote yet. Raises BadSettings.
    """
    settings = resolved_settings(name, remotes)
    for way in _OWN_WAYS:
        if str(settings.get(way, "")).strip().lower() in _TRUE:
            raise BadSettings(
                _SETTINGS_FILE,
                f'remote "{name}"',
                f"{way} remotes keep files under their own names; datapin needs one that keeps objects by their hash",
                f"add another one with `dvc remote add NAME URL`, or run `dvc remote modify --unset {name} {way}`",
            )
    url = str(settings["url"])
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[1].lower() == "file":
        return LocalBackend(root / url.removeprefix("file://"))
    if scheme[1].lower() == "s3":
        return S3Backend(s3_settings(url, settings))
    return DvcBackend(name, settings, root=root)


def resolved_settings(name: str, remotes: Remotes) -> dict[str, Any]:
    """The settings of `name` with a real URL: `remote://parent/folder` takes the parent's and what they leave unsaid.

    Raises BadSettings.
    """
    return _resolved(name, remotes, ())


def _resolved(name: str, remotes: Remotes, children: tuple[str, ...]) -> dict[str, Any]:
    where = f'remote "{children[0] if children else name}"'
    # DVC writes the names of remotes in lower case and finds them in any.
    settings = remotes.get(name, remotes.get(name.lower()))
    if settings is None:
        known = listed(sorted(remotes)) or "none"
        raise BadSettings(
            _SETTINGS_FILE, where, f"there is no remote {name!r}; known: {known}", "run `dvc remote list`"
        )
    if name in children:
        problem = f"its URL leads back to itself: {' -> '.join((*children, name))}"
        raise BadSettings(_SETTINGS_FILE, where, problem, f"set a real one with `dvc remote modify {name} url URL`")
    url = str(settings.get("url") or "")
    if not url:
        raise BadSettings(_SETTINGS_FILE, where, "it has no URL", f"run `dvc remote modify {name} url URL`")
    if not url.lower().startswith("remote://"):
        return dict(settings)
    parent, _, folder = url[len("remote://") :].partition("/")
    inherited = _resolved(parent, remotes, (*children, name))
    return {**inherited, **settings, "url": f"{str(inherited['url']).rstrip('/')}/{folder.lstrip('/')}"}
