"""`datapin remove`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, open_repo
from datapin.cli.render import counted, emit_json


@click.command("remove")
@click.argument("dataset")
@click.option("--where", required=True, metavar="SQL", help="Which rows, for example \"key = 'a/1.png'\".")
@common_options
def command(dataset: str, where: str, as_json: bool, quiet: bool) -> None:
    """Remove rows from a dataset.

    Earlier versions keep them, and their assets stay in the store.
    """
    report = open_repo(as_json=as_json, quiet=quiet).remove(dataset, where=where)
    if as_json:
        emit_json(report)
    elif not quiet:
        click.echo(f"{report.dataset}: {counted(report.removed, 'row')} removed, {report.rows} left")
        click.echo(f"digest {report.digest}")
