"""The remote that verbs speak to: DVC's own, by the name and with the settings that DVC has for it."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass

from datapin.backends.below import BackendBelow
from datapin.backends.counting import CountingBackend
from datapin.backends.locate import PREFIX, locate_backend
from datapin.base.errors import BadSettings
from datapin.store.remote import RemoteStore
from datapin.verbs.workspace import Workspace
from datapin.versions.dvc_settings import default_remote, settings_of_remotes


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """A DVC remote: `root` is where DVC's own objects lie, `store` is ours below it."""

    name: str
    root: CountingBackend
    store: RemoteStore

    @property
    def requests(self) -> int:
        """How many requests went there."""
        return self.root.requests + self.store.backend.requests


def remote_place(workspace: Workspace, wanted: str | None = None) -> RemotePlace:
    """The DVC remote of this name, else the one of datapin's settings, else DVC's default one. Nothing is asked yet.

    Raises BadSettings if there is none, or if it is of a kind that cannot hold a store.
    """
    name = remote_name(workspace, wanted)
    remotes = settings_of_remotes(workspace.root)
    if name is None:
        advice = "run `dvc remote add --default NAME URL`"
        raise BadSettings(path=".dvc/config", where="", problem="no default remote", advice=advice)
    if name not in remotes:
        seen = ", ".join(sorted(remotes)) or "none"
        advice = f"run `dvc remote add {shlex.quote(name)} URL`"
        raise BadSettings(path=".dvc/config", where="", problem=f"no remote {name!r}; known: {seen}", advice=advice)
    backend = locate_backend(name, remotes, root=workspace.root)
    # By its URL too: a remote that is moved or replaced is not taken for the one we knew.
    known = hashlib.sha256(f"{name}\0{backend.url}".encode()).hexdigest()[:16]
    store = RemoteStore(CountingBackend(BackendBelow(backend, PREFIX)), workspace.cache / "remotes" / known)
    return RemotePlace(name, CountingBackend(backend), store)


def remote_name(workspace: Workspace, wanted: str | None = None) -> str | None:
    """The name of the remote that a verb would speak to, None if there is none."""
    return wanted or workspace.settings.remote or default_remote(workspace.root)
