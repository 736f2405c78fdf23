from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from clones import Clone
from datapin.cli.main import VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_line_in_the_list_is_its_own_help(verb: str) -> None:
    command = importlib.import_module(f"datapin.cli.commands.{verb.replace('-', '_')}").command
    assert command.name == verb
    assert command.get_short_help_str(limit=200) == VERBS[verb].removesuffix(".") + "." or (
        command.help.splitlines()[0] == VERBS[verb]
    )
    assert {"--json", "--quiet"} <= {name for option in command.params for name in option.opts}


def test_help_lists_every_verb(blank: Path) -> None:
    said = Clone(blank).datapin("--help").stdout
    assert all(verb in said for verb in VERBS)
