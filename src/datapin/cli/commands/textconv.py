"""`datapin textconv`: how `git diff` and `git log -p` show a pointer. Not listed by `--help`."""

from __future__ import annotations

from pathlib import Path

import click

from datapin.plumbing import pointer_text


@click.command("textconv", hidden=True)
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Print what a pointer pins."""
    click.echo(pointer_text(file.read_bytes(), Path.cwd()), nl=False)
