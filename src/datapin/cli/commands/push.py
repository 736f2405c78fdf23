"""`datapin push`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, jobs_option, open_repo
from datapin.cli.render import counted, emit_json, size


@click.command("push")
@click.argument("datasets", nargs=-1, metavar="[DATASET...]")
@click.option("-r", "--remote", metavar="NAME", help="DVC remote (default: settings, then DVC's default).")
@click.option("--all-versions", is_flag=True, help="Every version in Git's history, not only the work tree's.")
@click.option(
    "--again",
    is_flag=True,
    help="Look at all that was pushed before; send what is lost there, replace what is damaged.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be sent.")
@jobs_option
@common_options
def command(
    datasets: tuple[str, ...],
    remote: str | None,
    all_versions: bool,
    again: bool,
    dry_run: bool,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Send missing assets and manifests to the remote."""
    repo = open_repo(as_json=as_json, quiet=quiet, jobs=jobs)
    report = repo.push(datasets, remote=remote, dry_run=dry_run, all_versions=all_versions, again=again)
    if as_json:
        emit_json(report)
    elif not quiet:
        verb = "would send" if dry_run else "sent"
        click.echo(
            f"{verb} {counted(report.assets, 'asset')} in {counted(report.packs, 'pack')} ({size(report.bytes)}), "
            f"{report.skipped} already there"
        )
