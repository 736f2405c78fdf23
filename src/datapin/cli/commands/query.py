"""`datapin query`."""

from __future__ import annotations

import click

from datapin.cli.commands.ls import show_rows
from datapin.cli.options import common_options, open_repo


@click.command("query")
@click.argument("sql")
@common_options
def command(sql: str, as_json: bool, quiet: bool) -> None:
    """Run SQL over datasets and their versions.

    For example: datapin query "SELECT label, count(*) AS n FROM 'data/raw@HEAD' GROUP BY label". Only SELECT, only
    datasets of this repository.
    """
    show_rows(open_repo(as_json=as_json, quiet=quiet).query(sql), as_json=as_json)
