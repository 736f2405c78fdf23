"""`datapin run`."""

from __future__ import annotations

import click

from datapin.cli.options import common_options, jobs_option, open_repo
from datapin.cli.render import counted, emit_json, findings


@click.command("run")
@click.argument("stage", type=click.Choice(["prepare", "augment", "featurize", "train"]))
@click.option("--params", "params_file", default="params.yaml", show_default=True, metavar="FILE")
@click.option("--engine", metavar="NAME", help="Where: local, dask, or dask:tcp://HOST:PORT (default: the settings').")
@jobs_option
@common_options
def command(stage: str, params_file: str, engine: str | None, jobs: int | None, as_json: bool, quiet: bool) -> None:
    """Run a pipeline stage (what dvc.yaml calls).

    The stage's parameters are the section of its name in params.yaml.
    """
    report = open_repo(as_json=as_json, quiet=quiet, jobs=jobs).run(stage, params_file=params_file, engine=engine)
    if as_json:
        emit_json(report)
        return
    findings(report.findings)
    if not quiet:
        click.echo(f"{stage}: {counted(report.rows, 'row')}, computed {report.computed}, reused {report.reused}")
