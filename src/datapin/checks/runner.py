"""Run checks. What a check cannot read becomes its finding: a green result means that everything was looked at."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from datapin.base.errors import DatapinError
from datapin.base.findings import Finding
from datapin.checks.check import Check
from datapin.checks.subject import Subject


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check saw, and how long it looked."""

    name: str
    asks: str
    findings: list[Finding]
    took_s: float = 0.0


def run_checks(subject: Subject, checks: Sequence[Check]) -> list[CheckResult]:
    """Each check's findings, in order; a check that fails to read something has that as a finding."""
    return [_run(subject, check) for check in checks]


def _run(subject: Subject, check: Check) -> CheckResult:
    start = time.monotonic()
    findings: list[Finding] = []
    try:
        findings += check.run(subject)
    except DatapinError as error:
        message = f"could not be checked: {error.message}"
        findings.append(Finding("error", check.name, subject.rev or "work tree", message, error.hint))
    return CheckResult(check.name, check.asks, findings, time.monotonic() - start)
