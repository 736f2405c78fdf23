"""`datapin update`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, open_repo
from datapin.cli.render import counted, emit_json


@click.command("update")
@click.argument("dataset")
@click.option(
    "--set", "assignments", multiple=True, required=True, metavar="COL=SQL", help="For example \"label='7'\"."
)
@click.option("--where", metavar="SQL", help="Which rows (default: all).")
@common_options
def command(dataset: str, assignments: tuple[str, ...], where: str | None, as_json: bool, quiet: bool) -> None:
    """Set columns of rows.

    The values are SQL expressions over the row; text needs single quotes.
    """
    report = open_repo(as_json=as_json, quiet=quiet).update(dataset, assignments, where=where)
    if as_json:
        emit_json(report)
    elif not quiet:
        click.echo(f"{report.dataset}: {counted(report.changed, 'row')} changed of {report.rows}")
        click.echo(f"digest {report.digest}")
