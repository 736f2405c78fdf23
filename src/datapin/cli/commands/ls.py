"""`datapin ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from datapin.cli.options import common_options, open_repo
from datapin.cli.render import emit_json, table
from datapin.cli.shell.pager import start_pager
from datapin.plumbing import cells

if TYPE_CHECKING:
    import pyarrow as pa


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
    show_rows(rows, as_json=as_json)


def show_rows(rows: pa.Table, *, as_json: bool) -> None:
    """Print a table, as a JSON list with an object for each row or as text."""
    lines = zip(*cells(rows), strict=True)
    if as_json:
        emit_json([dict(zip(rows.column_names, line, strict=True)) for line in lines])
    else:
        start_pager()
        table(rows.column_names, lines)
