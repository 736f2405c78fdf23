"""`init`: a Git and DVC repository becomes ready; whatever is not ours stays untouched."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from datapin.base.errors import BadSettings, Refused
from datapin.base.files import make_directory, publish_bytes
from datapin.base.settings import CONFIG, CONFIG_LOCAL, FOLDER
from datapin.dvcfiles.settings import remote_names, settings_of_remotes
from datapin.git.index import ignoring_patterns, is_tracked
from datapin.githooks.drivers import install_drivers
from datapin.githooks.install import hooks_are_refused, install_hooks, note_wish, remove_hooks
from datapin.verbs.setup.initialise_ci import Server, write_ci
from datapin.verbs.workspace.git_exclude import git_pattern
from datapin.verbs.workspace.place import remote_name
from datapin.verbs.workspace.reports import InitReport
from datapin.verbs.workspace.workspace import Workspace

_CONFIG_TEXT = """\
# Settings of datapin; the defaults are shown. Overrides for this machine only: {local} (git-ignored).
{remote}
# jobs = 2                      # worker processes; default: one per core

[store]
# dir = "/disk/store"           # a disk that several clones share; default: datapin/store in Git's own folder
# large_asset = 4194304         # bytes; larger assets are files of their own
# pack_size = 67108864          # bytes

[checkout]
# follow = false                # true: files checked out by `datapin checkout` follow `git checkout` too
"""
_IGNORED = ("/store/", "/cache/", "/memo/", "/tmp/", f"/{CONFIG_LOCAL}")  # noqa: S108  # folders of ours, not /tmp
TEMPLATES = ("image", "audio", "text")
_OF_EVERY_TEMPLATE = ("dvc.yaml", "reports/.gitignore")
_OF_ONE_TEMPLATE = ("params.yaml",)


def initialise(
    workspace: Workspace,
    *,
    remote: str | None,
    template: str | None,
    hooks: bool | None = None,
    ci: Server | None = None,
    originals: Sequence[str] = (),
) -> InitReport:
    """Write `.datapin/config.toml`, `.datapin/.gitignore` and, if asked, a template's files that do not exist yet.

    Git is told how to show and merge pointers: in `.gitattributes`, and in this clone's settings.
    Folders of `originals`, from which rows will be added, go into `.gitignore`: their content will be in the store.
    `hooks` puts our part into Git's hooks (True) or takes it out (False); None puts it in unless it was taken out
    earlier, and leaves hooks that are not ours to edit. `ci` writes a job for that server. Raises
    BadSettings if `remote` is no DVC remote, Refused for a hook or a job that is not ours to edit; everything else is
    done then.
    """
    known = remote_names(workspace.root)
    if remote is not None and remote not in known:
        seen = ", ".join(known) or "none"
        raise BadSettings(
            path=".dvc/config",
            where="",
            problem=f"no DVC remote named {remote!r}; known: {seen}",
            advice=f"run `dvc remote add {shlex.quote(remote)} URL` first",
        )
    created: list[str] = []
    changed: list[str] = []
    make_directory(workspace.root / FOLDER)
    config = workspace.root / FOLDER / CONFIG
    if not config.exists():
        line = f'remote = "{remote}"' if remote else '# remote = "NAME"             # default: DVC\'s default remote'
        publish_bytes(config, _CONFIG_TEXT.format(local=CONFIG_LOCAL, remote=line).encode())
        created.append(f"{FOLDER}/{CONFIG}")
    elif remote is not None and workspace.settings.remote != remote:
        _set_remote(config, remote)
        changed.append(f"{FOLDER}/{CONFIG}")
    _complete_lines(workspace.root, f"{FOLDER}/.gitignore", _IGNORED, created, changed)
    taken = [] if template is None else _write_template(workspace.root, template, created)
    # Made now, so that a store of another format or a place that cannot be written is found at once.
    workspace.store.check()
    drivers = install_drivers(workspace.root)
    created += drivers.created
    changed += drivers.changed
    notes = taken + _hooks(workspace.root, hooks, created, changed)
    notes += _ignore_originals(workspace, originals, created, changed)
    notes += [] if ci is None else _write_ci(workspace, ci, remote, created)
    return InitReport(created=created, changed=changed, notes=notes)


def _write_template(root: Path, template: str, created: list[str]) -> list[str]:
    """Write the template's files that are not there; a note for each that is and says something else.

    No note where all are there: they are the user's since the last time.
    """
    folder = files("datapin.verbs.setup") / "templates"
    notes, before = [], len(created)
    sources = {name: folder / "every" / name.replace(".gitignore", "gitignore") for name in _OF_EVERY_TEMPLATE}
    sources |= {name: folder / template / name for name in _OF_ONE_TEMPLATE}
    for name, source in sources.items():
        target = root / name
        content = source.read_bytes()
        if not target.exists():
            make_directory(target.parent)
            publish_bytes(target, content)
            created.append(name)
        elif target.read_bytes() != content:
            notes.append(f"{name} as it is: the template's is {source}")
    return notes if len(created) > before else []


def _hooks(root: Path, hooks: bool | None, created: list[str], changed: list[str]) -> list[str]:
    """Put our part into the hooks unless that was refused, now or earlier; what was left to do by hand."""
    if hooks is None and hooks_are_refused(root):
        return []
    wanted = hooks is not False
    note_wish(root, wanted=wanted)
    changes = install_hooks(root) if wanted else remove_hooks(root)
    created += changes.created
    changed += changes.changed
    if hooks:  # asked for by name
        for left in changes.left:
            raise Refused(f"{left.file} was left as it is: {left.reason}", left.advice)
    return [f"{left.file}: {left.reason}; {left.advice}" for left in changes.left]


def _ignore_originals(
    workspace: Workspace, originals: Sequence[str], created: list[str], changed: list[str]
) -> list[str]:
    """Let Git ignore these folders, where it does not yet; what is left to do for those that it tracks."""
    root = workspace.root
    paths = [Path(os.path.normpath(workspace.cwd / folder)) for folder in originals]
    names = [path.relative_to(root).as_posix() for path in paths if path != root and path.is_relative_to(root)]
    if not names:
        return []
    patterns = ignoring_patterns(root, names) or [""] * len(names)
    lines = [git_pattern(name) for name, pattern in zip(names, patterns, strict=True) if not pattern]
    _complete_lines(root, ".gitignore", tuple(lines), created, changed)
    return [
        f"{name}: Git tracks files of it; `git rm -r --cached {shlex.quote(name)}` leaves them to datapin"
        for name in names
        if is_tracked(root, name)
    ]


def _write_ci(workspace: Workspace, ci: Server, remote: str | None, created: list[str]) -> list[str]:
    name = remote_name(workspace, remote)
    settings = settings_of_remotes(workspace.root).get(name or "", {})
    job = write_ci(workspace.root, ci, settings.get("url"))
    created += [job.path] if job.is_new else []
    return [job.note] if job.note else []


def _set_remote(config: Path, remote: str) -> None:
    lines = [line for line in config.read_text(encoding="utf-8").splitlines() if not _is_remote_line(line)]
    # Top-level names must precede the first section of a TOML file.
    first = next((i for i, line in enumerate(lines) if line.startswith("[")), len(lines))
    lines.insert(first, f'remote = "{remote}"')
    publish_bytes(config, ("\n".join(lines) + "\n").encode())


def _is_remote_line(line: str) -> bool:
    return line.lstrip("# ").split("=")[0].strip() == "remote"


def _complete_lines(root: Path, name: str, wanted: tuple[str, ...], created: list[str], changed: list[str]) -> None:
    path = root / name
    present = path.read_text(encoding="utf-8").splitlines() if path.exists() else None
    missing = [line for line in wanted if line not in (present or [])]
    if not missing:
        return
    publish_bytes(path, ("\n".join([*(present or []), *missing]) + "\n").encode())
    (created if present is None else changed).append(name)
