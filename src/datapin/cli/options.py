"""Options that many verbs share, and the repository that they work on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from datapin.base.errors import Usage
from datapin.cli.bars import terminal_progress
from datapin.cli.shell.asked import asked_here, common_options, jobs_option
from datapin.repo import Repo

__all__ = ["common_options", "jobs_option", "open_repo", "pairs"]

_EXAMPLES = {"--types": "label=double", "--rename": "Group=group"}


def open_repo(*, as_json: bool, quiet: bool, jobs: int | None = None) -> Repo:
    """The repository around the current folder, with progress on stderr if that is a terminal."""
    _keep_pandas_out()
    return Repo.find(
        Path.cwd(), progress=terminal_progress(quiet=quiet or as_json, bars=not asked_here().verbose), jobs=jobs
    )


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` texts of an option; a name may hold `=` itself. Raises Usage."""
    found = {}
    for text in given:
        name, equals, value = text.rpartition("=")
        if not equals or not value:
            raise Usage(f"{option} {text!r} is not NAME=VALUE", f"for example {option} {_EXAMPLES[option]}")
        found[name] = value
    return found


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
        import pyarrow as pa  # here: completion loads this module too, and must not wait for it

        refusal = _NoPandas()
        sys.meta_path.insert(0, refusal)
        try:
            pa.array([])
        finally:
            sys.meta_path.remove(refusal)
