"""Colours: where Git and uv have them, on a terminal, unless NO_COLOR, TERM=dumb or `--color` say otherwise."""

from __future__ import annotations

import os
import sys

import click

COLOURS: dict[str, bool | None] = {"auto": None, "always": True, "never": False}

_WORDS = {"error": "red", "warning": "yellow", "hint": "cyan", "note": "blue"}


def colour_of_environment() -> bool | None:
    """What the environment wants: https://no-color.org, https://force-color.org."""
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return False if os.environ.get("TERM") == "dumb" else None


def shows_colour() -> bool:
    """Whether colours reach whoever reads stdout."""
    context = click.get_current_context(silent=True)
    wanted = colour_of_environment() if context is None else context.color
    if wanted is not None:
        return wanted
    return bool(sys.stdout) and sys.stdout.isatty()


def severity(word: str) -> str:
    """`error`, `warning`, `hint` or `note`, in its colour; click takes colours out again where nobody sees them."""
    colour = _WORDS.get(word.strip(" :"))
    return click.style(word, fg=colour, bold=True)


def with_severities(text: str) -> str:
    """Lines that begin with a severity and a colon, that word in its colour."""
    lines = []
    for line in text.split("\n"):
        word, colon, rest = line.partition(":")
        known = colon and word.strip() in _WORDS
        lines.append(f"{word[: -len(word.strip())]}{severity(f'{word.strip()}:')}{rest}" if known else line)
    return "\n".join(lines)
