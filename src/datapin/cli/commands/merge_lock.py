"""`datapin merge-lock`: how Git merges `dvc.lock`. Not listed by `--help`."""

from __future__ import annotations

from pathlib import Path

import click

from datapin.cli.bars import terminal_progress
from datapin.plumbing import merge_lock

_FILE = click.Path(path_type=Path)


@click.command("merge-lock", hidden=True)
@click.argument("base", type=_FILE)
@click.argument("ours", type=_FILE)
@click.argument("theirs", type=_FILE)
@click.argument("name")
@click.option("--inner", is_flag=True, help="These are common versions of two histories: nobody is told.")
def command(base: Path, ours: Path, theirs: Path, name: str, inner: bool) -> None:
    """Merge a `dvc.lock` into the file OURS, stage by stage; exit 1 leaves it in conflict."""
    top = Path.cwd()
    report = merge_lock(top / base, top / ours, top / theirs, name, top=top)
    for note in () if inner else report.notes:
        terminal_progress(quiet=False).note(note)
    if report.left:
        click.get_current_context().exit(1)
