"""`datapin rebuild-index`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, open_repo
from datapin.cli.render import counted, emit_json


@click.command("rebuild-index")
@common_options
def command(as_json: bool, quiet: bool) -> None:
    """Rebuild the local index from the packs.

    The index is a cache: the packs' own tables and the names of loose assets hold everything.
    """
    report = open_repo(as_json=as_json, quiet=quiet).rebuild_index()
    if as_json:
        emit_json(report)
    elif not quiet:
        click.echo(
            f"index rebuilt: {counted(report.assets, 'asset')} in {counted(report.packs, 'pack')}, {report.loose} loose"
        )
