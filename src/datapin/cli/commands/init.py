"""`datapin init`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from datapin.base.settings import CONFIG, FOLDER
from datapin.cli.bars import terminal_progress
from datapin.cli.options import common_options
from datapin.cli.render import emit_json
from datapin.repo import Repo


@click.command("init")
@click.option("-r", "--remote", metavar="NAME", help="DVC remote to use instead of DVC's default one.")
@click.option(
    "--template", type=click.Choice(["image", "audio", "text"]), help="Also write a working dvc.yaml and params.yaml."
)
@click.option(
    "--originals", multiple=True, metavar="DIR", help="A folder to add from: Git ignores it, the store has its content."
)
@click.option(
    "--hooks/--no-hooks",
    default=None,
    help="Put datapin's part into Git's hooks (the default), or take it out and never again.",
)
@click.option(
    "--ci", type=click.Choice(["github", "gitlab"]), help="Also write a job that runs `datapin verify` there."
)
@common_options
def command(
    remote: str | None,
    template: str | None,
    originals: tuple[str, ...],
    hooks: bool | None,
    ci: Literal["github", "gitlab"] | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a Git and DVC repository ready for datapin.

    Safe to run again: it touches nothing that it does not own.
    """
    progress = terminal_progress(quiet=quiet or as_json)
    report = Repo.init(
        Path.cwd(), remote=remote, template=template, hooks=hooks, ci=ci, originals=originals, progress=progress
    )
    if as_json:
        document = {"created": report.created, "changed": report.changed}
        emit_json(document | ({"notes": report.notes} if report.notes else {}))
    elif not quiet:
        for path in report.created:
            click.echo(f"created  {path}")
        for path in report.changed:
            click.echo(f"changed  {path}")
        for note in report.notes:
            click.echo(f"left     {note}")
        if not report.created and not report.changed and not report.notes:
            click.echo("already set up, nothing to do")
        elif f"{FOLDER}/{CONFIG}" in report.created:
            click.echo("next: datapin add FOLDER --to data/raw --label parent")
