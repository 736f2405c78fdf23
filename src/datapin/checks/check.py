"""A check: a named question about one commit. It answers with findings, none if all is well, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from datapin.base.errors import DatapinError
from datapin.base.findings import Finding
from datapin.checks.subject import Subject

Group = Literal["pins", "presence", "hygiene", "deep", "repro"]
READABLE = "pins.readable"  # always runs: no other check may pass for want of something to look at
MOST_LISTED = 20
GROUPS: tuple[Group, ...] = ("pins", "presence", "hygiene", "deep", "repro")


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `name` is `group.what`, as `--check` and waivers say it; `asks` is one sentence.

    One that `needs_remote` is not meant by its group's name alone, but with `--remote`.

    `run` yields findings whose `check` is this name. A DatapinError that leaves it is made a finding of severity error
    by the runner: what cannot be read has not passed. One that needs the assets' bytes runs only when it is named, or
    with `--deep`.
    """

    name: str
    asks: str
    run: Callable[[Subject], Iterable[Finding]]
    needs_bytes: bool = False
    needs_remote: bool = False

    @property
    def group(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]


def unread(subject: Subject, check: str, where: str, error: DatapinError) -> Finding:
    """What a check says of a thing that it cannot read: an error, or a note where `pins.readable` is red for it."""
    known = any(finding.where == where and finding.severity == "error" for finding in subject.unreadable)
    message = f"could not be checked: {error.message_of(where)}"
    return Finding("note" if known else "error", check, where, message, "" if known else error.hint)


def capped(findings: Sequence[Finding], what: str, count: int | None = None) -> Iterator[Finding]:
    """The first findings of one check on one thing; beyond MOST_LISTED the last one says how many more `what` are.

    `count` is how many there are, where only the first of them are at hand.
    """
    count = len(findings) if count is None else count
    yield from findings[:MOST_LISTED]
    if count > MOST_LISTED:
        first = findings[0]
        more = f"and {count - MOST_LISTED} more {what}"
        yield Finding(first.severity, first.check, first.where.partition(":")[0], more, first.hint)
