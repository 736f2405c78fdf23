"""The remote that verbs speak to: DVC's own, by the name and with the settings that DVC has for it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datapin.backends.counting import CountingBackend
from datapin.backends.locate import PREFIX, locate_backend
from datapin.backends.wrappers import BackendBelow
from datapin.base.errors import BadSettings, Refused
from datapin.base.state import slug_of
from datapin.dvcfiles.settings import default_remote, settings_of_remotes
from datapin.git.ask import ask_git
from datapin.store.remote import RemoteStore
from datapin.verbs.workspace.workspace import Workspace


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
    _refuse_committed_profiles(workspace.root, name, remotes[name])
    backend = locate_backend(name, remotes, root=workspace.root)
    # By its URL too: a remote that is moved or replaced is not taken for the one we knew.
    known = slug_of(f"{name}\0{backend.url}")
    store = RemoteStore(CountingBackend(BackendBelow(backend, PREFIX)), workspace.cache / "remotes" / known)
    return RemotePlace(name, CountingBackend(backend), store)


def _refuse_committed_profiles(root: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Raise Refused for a file of AWS profiles that a commit brought: a profile may name a program to run."""
    for option in ("configpath", "credentialpath"):
        said = os.path.expanduser(str(settings.get(option) or os.devnull))
        # Relative to the current folder as we read it, to the settings' own folder as DVC may.
        paths = {os.path.realpath(os.path.join(folder, said)) for folder in (os.getcwd(), root, root / ".dvc")}
        inside = [path for path in paths if Path(path).is_relative_to(os.path.realpath(root))]
        if inside and ask_git(root, "ls-files", "--", *inside):
            raise Refused(
                f"remote {name}: {option} is {settings[option]}, a file that Git tracks; "
                "its profiles could run a program of whoever committed it",
                f"name one of your own: `dvc remote modify --local {shlex.quote(name)} {option} ~/.aws/config`",
            )


def remote_name(workspace: Workspace, wanted: str | None = None) -> str | None:
    """The name of the remote that a verb would speak to, None if there is none."""
    return wanted or workspace.settings.remote or default_remote(workspace.root)
