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
@click.option("-r", "--remote", is_flag=True, help="Ask the remote, instead of saying what was last known of it.")
@common_options
def command(datasets: tuple[str, ...], exit_code: bool, remote: bool, as_json: bool, quiet: bool) -> None:
    """Show what is not added, not committed, not here, not pushed."""
    if remote:
        _ask_remote(datasets, quiet=quiet or as_json)
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
            elif one.pushed is False:
                known = "" if remote else ", as far as is known here"
                click.echo(f"  not pushed: these rows{known}  (datapin push)")
            for note in one.notes:
                click.echo(f"  note: {note}")
    if exit_code and report.differs:
        click.get_current_context().exit(EXIT_CHECK_FAILED)


def _ask_remote(datasets: tuple[str, ...], *, quiet: bool) -> None:
    """By a command of its own: its imports would cost a status that asks nobody 20 ms."""
    context = click.get_current_context()
    verbs = context.find_root().command
    assert isinstance(verbs, click.Group)
    ask = verbs.get_command(context, "ask-remote")
    assert ask is not None
    context.invoke(ask, datasets=datasets, quiet=quiet)
