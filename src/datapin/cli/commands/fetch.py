"""`datapin fetch`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, jobs_option, open_repo
from datapin.cli.render import counted, emit_json, size


@click.command("fetch")
@click.argument("selectors", nargs=-1, metavar="[DATASET[@VERSION]...]")
@click.option("-r", "--remote", metavar="NAME", help="DVC remote (default: settings, then DVC's default).")
@click.option("--where", metavar="SQL", help="Only the assets of these rows.")
@click.option("--all-versions", is_flag=True, help="Every version in Git's history, not only the work tree's.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched.")
@jobs_option
@common_options
def command(
    selectors: tuple[str, ...],
    remote: str | None,
    where: str | None,
    all_versions: bool,
    dry_run: bool,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Bring missing assets and manifests from the remote."""
    repo = open_repo(as_json=as_json, quiet=quiet, jobs=jobs)
    report = repo.fetch(selectors, remote=remote, where=where, dry_run=dry_run, all_versions=all_versions)
    if as_json:
        emit_json(report)
    elif not quiet:
        verb = "would fetch" if dry_run else "fetched"
        click.echo(
            f"{verb} {counted(report.assets, 'asset')} in {counted(report.packs, 'pack')} ({size(report.bytes)}), "
            f"{report.skipped} already here"
        )
