"""`datapin rollback`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datapin.cli.options import common_options, jobs_option, open_repo
from datapin.cli.render import emit_json, printable

if TYPE_CHECKING:
    from datapin.verbs.rollback.rollback import RollbackReport, RolledBack


@click.command("rollback")
@click.argument("datasets", metavar="DATASET...", nargs=-1)
@click.option(
    "--to", "version", metavar="VERSION", required=True, help="What follows @ in a selector: v1, ~1, 3fa9c1d2."
)
@click.option("--all", "every", is_flag=True, help="All that DVC pins, and parameters, as of a Git revision.")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@click.option("--pin", is_flag=True, help="A stage's output: bring the whole stage back and freeze it.")
@click.option("-f", "--force", is_flag=True, help="Keep a copy of unsaved edits and go on.")
@click.option("--lazy", is_flag=True, help="Leave on the remote what is not here; it must be there.")
@jobs_option
@common_options
def command(
    datasets: tuple[str, ...],
    version: str,
    every: bool,
    dry_run: bool,
    pin: bool,
    force: bool,
    lazy: bool,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Bring datasets back as they were; the code stays.

    All or nothing: what it needs is fetched and verified first. The result is a change to commit; history stays.
    """
    repo = open_repo(as_json=as_json, quiet=quiet, jobs=jobs)
    report = repo.rollback(datasets, to=version, every=every, dry_run=dry_run, pin=pin, force=force, lazy=lazy)
    if as_json:
        emit_json(document_of(report))
    elif not quiet:
        show_rollback(report, repo.root)


def document_of(report: RollbackReport) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "datasets": [
            {
                "dataset": one.dataset,
                "from": one.before,
                "to": one.after,
                "added": one.added,
                "removed": one.removed,
                "changed": one.changed,
            }
            for one in report.datasets
        ],
        "files": report.files,
        "outputs": report.outputs,
        "trees": report.trees,
        "left": report.left,
        "unsaved": report.unsaved,
        "kept": report.kept,
        "frozen": report.frozen,
        "notes": report.notes,
        "fetched": report.fetched,
        "staged": report.is_staged,
        "dry_run": report.is_dry_run,
    }


def show_rollback(report: RollbackReport, root: Path) -> None:
    """Say what was brought back."""
    for note in report.notes:
        click.echo(f"note: {printable(note)}")
    for one in report.datasets:
        click.echo(_line(one))
    for name in report.outputs:
        click.echo(f"{printable(name)}: brought back")
    for name in report.trees:
        click.echo(f"{printable(os.path.relpath(name))}: files follow")
    for name in report.left:
        click.echo(f"{printable(name)}: did not exist then, left as it is")
    for line in report.unsaved if report.is_dry_run else ():
        click.echo(f"a copy of unsaved edits would be kept: {printable(line)}")
    for name in report.kept:
        click.echo(f"unsaved edits are kept in {printable(name)}")
    if not report.changes_anything:
        click.echo("nothing to do")
    elif report.is_dry_run:
        if report.fetched:
            click.echo(f"{report.fetched:,} {'asset' if report.fetched == 1 else 'assets'} would be fetched first")
        click.echo("dry run: nothing was changed")
    else:
        _show_ways_on(report, root)


def _show_ways_on(report: RollbackReport, root: Path) -> None:
    for stage in report.frozen:
        again = f"`dvc unfreeze {shlex.quote(printable(stage))}` lets `dvc repro` run it again"
        click.echo(f"stage {printable(stage)} is frozen: {again}")
    if report.files:
        names = " ".join(shlex.quote(printable(os.path.relpath(root / name))) for name in report.files)
        click.echo(f"staged: {names}; `git commit` keeps it" if report.is_staged else f"to keep it: git add {names}")


def _line(one: RolledBack) -> str:
    before = "nothing" if one.before is None else one.before[:19]
    if one.before == one.after:
        return f"{printable(one.dataset)}: {one.after[:19]}, as it was"
    if one.added is None:
        return f"{printable(one.dataset)}: {before} → {one.after[:19]}: the rows before cannot be read, nor counted"
    counts = (
        f"{one.added:,} {'row' if one.added == 1 else 'rows'} added, {one.removed:,} removed, {one.changed:,} changed"
    )
    return f"{printable(one.dataset)}: {before} → {one.after[:19]}: {counts}"
