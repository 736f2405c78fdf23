"""`datapin checkout`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, jobs_option, open_workspace
from datapin.cli.render import emit_json, size
from datapin.verbs.checkout import checkout


@click.command("checkout")
@click.argument("selector", metavar="DATASET[@VERSION]")
@click.option("--into", "folder", metavar="DIR", required=True, help="The folder to write into.")
@click.option("--where", metavar="SQL", help="Which rows (default: all).")
@click.option("-f", "--force", is_flag=True, help="Overwrite files that were edited since.")
@jobs_option
@common_options
def command(
    selector: str, folder: str, where: str | None, force: bool, jobs: int | None, as_json: bool, quiet: bool
) -> None:
    """Write a dataset's files into a folder.

    Only what differs is written; files that were edited since are left alone and named, unless --force.
    """
    report = checkout(
        open_workspace(as_json=as_json, quiet=quiet, jobs=jobs), selector, into=folder, where=where, force=force
    )
    if as_json:
        emit_json(report)
    elif not quiet:
        click.echo(
            f"{folder}: {report.written} written ({size(report.bytes)}), {report.removed} removed, "
            f"{report.unchanged} unchanged"
        )
