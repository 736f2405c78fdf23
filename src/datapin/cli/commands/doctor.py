"""`datapin doctor`."""

from __future__ import annotations

import click

from datapin.base.errors import EXIT_CHECK_FAILED
from datapin.cli.options import common_options, open_repo
from datapin.cli.render import emit_json, findings


@click.command("doctor")
@common_options
def command(as_json: bool, quiet: bool) -> None:
    """Check the set-up and say how to fix it."""
    report = open_repo(as_json=as_json, quiet=quiet).doctor()
    if as_json:
        emit_json({"ok": report.ok, "findings": report.findings})
    else:
        findings(report.findings)
        if report.ok and not quiet:
            click.echo("all well" if not report.findings else "no errors")
    if not report.ok:
        click.get_current_context().exit(EXIT_CHECK_FAILED)
