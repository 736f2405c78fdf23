"""`datapin query`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, open_repo
from datapin.cli.render import emit_rows, table
from datapin.cli.shell.pager import start_pager
from datapin.plumbing import cells


@click.command("query")
@click.argument("sql")
@common_options
def command(sql: str, as_json: bool, quiet: bool) -> None:
    """Run SQL over datasets and their versions.

    For example: datapin query "SELECT label, count(*) AS n FROM 'data/raw@HEAD' GROUP BY label". Only SELECT, only
    datasets of this repository.
    """
    rows = open_repo(as_json=as_json, quiet=quiet).query(sql)
    if as_json:
        emit_rows(rows.column_names, cells(rows))
    else:
        start_pager()
        table(rows.column_names, zip(*cells(rows), strict=True))
