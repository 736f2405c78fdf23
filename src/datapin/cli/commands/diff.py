"""`datapin diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datapin.base.errors import EXIT_CHECK_FAILED
from datapin.cli.options import common_options, open_repo
from datapin.cli.render import counted, emit_json, emit_lines, printable
from datapin.cli.shell.colour import shows_colour
from datapin.cli.shell.pager import start_pager

if TYPE_CHECKING:
    from datapin.manifest.comparing.row_changes import RowChange
    from datapin.verbs.history.diff import DiffReport

_ROWS_IN_TEXT = 50
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
_LISTED = ("label", "split")


@click.command("diff")
@click.argument("dataset")
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.option("--where", metavar="SQL", help="Only rows for which this is true before or after.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"List at most N rows (default: {_ROWS_IN_TEXT}; with --json all). The counts are of all rows.",
)
@click.option("--exit-code", is_flag=True, help="Exit 1 if there are differences.")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Also write a page with pictures.")
@common_options
def command(
    dataset: str,
    a: str | None,
    b: str | None,
    where: str | None,
    limit: int | None,
    exit_code: bool,
    html: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show which rows differ between two versions.

    A and B are what may follow @ in DATASET@VERSION: a revision, @-N (N versions before HEAD's), a digest.
    A is HEAD by default, B the work tree.
    """
    repo = open_repo(as_json=as_json, quiet=quiet)
    listed = _ROWS_IN_TEXT if limit is None and not as_json else limit
    report = repo.diff(dataset, a, b, where=where, limit=listed, html=html)
    if as_json:
        emit_json(report)
    elif not quiet:
        start_pager()
        _print(report)
        if html is not None:
            click.echo(f"page  {printable(html)}")
    if exit_code and report.differs:
        click.get_current_context().exit(EXIT_CHECK_FAILED)


def _print(report: DiffReport) -> None:
    place = "" if "@" in report.b else " (work tree)"
    counts = f"{report.added} added, {report.removed} removed, {report.changed} changed"
    versions = click.style(f"{printable(report.a)} → {printable(report.b)}{place}:", bold=True)
    click.echo(f"{versions} {counts if report.differs else 'no differences'}")
    if report.columns:
        click.echo("columns: " + ", ".join(f"{printable(name)} {count}" for name, count in report.columns.items()))
    in_colour = shows_colour()
    emit_lines(_line(row, in_colour=in_colour) for row in report.rows)
    more = report.added + report.removed + report.changed - len(report.rows)
    if more:
        click.echo(f"… and {counted(more, 'more row')} (--limit N lists more)")


def _line(row: RowChange, *, in_colour: bool) -> str:
    sign, colour = _SIGNS[row.change]
    line = f"{sign} {printable(row.key)}"
    return (click.style(line, fg=colour) if in_colour else line) + _cells(row)


def _cells(row: RowChange) -> str:
    if row.change == "changed":
        was, now = row.before or {}, row.after or {}
        return "  " + ", ".join(
            f"{printable(name)}: {_value(name, was[name])} → {_value(name, now[name])}" for name in now
        )
    values = row.after or row.before or {}
    parts = [f"{name}={_value(name, values[name])}" for name in _LISTED if values.get(name) is not None]
    return "  " + " ".join(parts) if parts else ""


def _value(name: str, value: Any) -> str:
    if value is None:
        return "none"
    text = printable(value)
    return text[:12] if name.endswith("_id") or name == "operator" else text
