"""`verify`: do the pins of a commit hold? Changes nothing but caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from datapin.base.errors import DatapinError
from datapin.base.findings import Finding
from datapin.checks.register import CHECKS, choose
from datapin.checks.runner import CheckResult, run_checks
from datapin.checks.subject import Subject
from datapin.checks.waivers import FILE, Waived, apply_waivers
from datapin.dvcfiles.outs import PinnedOut
from datapin.git.ask import resolve
from datapin.manifest.manifest import Manifest
from datapin.verbs.remote.healing import with_ways
from datapin.verbs.verify.base_diff import BaseDiff, diff_base
from datapin.verbs.verify.subject import subject_of
from datapin.verbs.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class VerifiedDataset:
    """A dataset that was looked at. `pointer` is the file that pins it; the rest is None if nobody can read it."""

    dataset: str
    pointer: str
    digest: str | None
    rows: int | None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` saw. `rev` is what was asked for, None the work tree; `commit` its id, None before the first.

    `ok` if no finding that stands is an error. `checks` are those that ran, with what each saw before waivers; `diff`
    is what differs from the base that was asked for.
    """

    rev: str | None
    commit: str | None
    ok: bool
    findings: list[Finding]
    waived: list[Waived] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    datasets: list[VerifiedDataset] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    diff: BaseDiff | None = None


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
    base: str | None = None,
) -> VerifyReport:
    """Run the checks that `checks.register.choose` picks on the revision `rev`, or on the work tree.

    `base` is a revision to show the row diff against. Raises Usage for an unknown check, UnknownVersion for an unknown
    revision; whatever is wrong with the data is a finding.
    """
    if base is not None:
        resolve(workspace.root, base)  # now, and not after an hour of --repro
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
    if rev is None:
        findings = with_ways(workspace, findings)
    manifests = _manifests(subject)
    head = subject.commit
    return VerifyReport(
        rev=rev,
        commit=head,
        ok=not any(finding.severity == "error" for finding in findings),
        findings=findings,
        waived=waived,
        checks=results,
        datasets=[_dataset(name, pointer, manifests[name]) for name, pointer in sorted(subject.pins.items())],
        notes=subject.notes,
        diff=None if base is None or head is None else diff_base(workspace, base, head, manifests),
    )


def _manifests(subject: Subject) -> dict[str, Manifest | DatapinError]:
    """What stands for each dataset, or why it cannot be read."""
    found: dict[str, Manifest | DatapinError] = {}
    for dataset in subject.pins:
        try:
            found[dataset] = subject.manifest(dataset)
        except DatapinError as error:
            found[dataset] = error
    return found


def _dataset(name: str, pointer: PinnedOut, manifest: Manifest | DatapinError) -> VerifiedDataset:
    try:
        if isinstance(manifest, DatapinError):
            return VerifiedDataset(name, pointer.file, None, None)
        return VerifiedDataset(name, pointer.file, manifest.digest, manifest.rows)
    except DatapinError:
        return VerifiedDataset(name, pointer.file, None, None)
