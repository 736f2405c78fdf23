"""`datapin show`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, open_repo
from datapin.cli.render import counted, emit_json, printable, size


@click.command("show")
@click.argument("selector", metavar="DATASET[@VERSION]")
@common_options
def command(selector: str, as_json: bool, quiet: bool) -> None:
    """Summarise a dataset."""
    report = open_repo(as_json=as_json, quiet=quiet).show(selector)
    if as_json:
        emit_json(report)
        return
    click.echo(f"{report.dataset}  {report.digest}")
    click.echo(f"{counted(report.rows, 'row')}, {size(report.bytes)}, {counted(report.shards, 'shard')}")
    for title, counts in (("labels", report.labels), ("splits", report.splits)):
        if counts:
            click.echo(f"{title}: " + ", ".join(f"{printable(name)} {count}" for name, count in counts.items()))
    for column in report.columns:
        click.echo(f"  {printable(column['name'])}: {column['type']}")
