"""Options that many verbs share, and the repository that they work on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
import pyarrow as pa

from datapin.base.errors import Usage
from datapin.cli.bars import terminal_progress
from datapin.verbs.workspace import Workspace

Verb = TypeVar("Verb", bound=Callable[..., Any])


def common_options(function: Verb) -> Verb:
    """`--json`, `-q`, `-v` and `--cd` for a verb; the verb itself receives `as_json` and `quiet`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress and no notes.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more.")
    @click.option("--cd", "start_folder", metavar="DIR", help="Run as if started in DIR.")
    @wraps(function)
    def wrapped(*args: Any, start_folder: str | None, verbose: bool, **options: Any) -> Any:
        if start_folder is not None:
            try:
                os.chdir(start_folder)
            except OSError as error:
                raise Usage(f"--cd {start_folder}: {error.strerror}") from None
        click.get_current_context().obj = verbose
        return function(*args, **options)

    return wrapped  # type: ignore[return-value]  # click passes the same options, less those handled here


def jobs_option(function: Verb) -> Verb:
    """`-j N`: worker processes."""
    return click.option(
        "-j", "--jobs", type=click.IntRange(1, 256), metavar="N", help="Worker processes (default: one per core)."
    )(function)


def open_workspace(*, as_json: bool, quiet: bool, jobs: int | None = None) -> Workspace:
    """The repository around the current folder, with progress on stderr if that is a terminal."""
    _keep_pandas_out()
    return Workspace.find(Path.cwd(), progress=terminal_progress(quiet=quiet or as_json), jobs=jobs)


class _NoPandas:
    """Refuses one import."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ImportError(name)


def _keep_pandas_out() -> None:
    """Let Arrow find out, once, that there is no pandas: importing it takes 0.2 s, and no verb needs it.

    The first `pa.array` of a process tries the import to see whether its argument is a pandas one.
    """
    if "pandas" not in sys.modules:
        refusal = _NoPandas()
        sys.meta_path.insert(0, refusal)
        try:
            pa.array([])
        finally:
            sys.meta_path.remove(refusal)
