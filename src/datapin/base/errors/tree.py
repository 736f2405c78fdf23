"""The tree of errors: yours (usage, settings, refused), the world's (missing, unreachable), damage (wrong bytes).

Each error is a dataclass: its fields say what was seen and expected, `message` names them in one line, `hint` is the
next command to run, `exit_code` is what the command line answers. They pickle, since workers raise them. Any other
exception that reaches a door is our bug.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, ClassVar

EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_SETUP = 10
EXIT_MISSING = 20
EXIT_DAMAGED = 21
EXIT_UNREACHABLE = 30
EXIT_REFUSED = 40
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

MAX_LISTED = 20


class DatapinError(Exception):
    """Any error that datapin foresees. Subclasses are dataclasses; `message` and `hint` are for people."""

    exit_code: ClassVar[int] = EXIT_BUG
    usual_hint: ClassVar[str] = ""
    advice: str = ""  # a field of those whose hint depends on who raises them

    @property
    def message(self) -> str:
        """One line that names the thing, what was seen and what was expected."""
        return type(self).__name__

    @property
    def hint(self) -> str:
        """The next command to run, or empty."""
        return self.advice or self.usual_hint

    def message_of(self, name: str) -> str:
        """The message where `name` stands before it already: named once is enough."""
        return self.message.removeprefix(f"{name}: ")

    @property
    def kind(self) -> str:
        """The error's name in `--json`: `bad-key` for BadKey."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(self).__name__).lower()

    def details(self) -> dict[str, Any]:
        """The error's own fields, for `--json`."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]  # subclasses are dataclasses

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle through their args, which dataclass fields never reach.
        return (type(self), tuple(getattr(self, f.name) for f in fields(self)))  # type: ignore[arg-type]


class YourError(DatapinError):
    """Something the user can put right: usage, settings, a refused change."""

    exit_code = EXIT_REFUSED


class WorldError(DatapinError):
    """Something outside: data that is not here, a place that does not answer."""

    exit_code = EXIT_UNREACHABLE


class Damage(DatapinError):
    """Stored bytes that are not what they must be."""

    exit_code = EXIT_DAMAGED


def listed(names: list[str] | tuple[str, ...], most: int = MAX_LISTED) -> str:
    """Names for an error message, cut after `most`."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, … and {len(names) - most} more"
