"""The guide to the command line is a session: its commands run in order and print what they say."""

from __future__ import annotations

import re

from clones import Clone
from guides import GUIDES, session


def test_the_guide_to_the_command_line_prints_what_it_says(filled: Clone) -> None:
    filled.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")  # no longer of this moment
    guide = (GUIDES / "command-line.md").read_text(encoding="utf-8")
    said = session(filled, guide).replace(str(filled.path.resolve()), "REPOSITORY")
    assert re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", said).splitlines() == guide.splitlines()
