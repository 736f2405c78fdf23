"""Results on stdout: one JSON document, or text for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import click

from datapin.cli.shell.colour import severity

_LINES_AT_ONCE = 1000
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def emit_json(document: Any) -> None:
    """Print one JSON document. Dataclasses become objects; values that JSON lacks become text."""
    click.echo(json.dumps(document, default=_plain, ensure_ascii=False, indent=2, allow_nan=True))


def emit_lines(lines: Iterable[str]) -> None:
    """Print lines, many at a time: click writes and flushes at every call."""
    remaining = iter(lines)
    while block := list(islice(remaining, _LINES_AT_ONCE)):
        click.echo("\n".join(block))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def size(count: int) -> str:
    """Bytes for people: `1.4 MiB`."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            return f"{int(amount)} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return ""


def counted(count: int, noun: str) -> str:
    """A number of things: `1 row`, `2 rows`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(value: Any) -> str:
    """A cell for a terminal: control characters and bidi marks escaped."""
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(ch if ch.isprintable() else repr(ch)[1:-1] for ch in text)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under their column names, aligned."""
    cells = [[printable(value) for value in row] for row in rows]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(columns)]
    emit_lines(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [list(columns), *cells]
    )


def findings(items: Iterable[Any]) -> None:
    """Print findings, one line each and their hints below."""
    for finding in items:
        word = severity(f"{finding.severity}:")
        click.echo(f"{word} {printable(finding.where)}: {printable(finding.message)}")
        if finding.hint:
            click.echo(f"  {severity('hint:')} {printable(finding.hint)}")
