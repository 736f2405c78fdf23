"""Progress bars on a terminal (tqdm, on stderr); silence elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NoReturn

import click

from datapin.base.progress import SILENT, Bar, Progress

if TYPE_CHECKING:
    from tqdm import tqdm


class _TerminalBar:
    def __init__(self, bar: tqdm[NoReturn]) -> None:
        self._bar = bar

    def advance(self, amount: int = 1) -> None:
        self._bar.update(amount)


class _Notes:
    """Notes on stderr, no bars: stderr is a file or a pipe."""

    def bar(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Bar]:
        return SILENT.bar(title, total, unit)

    def note(self, message: str) -> None:
        click.echo(message, err=True)


class _Terminal(_Notes):
    @contextmanager
    def bar(self, title: str, total: int | None, unit: str) -> Iterator[Bar]:
        from tqdm import tqdm  # 50 ms to import, wasted where nobody sees a bar

        is_bytes = unit == "B"
        with tqdm(
            desc=title, total=total, unit=unit, unit_scale=is_bytes, unit_divisor=1024 if is_bytes else 1000,
            leave=False, dynamic_ncols=True, file=sys.stderr, delay=0.5,
        ) as bar:  # fmt: skip
            yield _TerminalBar(bar)


def terminal_progress(*, quiet: bool, bars: bool = True) -> Progress:
    """Bars and notes if stderr is a terminal, notes alone if not or without `bars`, nothing with `quiet`.

    DVC_IGNORE_ISATTY asks for bars anyway, as in DVC.
    """
    if quiet or not sys.stderr:  # closed by the caller
        return SILENT
    is_shown = sys.stderr.isatty() or os.environ.get("DVC_IGNORE_ISATTY")
    return _Terminal() if bars and is_shown else _Notes()
