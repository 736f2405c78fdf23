"""Folders with DVC's settings for one remote, and the backend that they lead to."""

from __future__ import annotations

from pathlib import Path

from datapin.backends.backend import Backend
from datapin.backends.locate import locate_backend
from datapin.dvcfiles.settings import settings_of_remotes


def backend_at(root: Path, **settings: object) -> Backend:
    """The backend of the remote lab with these settings, in a repository at `root` that is made for it."""
    (root / ".dvc").mkdir(parents=True)
    lines = [f"    {name} = {value}\n" for name, value in settings.items()]
    (root / ".dvc" / "config").write_text("['remote \"lab\"']\n" + "".join(lines))
    return locate_backend("lab", settings_of_remotes(root), root=root)
