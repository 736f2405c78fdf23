"""Waivers: findings that people decided to live with, in a committed file, each with a reason and a last day.

    [[waiver]]
    check = "hygiene.near-duplicates"
    where = "data/prepared:scans/*"        # a glob on what the finding is about
    reason = "consecutive scans of one sheet; checked by Ada"
    expires = 2027-03-31                   # its last day

What could not be read is never waived: nobody knows what is behind it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from datapin.base.documents import read_toml
from datapin.base.errors import BadDocument
from datapin.base.findings import Finding
from datapin.checks.check import READABLE

FILE = ".datapin/waivers.toml"

MALFORMED, EXPIRED, UNUSED = "waivers.malformed", "waivers.expired", "waivers.unused"
ASKS = {
    MALFORMED: "Is every waiver complete: a check, a place, a reason and a last day?",
    EXPIRED: "Is every waiver's last day still to come?",
    UNUSED: "Does every waiver cover a finding?",
}

_KEYS = ("check", "where", "reason", "expires")
_UNREAD = ("could not be checked", "could not be read")
_HEADER = re.compile(r"\s*\[\[\s*waiver\s*\]\]")
_LINE = re.compile(r"line (\d+)")


class Waived(NamedTuple):
    """A finding that a waiver covers, why, and until when (a date, ISO 8601)."""

    finding: Finding
    reason: str
    expires: str


@dataclass(frozen=True, slots=True)
class _Waiver:
    check: str
    where: str
    reason: str
    expires: date
    line: int

    def covers(self, finding: Finding) -> bool:
        return finding.check == self.check and fnmatchcase(finding.where, self.where)


def apply_waivers(
    text: bytes | None, findings: Sequence[Finding], today: date, *, known: Collection[str], ran: Collection[str]
) -> tuple[list[Finding], list[Waived]]:
    """The findings that stand, those on the waivers among them, and those that are waived.

    `text` is the waivers' file, None if there is none; `known` are the names of all checks, `ran` of those that ran: of
    the others' waivers nobody can say that they cover nothing.
    """
    waivers, problems = _read(text, known) if text is not None else ([], [])
    expired = [waiver for waiver in waivers if waiver.expires < today]
    problems += [
        _problem("warning", EXPIRED, one.line, f"{one.check} at {one.where} is waived no longer since {one.expires}")
        for one in expired
    ]
    standing: list[Finding] = []
    waived: list[Waived] = []
    used: set[int] = set()
    for finding in findings:
        cover = next((one for one in waivers if one not in expired and one.covers(finding)), None)
        if cover is None or _is_unread(finding):
            standing.append(finding)
        else:
            used.add(cover.line)
            waived.append(Waived(finding, cover.reason, cover.expires.isoformat()))
    idle = (one for one in waivers if one.check in ran and one.line not in used and one not in expired)
    problems += [_problem("note", UNUSED, one.line, f"{one.check} at {one.where} has no finding") for one in idle]
    return [*standing, *problems], waived


def _is_unread(finding: Finding) -> bool:
    return finding.check == READABLE or finding.message.startswith(_UNREAD)


def _read(text: bytes, known: Collection[str]) -> tuple[list[_Waiver], list[Finding]]:
    """The waivers, and errors on those that are not complete."""
    try:
        words = text.decode("utf-8")
        document = read_toml(text, "the waivers")
    except UnicodeDecodeError as error:
        return [], [_malformed(text.count(b"\n", 0, error.start) + 1, "is not UTF-8")]
    except BadDocument as error:
        line = _LINE.search(error.problem)
        return [], [_malformed(int(line[1]) if line else words.count("\n") + 1, error.problem)]
    problems = [_malformed(1, f"has {name!r}, expected only [[waiver]]") for name in document if name != "waiver"]
    given = document.get("waiver", [])
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        return [], [*problems, _malformed(1, "has a 'waiver' that is not written as [[waiver]]")]
    starts = [number for number, line in enumerate(words.splitlines(), start=1) if _HEADER.match(line)]
    # An array written in one line has no headers; then the file's first line must do.
    starts = starts if len(starts) == len(given) else [1] * len(given)
    waivers = []
    for start, one in zip(starts, given, strict=True):
        problem = _incomplete(one, known)
        if problem:
            problems.append(_malformed(start, problem))
        else:
            waivers.append(_Waiver(one["check"], one["where"], one["reason"].strip(), one["expires"], start))
    return waivers, problems


def _incomplete(one: dict[str, Any], known: Collection[str]) -> str:
    """What is wrong with a waiver, empty if nothing is."""
    for name in _KEYS[:3]:
        if not isinstance(one.get(name), str) or not one[name].strip():
            return f"has no {name}, expected text"
    if not isinstance(one.get("expires"), date) or isinstance(one["expires"], datetime):
        return "has no expires, expected a date such as 2027-03-31, without quotes"
    if one["check"] not in known:
        return f"names no check: {one['check']!r}"
    more = sorted(one.keys() - set(_KEYS))
    return f"has {more[0]!r}, expected {', '.join(_KEYS)}" if more else ""


def _malformed(line: int, problem: str) -> Finding:
    return _problem("error", MALFORMED, line, problem)


def _problem(severity: Any, check: str, line: int, message: str) -> Finding:
    hints = {
        MALFORMED: f"correct {FILE}; `datapin verify --list` lists the checks",
        EXPIRED: "put right what it covered, or decide anew: a new reason and a new last day",
        UNUSED: f"take it out of {FILE}",
    }
    return Finding(severity, check, f"{FILE}: line {line}", message, hints[check])
