"""`datapin resolve`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Literal

import click

from datapin.base.errors import Usage
from datapin.cli.options import common_options, open_repo
from datapin.cli.render import counted, emit_json, printable

if TYPE_CHECKING:
    from datapin.manifest.merge import Conflict
    from datapin.verbs.merging.resolve import ResolveReport

_MOST_LISTED = 50


@click.command("resolve")
@click.argument("dataset")
@click.option("--ours", is_flag=True, help="Take our side's values.")
@click.option("--theirs", is_flag=True, help="Take the other side's values.")
@click.option("--set", "assignments", multiple=True, metavar="COL=VALUE", help="A value in place of either side's.")
@click.option("--where", metavar="SQL", help="Which conflicts, by key and columns (default: all).")
@common_options
def command(
    dataset: str,
    ours: bool,
    theirs: bool,
    assignments: tuple[str, ...],
    where: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Decide conflicts of a merge, or list them.

    When none is left, the merged rows and their pointer are written; `git add` the pointer then. In --where, `conflict`
    is the column in conflict, `ours`, `theirs` and `base` are its values.
    """
    if ours and theirs:
        raise Usage("--ours and --theirs exclude each other", "take one, or each with a --where of its own")
    side: Literal["ours", "theirs"] | None = "ours" if ours else "theirs" if theirs else None
    values = dict(_assignment(text) for text in assignments)
    if where is not None and side is None and not values:
        raise Usage("--where decides nothing by itself", "add --ours, --theirs or --set COL=VALUE")
    report = open_repo(as_json=as_json, quiet=quiet).resolve(dataset, side=side, values=values, where=where)
    if as_json:
        emit_json(report)
    elif not quiet:
        _print(report)


def _assignment(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals or not column.strip():
        raise Usage(f"--set {text!r} is not COL=VALUE", "for example --set label=7")
    return column.strip(), value


def _print(report: ResolveReport) -> None:
    if not report.conflicts:
        click.echo(
            f"{report.dataset}: merged, {counted(report.rows or 0, 'row')}; now `git add {shlex.quote(report.file)}`"
        )
        click.echo(f"digest {report.digest}")
        for dataset in report.followed:
            click.echo(f"{dataset}: manifest brought up to its pointer")
        return
    settled = f"{report.settled} settled, " if report.settled else ""
    click.echo(f"{report.dataset}: {settled}{len(report.conflicts)} in conflict")
    for conflict in report.conflicts[:_MOST_LISTED]:
        click.echo(f"  {_line(conflict)}")
    if len(report.conflicts) > _MOST_LISTED:
        click.echo(f"  … and {len(report.conflicts) - _MOST_LISTED} more (--json lists all)")
    click.echo("decide with --ours, --theirs or --set COL=VALUE, for some with --where")


def _line(conflict: Conflict) -> str:
    if conflict.is_whole_row:
        sides = {name: getattr(conflict, name) for name in ("ours", "theirs")}
        done = ", ".join(f"{name} {'removed it' if row is None else 'edited it'}" for name, row in sides.items())
        return f"{printable(conflict.key)}  {done}"
    name = conflict.key or "note of the pointer"
    values = f"{_value(conflict.base)} → {_value(conflict.ours)} (ours), {_value(conflict.theirs)} (theirs)"
    return f"{printable(name)}  {printable(conflict.column)}: {values}"


def _value(value: Any) -> str:
    text = "none" if value is None else printable(value)
    return text[:12] if len(text) == 64 else text
