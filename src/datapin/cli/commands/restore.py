"""`datapin restore`."""

from __future__ import annotations

import click

from datapin.cli.commands.rollback import document_of, show_rollback
from datapin.cli.options import common_options, jobs_option, open_repo
from datapin.cli.render import emit_json


@click.command("restore")
@click.argument("datasets", metavar="[DATASET]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@jobs_option
@common_options
def command(datasets: tuple[str, ...], dry_run: bool, jobs: int | None, as_json: bool, quiet: bool) -> None:
    """Bring rows to what the pointers in the work tree pin.

    After `git checkout` of a pointer, a pull or a reset without hooks, or to give up edits: those that nothing else
    keeps are copied first.
    """
    repo = open_repo(as_json=as_json, quiet=quiet, jobs=jobs)
    report = repo.restore(datasets, dry_run=dry_run)
    if as_json:
        emit_json(document_of(report))
    elif not quiet:
        show_rollback(report, repo.root)
