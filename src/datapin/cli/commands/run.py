"""`datapin run`."""

from __future__ import annotations

from pathlib import Path

import click

from datapin.cli.options import common_options, jobs_option, open_repo
from datapin.cli.render import counted, emit_json, findings, printable


@click.command("run")
@click.argument("stage", type=click.Choice(["prepare", "augment", "featurize", "train"]))
@click.option("--params", "params_file", default="params.yaml", show_default=True, metavar="FILE")
@click.option("--engine", metavar="NAME", help="Where: local, dask, or dask:tcp://HOST:PORT (default: the settings').")
@click.option(
    "--preview",
    type=(click.IntRange(1), click.Path(path_type=Path)),
    metavar="N FILE",
    help="Of augment: run nothing, write a page that shows N rows and their copies.",
)
@jobs_option
@common_options
def command(
    stage: str,
    params_file: str,
    engine: str | None,
    preview: tuple[int, Path] | None,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a pipeline stage (what dvc.yaml calls).

    The stage's parameters are the section of its name in params.yaml.
    """
    repo = open_repo(as_json=as_json, quiet=quiet, jobs=jobs)
    report = repo.run(stage, params_file=params_file, engine=engine, preview=preview)
    if as_json:
        emit_json(report)
        return
    findings(report.findings)
    if preview is not None:
        if not quiet:
            click.echo(f"{counted(report.rows, 'row')} and their copies: {printable(preview[1])}")
        return
    if not quiet:
        click.echo(f"{stage}: {counted(report.rows, 'row')}, computed {report.computed}, reused {report.reused}")
