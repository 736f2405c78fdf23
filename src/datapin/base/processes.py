"""How datapin starts other programs: none is found in, and none imports from, the folder that it happens to run in.

A clone of somebody else's repository is such a folder. What users ask to be run (stages of their `dvc.yaml`) keeps
their environment as it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from datapin.base.errors import ToolFailed

# By these, settings of a repository would run a program of its own where we only ask Git.
_GIT_SETTINGS = (
    ("core.fsmonitor", "false"),
    ("core.hooksPath", os.devnull),
    ("protocol.ext.allow", "never"),
)
_HOOKS_PATH = "core.hooksPath"
# By these Git tells its hooks and drivers where they are (`git rev-parse --local-env-vars`, but for settings).
GIT_PLACES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_DIR", "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)  # fmt: skip
# Variables by which Python imports from elsewhere; what the parent has from them is handed on by its `sys.path`.
_PYTHON_PLACES = ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONINSPECT", "PYTHONBREAKPOINT")


def forget_places() -> None:
    """Git commands of this process find their repository by the folder that they run in.

    A hook of another repository, or of a submodule, has variables that name its own.
    """
    for name in GIT_PLACES:
        os.environ.pop(name, None)


def _git() -> str:
    """Git on PATH, as an absolute path; relative and empty entries, which mean this folder, are left out.

    Raises ToolFailed.
    """
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, "git")
        if os.path.isabs(folder) and os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise ToolFailed("git", "the command is not installed")


def git_words(root: Path | str, *arguments: str, settings: Sequence[str] = (), with_hooks: bool = False) -> list[str]:
    """The command `git ARGUMENTS` in the folder `root`, with settings `name=value`, and with what runs programs off.

    `with_hooks` leaves `core.hooksPath` as it is, for a question about it.
    """
    off = [f"{name}={value}" for name, value in _GIT_SETTINGS if not (with_hooks and name == _HOOKS_PATH)]
    options = [word for setting in (*off, *settings) for word in ("-c", setting)]
    return [_git(), "--no-pager", "-C", os.fspath(root), *options, *arguments]


@contextmanager
def guarded_git(settings: Iterable[tuple[str, str]] = ()) -> Iterator[None]:
    """Git commands that libraries start in this process run no program of the repository either."""
    variables = git_variables([*_GIT_SETTINGS, *settings]) | {"GIT_PYTHON_GIT_EXECUTABLE": _git()}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def git_variables(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Settings for Git, whatever their names hold, as variables of the environment; those that are there stay."""
    said = os.environ.get("GIT_CONFIG_COUNT", "")
    variables: dict[str, str] = {}
    count = int(said) if said.isdigit() else 0
    for name, value in settings:
        variables |= {f"GIT_CONFIG_KEY_{count}": name, f"GIT_CONFIG_VALUE_{count}": value}
        count += 1
    return {**variables, "GIT_CONFIG_COUNT": str(count)} if variables else {}


def worker_words(module: str, *arguments: str) -> list[str]:
    """The command that runs the function `main` of `module` in a process of ours; give it `worker_environment()`.

    It imports from where this process does, but not from the current folder: an editable installation, and one in
    the user's own folder, are found.
    """
    return [*_python("-P"), f"{_with_places()}from {module} import main; main()", *arguments]


def worker_environment() -> dict[str, str]:
    """This process's environment without what sends Python elsewhere."""
    return {name: value for name, value in os.environ.items() if name not in _PYTHON_PLACES}


def module_words(module: str, *arguments: str) -> list[str]:
    """The command `python -m MODULE ARGUMENTS`, unbuffered, which imports as a worker does.

    The user's environment is for what it starts, and may stay: the interpreter itself does not look at it.
    """
    start = f"{_with_places()}import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return [*_python("-E", "-P", "-u"), start, *arguments]


def forget_current_folder() -> None:
    """Take the current folder off `sys.path` where an empty entry (or a dot) in PYTHONPATH has put it there."""
    named = os.environ.get("PYTHONPATH", "")
    if named and not {"", os.curdir}.isdisjoint(named.split(os.pathsep)):
        unsafe = {"", os.curdir, os.getcwd()}
        sys.path[:] = [entry for entry in sys.path if entry not in unsafe]


def _python(*flags: str) -> list[str]:
    return [os.path.abspath(sys.executable), *flags, "-c"]


def _with_places() -> str:
    return f"import sys; sys.path[:] = {_import_places()!r}; "


def _import_places() -> list[str]:
    """Where this process imports from, absolute, without the current folder unless an installation put it there."""
    here = os.getcwd()
    ours = str(Path(__file__).parents[2])
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = [entry for entry in sys.path if os.path.isabs(entry) and (entry != here or here in named)]
    return places if ours in places else [*places, ours]
