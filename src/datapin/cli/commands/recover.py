"""`datapin recover`."""

from __future__ import annotations

import sys

import click

from datapin.base.errors import EXIT_MISSING
from datapin.cli.options import common_options, open_repo
from datapin.cli.render import emit_json, printable


@click.command("recover")
@common_options
def command(as_json: bool, quiet: bool) -> None:
    """Finish or undo what a command that was cut off has left.

    Every command does so by itself; this one also brings back datasets whose journal cannot be read, and keeps what was
    staged for a look.
    """
    report = open_repo(as_json=as_json, quiet=quiet).recover()
    if as_json:
        emit_json(report)
    elif not quiet:
        for dataset in report.finished:
            click.echo(f"{printable(dataset)}: finished")
        for dataset in report.restored:
            click.echo(f"{printable(dataset)}: brought back as its pointer pins it")
        for name in report.kept:
            click.echo(f"what was left over is kept in {printable(name)}")
        for problem in report.problems:
            click.echo(f"error: {printable(problem)}", err=True)
        if not any((report.finished, report.restored, report.kept, report.problems)):
            click.echo("nothing to recover")
    if report.problems:
        sys.exit(EXIT_MISSING)
