"""`init --ci`: a job that runs `datapin verify` on a CI server. What somebody else wrote is never written over."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from textwrap import indent
from typing import Literal

from datapin.base.errors import Refused
from datapin.base.files import make_directory, publish_bytes

Server = Literal["github", "gitlab"]
SERVERS: tuple[Server, ...] = ("github", "gitlab")

VERIFY = "datapin verify HEAD --remote --report junit=datapin-verify.xml --report markdown=datapin-verify.md"

_MARK = "# Written by `datapin init --ci"
_GITHUB = ".github/workflows/datapin.yml"
_GITLAB = ".gitlab-ci.yml"
_GITLAB_INCLUDED = ".gitlab/datapin.yml"
_SECRETS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "azure": ("AZURE_STORAGE_CONNECTION_STRING",),
}
# What turns each kind of lock into packages, the most exact first.
_LOCKS = {
    "requirements.lock": "pip install -r requirements.lock",
    "uv.lock": "pip install uv\nuv export --frozen --no-emit-project --quiet | pip install -r /dev/stdin",
    "poetry.lock": "pip install poetry poetry-plugin-export\npoetry export | pip install -r /dev/stdin",
    "requirements.txt": "pip install -r requirements.txt",
}


@dataclass(frozen=True, slots=True)
class CiFile:
    """The file with the job, relative to the repository: `is_new` if it was written now; `note` says what is left."""

    path: str
    is_new: bool
    note: str = ""


def write_ci(root: Path, server: Server, remote_url: str | None) -> CiFile:
    """Write the job for `server`, if none of ours is there; `remote_url` tells which secrets it needs.

    Beside a `.gitlab-ci.yml` of others it is a file to include. Raises Refused if a workflow of this name is not ours.
    """
    path, note = (_GITHUB, "") if server == "github" else (_GITLAB, "")
    if server == "gitlab" and _is_foreign(root / path):
        path = _GITLAB_INCLUDED
        if path not in (root / _GITLAB).read_text(encoding="utf-8", errors="replace"):
            note = f"{_GITLAB} is yours and was left as it is: add `include: [{{local: {path}}}]` to it"
    if _is_foreign(root / path):
        raise Refused(
            f"{path} is not datapin's and was left as it is", f"let a job of it run `{VERIFY}`, or move it and repeat"
        )
    is_new = not (root / path).exists()
    if is_new:
        make_directory((root / path).parent)
        publish_bytes(root / path, _job(root, server, remote_url).encode())
    return CiFile(path, is_new, note)


def _is_foreign(path: Path) -> bool:
    try:
        return not path.read_text(encoding="utf-8", errors="replace").startswith(_MARK)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _job(root: Path, server: Server, remote_url: str | None) -> str:
    text = (files("datapin.verbs.setup") / "templates" / "ci" / f"{server}.yml").read_text(encoding="utf-8")
    scheme = (remote_url or "").partition("://")[0]
    names = _SECRETS.get(scheme, ())
    if server == "github":
        secrets = "\n".join(f"{name}: ${{{{ secrets.{name} }}}}" for name in names)
        secrets = secrets or "# name here, as NAME: ${{ secrets.NAME }}, what your remote's credentials are read from"
    else:
        secrets = f"# {', '.join(names)}" if names else "# what your remote's credentials are read from."
    replaced = {
        "@PYTHON@": f"{sys.version_info.major}.{sys.version_info.minor}",
        "@SECRETS@": indent(secrets, "      ") if server == "github" else secrets,
        "@INSTALL@": indent(_install(root), "          " if server == "github" else "      "),
    }
    for place, said in replaced.items():
        text = text.replace(place, said)
    return text


def _install(root: Path) -> str:
    """The commands that install what a lock in the root names, and datapin if that does not."""
    lock = next((name for name in _LOCKS if (root / name).is_file()), None)
    if lock is None:
        return "# No lock was found: write one, or another run may meet other versions.\npip install datapin"
    known = (root / lock).read_text(encoding="utf-8", errors="replace")
    return _LOCKS[lock] if "datapin" in known else f"{_LOCKS[lock]}\npip install datapin # {lock} does not name it"
