"""`datapin merge-driver`: how Git merges pointers. Not listed by `--help`."""

from __future__ import annotations

from pathlib import Path

import click

from datapin.cli.bars import terminal_progress
from datapin.plumbing import merge_pointer

_FILE = click.Path(path_type=Path)


@click.command("merge-driver", hidden=True)
@click.argument("base", type=_FILE)
@click.argument("ours", type=_FILE)
@click.argument("theirs", type=_FILE)
@click.argument("name")
@click.option("--inner", is_flag=True, help="These are common versions of two histories: nobody is told.")
def command(base: Path, ours: Path, theirs: Path, name: str, inner: bool) -> None:
    """Merge a pointer into the file OURS; exit 1 leaves it in conflict."""
    top = Path.cwd()
    progress = terminal_progress(quiet=False)
    report = merge_pointer(top / base, top / ours, top / theirs, name, top=top, progress=progress, is_inner=inner)
    for note in () if inner else report.notes:
        progress.note(note)
    if report.left:
        click.get_current_context().exit(1)
