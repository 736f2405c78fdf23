"""Guides as sessions: their commands are run, and what they print is compared."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from clones import ENVIRONMENT, Clone

GUIDES = Path(__file__).parents[1] / "docs" / "guide"


def session(clone: Clone, text: str) -> str:
    """The text with what its commands really print."""

    def ran(block: re.Match[str]) -> str:
        said = ""
        for line in (line for line in block[1].splitlines() if line.startswith("$ ")):
            ended = subprocess.run(
                line[2:], shell=True, cwd=clone.path, env=ENVIRONMENT, capture_output=True, text=True
            )
            said += f"{line}\n{ended.stdout}{ended.stderr}"
        return f"```console\n{said}```"

    return re.sub(r"```console\n(.*?)```", ran, text, flags=re.S)
