"""`datapin ls`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, open_workspace
from datapin.cli.render import emit_json, table
from datapin.cli.shell.pager import start_pager
from datapin.manifest.columns.values import python_rows, python_values
from datapin.verbs.rows.read import list_rows


@click.command("ls")
@click.argument("selector", metavar="DATASET[@VERSION]")
@click.option("--where", metavar="SQL", help="Which rows, for example \"label = '7' AND split = 'val'\".")
@click.option("--columns", metavar="A,B,…", help="Which columns (default: all but long vectors).")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N rows.")
@common_options
def command(
    selector: str, where: str | None, columns: str | None, limit: int | None, as_json: bool, quiet: bool
) -> None:
    """List rows of a dataset."""
    wanted = [name.strip() for name in columns.split(",")] if columns else None
    rows = list_rows(open_workspace(as_json=as_json, quiet=quiet), selector, where=where, columns=wanted, limit=limit)
    if as_json:
        emit_json(python_rows(rows))
    else:
        start_pager()
        table(rows.column_names, zip(*map(python_values, rows.columns), strict=True))
