"""`datapin status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from datapin.base.errors import EXIT_CHECK_FAILED
from datapin.base.settings import WITHOUT_HOOKS
from datapin.cli.options import common_options, open_repo
from datapin.cli.render import counted, emit_json, printable
from datapin.cli.shell.colour import severity

if TYPE_CHECKING:
    from datapin.verbs.workspace.reports import DatasetStatus, Problem

_NOT_PUSHED = click.style("not pushed:", fg="yellow")


@click.command("status")
@click.argument("datasets", nargs=-1, metavar="[DATASET...]")
@click.option("--exit-code", is_flag=True, help="Exit 1 if there are differences.")
@click.option("-r", "--remote", is_flag=True, help="Ask the remote, instead of saying what was last known of it.")
@common_options
def command(datasets: tuple[str, ...], exit_code: bool, remote: bool, as_json: bool, quiet: bool) -> None:
    """Show what is not added, not committed, not here, not pushed."""
    report = open_repo(as_json=as_json, quiet=quiet).status(datasets, ask=remote)
    if as_json:
        emit_json(report)
    elif not quiet:
        if not report.datasets and not report.unreadable:
            click.echo("no datasets yet; `datapin add FOLDER --to data/raw` makes one")
        for one in report.datasets:
            _print(one, was_asked=remote)
        for problem in report.unreadable:
            _print_problem(problem)
        for note in report.notes:
            kind = "warning" if note == WITHOUT_HOOKS else "note"
            click.echo(f"{kind}: {printable(note)}")
    if report.is_broken or (exit_code and report.differs):
        click.get_current_context().exit(EXIT_CHECK_FAILED)


def _print(one: DatasetStatus, *, was_asked: bool) -> None:
    if one.problem is not None:
        _print_problem(one.problem)
        return
    click.echo(f"{click.style(printable(one.dataset), bold=True)}  {one.digest}")
    new = "new, " if one.is_new else ""
    for title, changes, advice, is_shown in (
        ("not added", one.tree, "datapin add", False),
        ("not committed", one.head, "git commit", one.is_new),
    ):
        if changes and (changes.any or is_shown):
            counts = f"{changes.added} added, {changes.changed} changed, {changes.removed} removed"
            colour = "green" if title == "not committed" else "red"  # as in `git status`
            click.echo(f"  {click.style(f'{title}:', fg=colour)} {new if is_shown else ''}{counts}  ({advice})")
    if one.missing_local:
        click.echo(f"  {click.style('not here:', fg='yellow')} {counted(one.missing_local, 'asset')}  (datapin fetch)")
    if one.not_pushed:
        click.echo(f"  {_NOT_PUSHED} {counted(one.not_pushed, 'asset')}  (datapin push)")
    elif one.pushed is False:
        known = "" if was_asked else ", as far as is known here"
        click.echo(f"  {_NOT_PUSHED} these rows{known}  (datapin push)")
    for note in one.notes:
        click.echo(f"  {severity('note:')} {printable(note)}")


def _print_problem(problem: Problem) -> None:
    message = problem.message.removeprefix(f"{problem.where}: ")
    click.echo(f"{click.style(printable(problem.where), bold=True)}  {severity('error:')} {printable(message)}")
    if problem.hint:
        click.echo(f"  {severity('hint:')} {printable(problem.hint)}")
