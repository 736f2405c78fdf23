"""`datapin trace`."""

from __future__ import annotations

import dataclasses

import click

from datapin.cli.formats.graph import FORMATS, dot, mermaid, text
from datapin.cli.options import common_options, open_repo
from datapin.cli.render import emit_json, printable


@click.command("trace")
@click.argument("selector", metavar="PATH[@REV]")
@click.option("--rows", "with_rows", is_flag=True, help="Also the source row and asset of every row.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to show it (default: text).")
@common_options
def command(selector: str, with_rows: bool, form: str | None, as_json: bool, quiet: bool) -> None:
    """Show which data made a model, or any other output.

    PATH is an output of a stage, a dataset, or DATASET:KEY for a single row.
    """
    form = form or ("json" if as_json else "text")
    report = open_repo(as_json=form == "json", quiet=quiet).trace(selector, with_rows=with_rows)
    if form == "json":
        emit_json(dataclasses.asdict(report))
    else:
        click.echo({"text": text, "mermaid": mermaid, "dot": dot}[form](report))
        for line in report.unread:
            click.echo(f"not looked at: {printable(line)}", err=True)
