"""`verify`: do the pins of a commit hold? Changes nothing but caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from datapin.base.findings import Finding
from datapin.checks.register import CHECKS, choose
from datapin.checks.runner import CheckResult, run_checks
from datapin.checks.waivers import FILE, Waived, apply_waivers
from datapin.verbs.verify_subject import subject_of
from datapin.verbs.workspace import Workspace


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` saw. `rev` is what was asked for, None the work tree; `commit` its id, None before the first.

    `ok` if no finding that stands is an error. `checks` are those that ran, with what each saw before waivers.
    """

    rev: str | None
    commit: str | None
    ok: bool
    findings: list[Finding]
    waived: list[Waived] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(
    workspace: Workspace,
    rev: str | None = None,
    *,
    names: Sequence[str] = (),
    remote: bool = False,
    remote_name: str | None = None,
    deep: bool = False,
    repro: bool = False,
    sample: int | None = None,
) -> VerifyReport:
    """Run the checks that `checks.register.choose` picks on the revision `rev`, or on the work tree.

    Raises Usage for an unknown check, UnknownVersion for an unknown revision; whatever is wrong with the data is a
    finding.
    """
    chosen = choose(names, remote=remote, deep=deep, repro=repro)
    subject = subject_of(workspace, rev, remote_name=remote_name, sample=sample)
    results = run_checks(subject, chosen)
    seen = [finding for result in results for finding in result.findings]
    findings, waived = apply_waivers(
        subject.read(FILE),
        seen,
        datetime.now(UTC).date(),
        known={check.name for check in CHECKS},
        ran={check.name for check in chosen},
    )
    return VerifyReport(
        rev=rev,
        commit=subject.commit,
        ok=not any(finding.severity == "error" for finding in findings),
        findings=findings,
        waived=waived,
        checks=results,
        datasets=sorted(subject.pins),
        notes=subject.notes,
    )
