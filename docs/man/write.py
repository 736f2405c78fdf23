"""Writes the manual pages into a folder (man1 by default) from the help texts of the commands: `make man`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
from click_man.core import write_man_pages

from datapin import __version__
from datapin.cli.main import VERBS, root


def write(folder: Path) -> None:
    """One page for datapin and for each command; the date is left out, so that the same text gives the same bytes."""
    for old in folder.glob("*.1"):
        old.unlink()
    context = click.Context(root, info_name="datapin")
    for verb, line in VERBS.items():
        command = root.get_command(context, verb)
        assert command is not None
        command.short_help, command.help = line, _roff(command.help or "")
        root.commands[verb] = command
    root.short_help, root.help = "Data versioning for Git and DVC", _roff(root.help or "")
    write_man_pages("datapin", root, version=__version__, target_dir=str(folder), date=" ")
    # Git looks for the page of `git datapin` under this name.
    (folder / "git-datapin.1").write_text(".so man1/datapin.1\n")


def _roff(text: str) -> str:
    """Lines that click leaves as they are stay lines, and none is taken for a request."""
    blocks = [
        "\n.br\n".join(block.removeprefix("\b\n").splitlines()) if block.startswith("\b\n") else block
        for block in text.split("\n\n")
    ]
    return re.sub(r"(?m)^(?=\.(?!br$)|')", r"\\&", "\n\n".join(blocks)).replace("~", r"\(ti")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "man1")
