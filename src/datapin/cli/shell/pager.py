"""Long lists go through the pager that Git would use: GIT_PAGER, core.pager, PAGER, less; on a terminal only."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click

from datapin.base.errors import ToolFailed
from datapin.base.processes import git_words
from datapin.cli.shell.asked import asked_here
from datapin.cli.shell.colour import shows_colour

# As Git sets them: leave if all fits the screen, show colours, do not clear it.
_DEFAULTS = {"LESS": "FRX", "LV": "-c"}
_NONE = ("", "cat")


def start_pager() -> None:
    """From here to its end this command's results go through the pager, if somebody looks at a terminal."""
    asked = asked_here()
    if asked.as_json or not asked.with_pager or not sys.stdout or not sys.stdout.isatty():
        return
    words = _pager()
    if words in _NONE:
        return
    context = click.get_current_context()
    context.color = context.find_root().color = shows_colour()  # of the terminal, which the pager writes to
    sys.stdout.flush()
    environment = {**_DEFAULTS, **os.environ}
    try:
        pager = subprocess.Popen(["/bin/sh", "-c", words], stdin=subprocess.PIPE, env=environment)
    except OSError:
        return  # without
    assert pager.stdin is not None
    terminal = os.dup(sys.stdout.fileno())
    os.dup2(pager.stdin.fileno(), sys.stdout.fileno())
    pager.stdin.close()
    atexit.register(_finish, pager, terminal)


def _pager() -> str:
    """The command of the pager; empty for none. Unlike Git, settings of the repository itself are passed over.

    Whoever packs up a clone could have a program run by them.
    """
    wanted = os.environ.get("GIT_PAGER")
    if wanted is None:
        wanted = _of_settings()
    if wanted is None:
        wanted = os.environ.get("PAGER", "less")
    first = wanted.split(maxsplit=1)[:1]
    is_plain = bool(first) and first[0].replace("/", "").replace("-", "").replace("_", "").isalnum()
    return "" if is_plain and shutil.which(first[0]) is None else wanted.strip()


def _of_settings() -> str | None:
    try:
        words = git_words(Path.cwd(), "config", "--get-all", "--show-scope", "core.pager")
        said = subprocess.run(words, capture_output=True, check=False, text=True).stdout
    except (OSError, ToolFailed):
        return None
    scopes = [line.partition("\t") for line in said.splitlines()]
    return next((value for scope, _, value in reversed(scopes) if scope not in ("local", "worktree")), None)


def _finish(pager: subprocess.Popen[bytes], terminal: int) -> None:
    """Let the reader read to the end; the descriptor of stdout is the terminal's again then."""
    with suppress(OSError):  # the reader left before the end
        sys.stdout.flush()
    os.dup2(terminal, sys.stdout.fileno())
    os.close(terminal)
    while True:
        try:
            pager.wait()
            return
        except KeyboardInterrupt:  # the pager's, as in Git
            continue
