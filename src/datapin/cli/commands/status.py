"""`datapin status`."""

from __future__ import annotations

import click

from datapin.base.errors import EXIT_CHECK_FAILED
from datapin.cli.early import take_walk
from datapin.cli.options import common_options, open_workspace
from datapin.cli.render import emit_json
from datapin.verbs.status import status


@click.command("status")
@click.argument("datasets", nargs=-1, metavar="[DATASET...]")
@click.option("--exit-code", is_flag=True, help="Exit 1 if there are differences.")
@common_options
def command(datasets: tuple[str, ...], exit_code: bool, as_json: bool, quiet: bool) -> None:
    """Show what is not added, not committed, not here, not pushed."""
    report = status(open_workspace(as_json=as_json, quiet=quiet), datasets, started=take_walk())
    if as_json:
        emit_json(report)
    elif not quiet:
        if not report.datasets:
            click.echo("no datasets yet; `datapin add FOLDER --to data/raw` makes one")
        for one in report.datasets:
            click.echo(f"{one.dataset}  {one.digest or 'manifest not here'}")
            for title, changes, advice in (
                ("not added", one.tree, "datapin add"),
                ("not committed", one.head, "git commit"),
            ):
                if changes and changes.any:
                    click.echo(
                        f"  {title}: {changes.added} added, {changes.changed} changed, "
                        f"{changes.removed} removed  ({advice})"
                    )
            if one.missing_local:
                click.echo(f"  not here: {one.missing_local} assets  (datapin fetch)")
            if one.not_pushed:
                click.echo(f"  not pushed: {one.not_pushed} assets  (datapin push)")
            for note in one.notes:
                click.echo(f"  note: {note}")
    if exit_code and report.differs:
        click.get_current_context().exit(EXIT_CHECK_FAILED)
