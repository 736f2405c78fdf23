"""`datapin query`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, open_workspace
from datapin.cli.render import emit_json, table
from datapin.cli.shell.pager import start_pager
from datapin.manifest.columns.values import python_rows, python_values
from datapin.verbs.rows.read import query


@click.command("query")
@click.argument("sql")
@common_options
def command(sql: str, as_json: bool, quiet: bool) -> None:
    """Run SQL over datasets and their versions.

    For example: datapin query "SELECT label, count(*) AS n FROM 'data/raw@HEAD' GROUP BY label". Only SELECT, only
    datasets of this repository.
    """
    rows = query(open_workspace(as_json=as_json, quiet=quiet), sql)
    if as_json:
        emit_json(python_rows(rows))
    else:
        start_pager()
        table(rows.column_names, zip(*map(python_values, rows.columns), strict=True))
