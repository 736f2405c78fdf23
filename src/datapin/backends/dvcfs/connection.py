"""Opens DVC's own file system for a remote, with the credentials that DVC finds for it."""

from __future__ import annotations

import os
import posixpath
import sys
import weakref
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from datapin.backends.dvcfs.errors import library_missing

SILENCE_S = float(os.environ.get("DATAPIN_REMOTE_TIMEOUT_S", "60"))
HTTP = ("http", "https")

# What a setting of DVC's is called that bounds how long a server may be silent.
_TIMEOUT_SETTINGS = {
    "azure": ("connection_timeout", "read_timeout"),
    "http": ("connect_timeout", "read_timeout"),
    "https": ("connect_timeout", "read_timeout"),
    "ssh": ("timeout",),
    "webdav": ("timeout",),
    "webdavs": ("timeout",),
}
_SIGNS_OF_LIFE = 3
_CLOSE_S = 10.0


class Kind(Enum):
    """What a place does with a name that is being written."""

    OBJECTS = "shows an object when its upload is whole"
    FILES = "is written in place"
    PAGES = "is only read"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Connection:
    """DVC's file system of a remote, fsspec's below it (`raw`), and the path in it where the remote starts."""

    protocol: str
    kind: Kind
    filesystem: Any
    raw: Any
    base: str

    def path(self, key: str) -> str:
        """Where in the file system `key` is."""
        return posixpath.join(self.base, key)


def connect(name: str, *, protocol: str, url: str, root: Path) -> Connection:
    """Open DVC's file system of the remote `name`; `url` is for messages. May or may not ask the server already.

    Raises RemoteUnreachable if its library is not installed or says that the settings cannot be, and what it raises.
    """
    from dvc.config import Config
    from dvc.fs import get_cloud_fs
    from dvc_objects.fs.errors import RemoteMissingDepsError
    from fsspec.asyn import sync

    try:
        opener, settings, base = get_cloud_fs(Config(os.fspath(root / ".dvc")), name=name)
        for setting in _TIMEOUT_SETTINGS.get(protocol, ()):
            settings.setdefault(setting, SILENCE_S)
        filesystem = opener(**settings)
        if protocol == "ssh":
            _bound_ssh(filesystem)
        elif protocol in HTTP:
            # Its own retries would multiply ours, and the waits with them.
            filesystem.SESSION_RETRIES = 1
        raw = filesystem.fs
    except (ImportError, RemoteMissingDepsError):
        raise library_missing(protocol, url) from None
    _forget_listings(raw)
    connection = Connection(protocol, _kind(protocol, filesystem), filesystem, raw, base.rstrip("/") or base)
    if protocol in HTTP:
        # Threads that find no session would open one each, and only the last would be closed, by chance.
        session = sync(raw.loop, raw.set_session)
        weakref.finalize(connection, _close, raw.loop, session)
    return connection


def _close(loop: Any, session: Any) -> None:
    """Close the session, on its loop; a collector of garbage may call this from that very thread, which cannot wait."""
    import asyncio

    with suppress(TimeoutError, RuntimeError):
        closing = asyncio.run_coroutine_threadsafe(session.close(), loop)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            closing.result(_CLOSE_S)


def _kind(protocol: str, filesystem: Any) -> Kind:
    from dvc_objects.fs.base import ObjectFileSystem

    if protocol in HTTP:
        return Kind.PAGES
    # Google Drive is no object store, but uploads as one.
    return Kind.OBJECTS if isinstance(filesystem, ObjectFileSystem) or protocol == "gdrive" else Kind.FILES


def _bound_ssh(filesystem: Any) -> None:
    """Notice a server that has gone silent, and ask people only if somebody sits there."""
    import asyncssh

    arguments = filesystem.fs_args
    arguments["keepalive_interval"] = SILENCE_S / (_SIGNS_OF_LIFE + 1)
    arguments["keepalive_count_max"] = _SIGNS_OF_LIFE
    if arguments.get("password") is not None or not sys.stdin.isatty():
        # DVC's client would ask at the terminal: a Git hook's stdin is not one, and a refused password is an answer.
        arguments["client_factory"] = asyncssh.SSHClient


def _forget_listings(raw: Any) -> None:
    """Have the file system ask for every listing: what others put since must be seen."""
    from fsspec.dircache import DirCache

    cache = getattr(raw, "dircache", None)
    if isinstance(cache, DirCache):
        cache.use_listings_cache = False
    raw.use_listings_cache = False
