"""A report of `verify` as text, JSON, JUnit XML, Markdown or GitHub's annotations.

Keys, labels and messages are whatever people and files say: in every format they stay text, and on their line.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from datapin.base.findings import Finding
from datapin.cli.formats.findings import once_each
from datapin.cli.formats.verify_ci import github, junit
from datapin.cli.formats.verify_markdown import markdown
from datapin.cli.render import printable

if TYPE_CHECKING:
    from datapin.verbs.verify.base_diff import BaseDiff
    from datapin.verbs.verify.verify import VerifyReport

FORMATS = ("text", "json", "junit", "markdown", "github")


def render(report: VerifyReport, form: str) -> str:
    """The report in the format `form`, one of FORMATS; it ends without a newline."""
    forms: dict[str, Callable[[VerifyReport], str]] = {
        "text": _text,
        "json": _json,
        "junit": junit,
        "markdown": markdown,
        "github": _github,
    }
    # A file name that is not UTF-8 reaches us with surrogates, which no stream takes.
    return forms[form](report).encode("utf-8", "backslashreplace").decode()


def _github(report: VerifyReport) -> str:
    return "\n".join([*github(report), _quoted_for_runners(_text(report))])


def _json(report: VerifyReport) -> str:
    document = {
        "rev": report.rev,
        "commit": report.commit,
        "ok": report.ok,
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "waived": [
            {**dataclasses.asdict(one.finding), "reason": one.reason, "expires": one.expires} for one in report.waived
        ],
        "checks": [
            {"check": one.name, "asks": one.asks, **_counts(one.findings), "took_s": round(one.took_s, 3)}
            for one in report.checks
        ],
        "datasets": [dataclasses.asdict(dataset) for dataset in report.datasets],
        "notes": report.notes,
        "diff": None if report.diff is None else dataclasses.asdict(report.diff),
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def _counts(findings: Iterable[Finding]) -> dict[str, int]:
    seen = Counter(finding.severity for finding in findings)
    return {"errors": seen["error"], "warnings": seen["warning"], "notes": seen["note"]}


def _text(report: VerifyReport) -> str:
    lines = [
        *_findings(report.findings),
        *_waived(report),
        *(f"note: {printable(note)}" for note in report.notes),
        *_groups(report),
        *_datasets(report),
        *(_diff(report.diff) if report.diff is not None else ()),
    ]
    return "\n".join([*lines, _verdict(report)])


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    for one in once_each(findings):
        finding = one.finding
        yield f"{finding.severity}: {one.named}: {printable(finding.where)}: {printable(finding.message)}"
        if finding.hint:
            yield f"  hint: {printable(finding.hint)}"


def _waived(report: VerifyReport) -> Iterator[str]:
    for one in report.waived:
        finding = one.finding
        yield f"waived {finding.severity}: {finding.check}: {printable(finding.where)}: {printable(finding.message)}"
        yield f"  until {one.expires}: {printable(one.reason)}"


def _groups(report: VerifyReport) -> Iterator[str]:
    names = list(dict.fromkeys(one.name.partition(".")[0] for one in report.checks))
    for group in names:
        checks = [one for one in report.checks if one.name.startswith(f"{group}.")]
        found = [finding for finding in report.findings if finding.check.startswith(f"{group}.")]
        yield f"{group.ljust(9)} {_plural(len(checks), 'check').rjust(9)}  {_said(_counts(found)) or 'ok'}"


def _datasets(report: VerifyReport) -> Iterator[str]:
    width = max((len(printable(one.dataset)) for one in report.datasets), default=0)
    for one in report.datasets:
        rows = "unreadable" if one.rows is None else _plural(one.rows, "row")
        yield f"{printable(one.dataset).ljust(width)} {rows.rjust(14)}  {one.digest or ''}".rstrip()


def _diff(diff: BaseDiff) -> Iterator[str]:
    if not diff.datasets:
        yield f"against {printable(diff.rev)} ({diff.base[:7]}): no row differs"
    for one in diff.datasets:
        said = printable(one.problem) or f"{one.added:,} added, {one.removed:,} removed, {one.changed:,} changed"
        yield f"against {printable(diff.rev)} ({diff.base[:7]}): {printable(one.dataset)}: {said}"


def _verdict(report: VerifyReport) -> str:
    name = "the work tree" if report.rev is None else f"{printable(report.rev)} ({(report.commit or '')[:7]})"
    counts = _said(
        _counts(report.findings), *([_plural(len(report.waived), "waived", "waived")] if report.waived else [])
    )
    took_s = sum(one.took_s for one in report.checks)
    looked = f"{_plural(len(report.checks), 'check')} of {_plural(len(report.datasets), 'dataset')}, {took_s:.1f} s"
    return f"{name}: {'ok' if report.ok else 'failed'}{f', {counts}' if counts else ''} ({looked})"


def _said(counts: dict[str, int], *more: str) -> str:
    return ", ".join([*(_plural(count, name.removesuffix("s")) for name, count in counts.items() if count), *more])


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _quoted_for_runners(text: str) -> str:
    # A runner takes `##[command]` anywhere in a line, and `::command::` at its start, for orders to it.
    lines = (line.replace("##[", "## [") for line in text.splitlines())
    return "\n".join(f"|{line}" if line.lstrip().startswith("::") else line for line in lines)
