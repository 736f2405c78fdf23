"""`datapin ls`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, open_repo
from datapin.cli.render import emit_rows, table
from datapin.cli.shell.pager import start_pager
from datapin.plumbing import cells


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
    rows = open_repo(as_json=as_json, quiet=quiet).ls(selector, where=where, columns=wanted, limit=limit)
    if as_json:
        emit_rows(rows.column_names, cells(rows))
    else:
        start_pager()
        table(rows.column_names, zip(*cells(rows), strict=True))
