"""`datapin verify`."""

from __future__ import annotations

from pathlib import Path

import click

from datapin.base.errors import EXIT_CHECK_FAILED, StorageFailed, Usage
from datapin.base.files import make_directory, publish_bytes
from datapin.cli.formats.verify import FORMATS, render
from datapin.cli.options import common_options, jobs_option, open_repo
from datapin.cli.render import emit_json, table
from datapin.cli.shell.colour import with_severities
from datapin.repo import Repo


@click.command("verify")
@click.argument("rev", required=False)
@click.option("--remote", is_flag=True, help="Also check that the remote has everything (group presence).")
@click.option("-r", "--remote-name", metavar="NAME", help="DVC remote (default: settings, then DVC's default).")
@click.option("--deep", is_flag=True, help="Also hash every byte again (group deep).")
@click.option("--repro", is_flag=True, help="Also run the pipeline again in a clean clone (group repro).")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="With --repro: run again N rows by chance.")
@click.option("--check", "names", multiple=True, metavar="NAME", help="Only this check or group; may be repeated.")
@click.option("--list", "is_list", is_flag=True, help="List the checks and end.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to show it (default: text).")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write there instead of stdout.")
@click.option(
    "--report", "reports", multiple=True, metavar="FORMAT=FILE", help="Also write it there, so; may be repeated."
)
@click.option("--diff-base", "base", metavar="REV", help="Also show which rows differ from that revision.")
@jobs_option
@common_options
def command(
    rev: str | None,
    remote: bool,
    remote_name: str | None,
    deep: bool,
    repro: bool,
    sample: int | None,
    names: tuple[str, ...],
    is_list: bool,
    form: str | None,
    output: Path | None,
    reports: tuple[str, ...],
    base: str | None,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check that a commit's pins hold.

    Without REV the work tree is checked. Exits 1 if an error is found.
    """
    if is_list:
        checks = Repo.checks()
        if as_json:
            emit_json([{"check": check.name, "asks": check.asks} for check in checks])
        else:
            table(["check", "asks"], [[check.name, check.asks] for check in checks])
        return
    files = [_form_and_file(given) for given in reports]
    form = form or ("json" if as_json else "text")
    repo = open_repo(as_json=form == "json", quiet=quiet, jobs=jobs)
    report = repo.verify(
        rev,
        checks=names,
        remote=remote or remote_name is not None,
        remote_name=remote_name,
        deep=deep,
        repro=repro or sample is not None,
        sample=sample,
        base=base,
    )
    text = render(report, form)
    for name, file in [*files, *([(form, output)] if output is not None else [])]:
        _write(file, render(report, name))
    is_dull = form == "text" and not any(finding.severity != "note" for finding in report.findings)
    if output is None and not (quiet and is_dull):
        click.echo(with_severities(text) if form == "text" else text)
    if not report.ok:
        click.get_current_context().exit(EXIT_CHECK_FAILED)


def _form_and_file(given: str) -> tuple[str, Path]:
    form, _, file = given.partition("=")
    if form not in FORMATS or not file:
        raise Usage(f"--report {given}: expected FORMAT=FILE", f"formats are {', '.join(FORMATS)}")
    return form, Path(file)


def _write(file: Path, text: str) -> None:
    try:
        make_directory(file.parent)
        publish_bytes(file, f"{text}\n".encode())
    except OSError as error:
        raise StorageFailed("write", str(file), error.strerror or str(error)) from error
