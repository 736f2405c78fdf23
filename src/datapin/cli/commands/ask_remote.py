"""`datapin ask-remote`: what `datapin status --remote` does first."""

from __future__ import annotations

import click

from datapin.cli.options import open_workspace
from datapin.verbs.remote.ask_remote import ask_remote


@click.command("ask-remote")
@click.argument("datasets", nargs=-1, metavar="[DATASET...]")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no notes.")
def command(datasets: tuple[str, ...], quiet: bool) -> None:
    """Learn what the remote holds now."""
    ask_remote(open_workspace(as_json=False, quiet=quiet), datasets)
