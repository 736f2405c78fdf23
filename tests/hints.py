"""Hints, run as printed in this process: a command takes a second, not ten."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from clones import ENVIRONMENT
from datapin.cli.main import main

Tried = list[tuple[str, tuple[int, str]]]


def run_line(line: str, folder: Path) -> tuple[int, str]:
    """One line of a hint, as printed: commands joined by `&&`, quoted as for a shell. Exit code and stdout."""
    code, text = 0, ""
    for command in line.split(" && "):
        words = shlex.split(command)
        if words[0] in ("datapin", "dvc"):
            code, text = _in_process(words, folder)
        else:
            ended = subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
            code, text = ended.returncode, ended.stdout
    return code, text


def follow(hints: Iterable[str], folder: Path, left: Callable[[], Sequence[str]]) -> tuple[Sequence[str], Tried]:
    """Run the commands of `hints` until nothing is `left`; what is left at the end, and what was tried.

    Ways are joined by "or": the first one that helps will do. What is joined by "then" belongs together.
    """
    tried: Tried = []
    remaining = left()
    for ways in itertools.zip_longest(*(re.split(r"\bor\b", hint) for hint in hints), fillvalue=""):
        commands = list(dict.fromkeys(command for way in ways for command in re.findall(r"`([^`]+)`", way)))
        tried += [(command, run_line(command, folder)) for command in commands]
        if commands and not (remaining := left()):
            break
    return remaining, tried


def _in_process(words: list[str], folder: Path) -> tuple[int, str]:
    before = Path.cwd()
    os.chdir(folder)
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            if words[0] == "dvc":
                from dvc.cli import main as dvc

                code = dvc(words[1:])
            else:
                with pytest.raises(SystemExit) as ended:
                    main(words[1:])
                code = int(ended.value.code or 0)
        return code, out.getvalue()
    finally:
        logging.disable(logging.NOTSET)
        os.chdir(before)
