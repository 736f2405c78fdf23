"""`datapin why`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from datapin.cli.options import common_options, open_repo
from datapin.cli.render import emit_json, printable

if TYPE_CHECKING:
    from datapin.verbs.lineage.why import Cause, WhyReport

_SHOWN = 40


@click.command("why")
@click.argument("selector", metavar="DATASET:KEY[@REV]")
@common_options
def command(selector: str, as_json: bool, quiet: bool) -> None:
    """Show why a row was computed or reused.

    Compares it with the version before: its asset, the parameters and code of its stage, and so on down to its source.
    """
    report = open_repo(as_json=as_json, quiet=quiet).why(selector)
    if as_json:
        emit_json(dataclasses.asdict(report))
    else:
        _print(report)


def _print(report: WhyReport) -> None:
    for depth, step in enumerate(report.steps):
        by = f" by {step.stage}" if step.stage is not None else ""
        click.echo(f"{'  ' * depth}{printable(f'{step.dataset}:{step.key}')}  {step.outcome}{printable(by)}")
        for cause in step.causes:
            click.echo(f"{'  ' * depth}    {_line(cause)}")
    if report.before is None:
        click.echo("this is the first version")
    else:
        told = report.before
        words = f"{told['commit'][:9]} {told['date'][:10]} {told['author']}: {told['subject']}"
        click.echo(f"compared with {printable(words)}")
    for cause in report.pending:
        click.echo(f"not run with yet: {_line(cause)}")


def _line(cause: Cause) -> str:
    if cause.kind == "row":
        return "there was no such row"
    if cause.kind == "result":
        return "another result of the same asset, parameters and code: other libraries, or not deterministic"
    short = cause.kind in ("asset", "partner", "operator", "code")
    texts = [_short(value, 12 if short else _SHOWN) for value in (cause.before, cause.after)]
    return printable(f"{cause.kind} {cause.name}: {texts[0]} → {texts[1]}")


def _short(value: str | None, most: int) -> str:
    return "-" if value is None else value if len(value) <= most else f"{value[:most]}"
