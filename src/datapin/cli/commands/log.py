"""`datapin log`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from datapin.base.errors import EXIT_CHECK_FAILED
from datapin.cli.options import common_options, open_repo
from datapin.cli.render import emit_json, printable, size
from datapin.cli.shell.colour import shows_colour
from datapin.cli.shell.pager import start_pager

if TYPE_CHECKING:
    from datapin.verbs.history.log import LogEntry
    from datapin.verbs.history.row_log import RowLogEntry

_ID = re.compile(r"[0-9a-f]{64}\Z")
_MOST_CELL = 60
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow"}


@click.command("log")
@click.argument("selector", metavar="DATASET[@VERSION]")
@click.option("-n", "--max-count", "limit", type=click.IntRange(1), metavar="N", help="Only the newest N.")
@click.option("--key", metavar="KEY", help="What happened to this row: who changed it, when, from what to what.")
@common_options
def command(selector: str, limit: int | None, key: str | None, as_json: bool, quiet: bool) -> None:
    """Show a dataset's versions over Git's history.

    Newest first, one for each commit that changed the rows. ~N is how a selector names the version: data/raw@~1; for
    shells that expand ~, data/raw@-1 is the same.
    """
    repo = open_repo(as_json=as_json, quiet=quiet)
    if key is not None:
        changes = repo.row_log(selector, key, limit=limit)
        if as_json:
            emit_json(changes)
        else:
            start_pager()
            _show_changes(changes)
        return
    versions = repo.log(selector, limit=limit)
    if as_json:
        emit_json(versions)
    elif versions:
        start_pager()
        _show_versions(versions)
    elif not quiet:
        click.echo("no version is committed yet; `git commit` makes one")
    if versions and versions[0].is_unreadable:
        click.get_current_context().exit(EXIT_CHECK_FAILED)


def _show_versions(versions: Sequence[LogEntry]) -> None:
    titles = ["", "commit", "date", "author", "digest", "rows", "size", "added", "removed", "changed"]
    lines = [
        [
            "" if one.back is None else f"~{one.back}",
            one.commit[:9],
            one.date[:10],
            one.author,
            (one.digest or "-").removeprefix("sha256:")[:12],
            _count(one.rows),
            "?" if one.bytes is None else size(one.bytes),
            _count(one.added, "+"),
            _count(one.removed, "-"),
            _count(one.changed, "~"),
        ]
        for one in versions
    ]
    rights = {titles.index(title) for title in ("rows", "size", "added", "removed", "changed")}
    cells = [[printable(cell) for cell in line] for line in (titles, *lines)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(titles))]
    names = [""] + [_dataset_note(versions, number) for number in range(len(versions))]
    in_colour = shows_colour()
    for number, line in enumerate(cells):
        aligned = [
            cell.rjust(width) if place in rights else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        if in_colour and number:
            aligned[1] = click.style(aligned[1], fg="yellow")  # the commit, as in `git log`
        last = "subject" if not number else _subject(versions[number - 1], names[number])
        click.echo("  ".join([*aligned, last]).rstrip())
        if number and (note := versions[number - 1].note):
            click.echo(f"    note: {printable(note)}")


def _subject(version: LogEntry, name: str) -> str:
    tags = f"({', '.join(version.tags)}) " if version.tags else ""
    gone = "removed: " if version.digest is None and version.rows == 0 else ""
    return printable(f"{tags}{name}{gone}{version.subject}")


def _dataset_note(versions: Sequence[LogEntry], number: int) -> str:
    """The dataset's name where it is not that of the newest version."""
    name = versions[number].dataset
    return "" if name == versions[0].dataset else f"[{name}] "


def _show_changes(changes: Sequence[RowLogEntry]) -> None:
    for one in changes:
        head = printable(f"  {one.date[:10]}  {one.author}  {one.change or '?'}  {one.subject}")
        click.echo(f"{click.style(one.commit[:9], fg='yellow')}{head}")
        if one.note:
            click.echo(f"    note: {printable(one.note)}")
        before, after = one.before or {}, one.after or {}
        for name in dict.fromkeys([*after, *before]):
            old, new = (_cell(row.get(name)) for row in (before, after))
            value = f"{old} → {new}" if one.change == "changed" else new if one.after else old
            sign = f"{_SIGNS.get(one.change or '', '?')} {printable(name)}:"
            click.echo(f"    {click.style(sign, fg=_COLOURS.get(one.change or ''))} {value}")


def _count(number: int | None, sign: str = "") -> str:
    return "?" if number is None else f"{sign}{number:,}" if number or not sign else "0"


def _cell(value: Any) -> str:
    """A value for one line: ids short, vectors by their length."""
    if value is None:
        return "(none)"
    if isinstance(value, list) and len(value) > 4:
        return f"[{len(value)} values]"
    text = str(value)
    short = text[:12] if _ID.match(text) else text
    return printable(short if len(short) <= _MOST_CELL else f"{short[:_MOST_CELL]}…")
