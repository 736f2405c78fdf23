"""`datapin checkout`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, jobs_option, open_repo
from datapin.cli.render import emit_json, size


@click.command("checkout")
@click.argument("selector", metavar="DATASET[@VERSION]")
@click.option("--into", "folder", metavar="DIR", required=True, help="The folder to write into.")
@click.option("--where", metavar="SQL", help="Which rows (default: all).")
@click.option(
    "--link/--no-link", default=None, help="Large files as read-only hard links into the store, instead of copies."
)
@click.option(
    "--layout",
    type=click.Choice(["key", "class", "split-class"]),
    help="Paths: the keys, LABEL/NAME or SPLIT/LABEL/NAME (default: as the last time in DIR, else key).",
)
@click.option(
    "--follow/--no-follow",
    default=None,
    help="Rollbacks move these files along (default: as the last time, else only inside the repository).",
)
@click.option("--adopt", is_flag=True, help="Files that are there already, and equal, are datapin's from now on.")
@click.option("-f", "--force", is_flag=True, help="Overwrite files that were edited since.")
@jobs_option
@common_options
def command(
    selector: str,
    folder: str,
    where: str | None,
    link: bool | None,
    layout: str | None,
    follow: bool | None,
    adopt: bool,
    force: bool,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a dataset's files into a folder.

    Only what differs is written; files that were edited since are left alone and named, unless --force. Files that lay
    there before stay yours. The next checkout into the folder keeps its layout, its links and whether it follows.
    """
    repo = open_repo(as_json=as_json, quiet=quiet, jobs=jobs)
    report = repo.checkout(
        selector, into=folder, where=where, force=force, link=link, layout=layout, adopt=adopt, follow=follow
    )
    if as_json:
        emit_json(report)
    elif not quiet:
        links = f"; {report.linked} linked" if report.linked else ""
        click.echo(
            f"{folder}: {report.written} written ({size(report.bytes)}{links}), {report.removed} removed, "
            f"{report.unchanged} unchanged"
        )
