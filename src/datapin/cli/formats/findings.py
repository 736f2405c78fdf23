"""Findings as reports list them: the gravest first, and what many checks say in the same words once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datapin.base.findings import Finding

SEVERITIES = ("error", "warning", "note")

_MOST_NAMED = 2


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that was seen: `finding` by its first check, `checks` by all of them."""

    finding: Finding
    checks: tuple[str, ...]

    @property
    def named(self) -> str:
        """The names of the checks; of more than three the first two, and how many more."""
        more = len(self.checks) - _MOST_NAMED
        if more < 2:
            return ", ".join(self.checks)
        return f"{', '.join(self.checks[:_MOST_NAMED])} and {more} more checks"


def once_each(findings: Sequence[Finding]) -> list[Said]:
    """What the findings say, each thing once; a dataset that cannot be read is told by every check that wants it."""
    first: dict[tuple[str, str, str, str], Finding] = {}
    checks: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for finding in findings:
        told = (finding.severity, finding.where, finding.message, finding.hint)
        first.setdefault(told, finding)
        checks.setdefault(told, {})[finding.check] = None
    said = [Said(finding, tuple(checks[told])) for told, finding in first.items()]
    return sorted(said, key=lambda one: SEVERITIES.index(one.finding.severity))
