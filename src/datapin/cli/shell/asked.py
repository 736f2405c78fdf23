"""What may be asked of every verb, before or after it: `--json`, `-q`, `-v`, `--cd`, `--color`, `--no-pager`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

import click

from datapin.base import log
from datapin.base.errors import Usage
from datapin.cli.shell.colour import COLOURS, colour_of_environment

Verb = TypeVar("Verb", bound=Callable[..., Any])


@dataclass(slots=True)
class Asked:
    """What was asked for so far. `colour` is True for always, False for never, None for a terminal only."""

    words: list[str] = field(default_factory=list)
    as_json: bool = False
    quiet: bool = False
    verbose: int = 0
    colour: bool | None = None
    with_pager: bool = True
    is_told: bool = False

    @classmethod
    def at_start(cls, words: list[str]) -> Asked:
        """What the environment asks for, and that somebody listens who is to."""
        level = os.environ.get("DATAPIN_VERBOSE", "")
        asked = cls(words, verbose=int(level) if level.isdecimal() else 0, colour=colour_of_environment())
        if asked.verbose or "DATAPIN_LOG" in os.environ:
            asked.listen()
        return asked

    def wants_json(self, kind: str) -> bool:
        """Whether an error of this kind is a JSON document: also if `--json` was not read, for a word before it."""
        words = self.words[: self.words.index("--")] if "--" in self.words else self.words
        return kind != "output-lost" and (self.as_json or "--json" in words)

    def listen(self) -> None:
        """Begin to tell what happens."""
        problem = log.start(self.verbose)
        if problem:
            warning = f"DATAPIN_LOG={os.environ['DATAPIN_LOG']}: {problem}; no log is written there"
            click.echo(f"{click.style('warning:', fg='yellow', bold=True)} {warning}", err=True, color=self.colour)

    def tell_command(self) -> None:
        """Say once in the log which command this is."""
        if not self.is_told:
            self.is_told = True
            log.step("command", "datapin %s  (in %s)", shlex.join(self.words), os.getcwd())


def asked_here() -> Asked:
    """What was asked of the verb that runs."""
    context = click.get_current_context(silent=True)
    return context.ensure_object(Asked) if context is not None else Asked()


def _is_asked(context: click.Context, option: click.Parameter, value: Any) -> None:
    asked = context.ensure_object(Asked)
    if value and option.name is not None:
        setattr(asked, option.name.removeprefix("asked_"), True)


def _without_pager(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Asked).with_pager = False


def _more(context: click.Context, option: click.Parameter, value: int) -> None:
    if value and not context.resilient_parsing:
        asked = context.ensure_object(Asked)
        asked.verbose += value
        os.environ["DATAPIN_VERBOSE"] = str(asked.verbose)  # for the processes that we start
        asked.listen()


def _in_folder(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        try:
            os.chdir(value)
        except OSError as error:
            raise Usage(f"--cd {value}: {error.strerror}", "name a folder that is there") from None


def _in_colour(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        colour = COLOURS[value]
        context.ensure_object(Asked).colour = colour
        context.color = context.find_root().color = colour


# Names that no verb gives to an option of its own.
_OPTIONS = (
    click.option(
        "--json", "asked_as_json", is_flag=True, expose_value=False, callback=_is_asked,
        help="Print one JSON document and nothing else.",
    ),
    click.option(
        "-q", "--quiet", "asked_quiet", is_flag=True, expose_value=False, callback=_is_asked,
        help="No progress and no notes."
    ),
    click.option(
        "-v", "--verbose", "asked_verbose", count=True, expose_value=False, callback=_more,
        help="Say what happens, and more with -vv; DATAPIN_LOG=FILE keeps it.",
    ),
    click.option(
        "--cd", "asked_folder", metavar="DIR", type=click.Path(file_okay=False), expose_value=False, is_eager=True,
        callback=_in_folder, help="Run as if started in DIR.",
    ),
    click.option(
        "--color", "asked_colour", type=click.Choice(list(COLOURS)), expose_value=False, callback=_in_colour,
        help="Colours (default: auto, on a terminal).",
    ),
    click.option(
        "--no-pager", "asked_no_pager", is_flag=True, expose_value=False, callback=_without_pager,
        help="No pager for long lists."
    ),
)  # fmt: skip


def global_options(function: Verb) -> Verb:
    """The options that may stand before the verb as well as after it."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def common_options(function: Verb) -> Verb:
    """The global options for a verb; the verb itself receives `as_json` and `quiet`."""

    @global_options
    @wraps(function)
    def wrapped(*args: Any, **options: Any) -> Any:
        asked = asked_here()
        asked.tell_command()
        return function(*args, **options, as_json=asked.as_json, quiet=asked.quiet)

    return wrapped  # type: ignore[return-value]  # click passes the same options, less those handled here


def jobs_option(function: Verb) -> Verb:
    """`-j N`: worker processes."""
    return click.option(
        "-j", "--jobs", type=click.IntRange(1, 256), metavar="N", help="Worker processes (default: one per core)."
    )(function)
