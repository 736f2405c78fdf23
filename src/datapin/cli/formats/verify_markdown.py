"""A report of `verify` as Markdown, for the summary of a CI job or a note on a merge request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from datapin.base.findings import Finding
from datapin.cli.formats.findings import once_each
from datapin.cli.render import printable

if TYPE_CHECKING:
    from datapin.verbs.verify.base_diff import BaseDiff, DatasetDiff
    from datapin.verbs.verify.verify import VerifyReport

_MOST_FINDINGS = 200  # GitHub takes 1 MiB for all summaries of a step
_MOST_CHARACTERS = 1000
_MOST_VALUES = 20
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~&$!]|:(?=//)|(?<=www)\.")
_SIGNS = {"error": "❌", "warning": "⚠️", "note": "ℹ️"}


def markdown(report: VerifyReport) -> str:
    """Verdict, findings, a table of checks, datasets with digests, and what differs from the base."""
    errors = sum(finding.severity == "error" for finding in report.findings)
    name = "the work tree" if report.rev is None else f"{_code(report.rev)} ({(report.commit or '')[:7]})"
    verdict = "✅ reproducible as far as was asked" if report.ok else f"❌ {errors} error{'s' * (errors != 1)}"
    parts = [[f"## datapin verify: {verdict}", "", f"Checked {name}, {len(report.checks)} checks."]]
    parts += [list(_findings(report.findings))] if report.findings else []
    parts += [list(_waived(report))] if report.waived else []
    parts += [list(_diff(report.diff))] if report.diff is not None else []
    parts += [list(_datasets(report)), list(_checks(report))]
    parts += [[f"- {_prose(note)}" for note in report.notes]] if report.notes else []
    return "\n\n".join("\n".join(part) for part in parts)


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    said = once_each(findings)
    rows = []
    for one in said[:_MOST_FINDINGS]:
        severity = one.finding.severity
        rows.append(
            (f"{_SIGNS[severity]} {severity}", _code(one.named), _code(one.finding.where), _with_hint(one.finding))
        )
    yield from _table(("", "check", "where", "what"), rows)
    if len(said) > len(rows):
        yield ""
        yield f"… and {len(said) - len(rows)} more findings: see the report in the other formats."


def _waived(report: VerifyReport) -> Iterator[str]:
    yield "### Waived"
    yield ""
    rows = [
        (
            _code(one.finding.check),
            _code(one.finding.where),
            _prose(one.finding.message),
            one.expires,
            _prose(one.reason),
        )
        for one in report.waived[:_MOST_FINDINGS]
    ]
    yield from _table(("check", "where", "what", "until", "reason"), rows)


def _diff(diff: BaseDiff) -> Iterator[str]:
    yield f"### Rows that differ from {_code(diff.rev)} ({diff.base[:7]})"
    yield ""
    if not diff.datasets:
        yield "None."
        return
    rows = []
    for one in diff.datasets:
        counts = ("", "", "", _prose(one.problem)) if one.problem else _counts(one)
        rows.append((_code(one.dataset), *counts))
    yield from _table(("dataset", "added", "removed", "changed", "columns"), rows)
    for one in diff.datasets:
        for column, bars in one.counts.items():
            yield ""
            shown = [(_code(bar.name), f"{bar.before:,}", f"{bar.after:,}") for bar in bars[:_MOST_VALUES]]
            yield from _table((f"{column} in {_code(one.dataset)}", "rows before", "rows after"), shown)
            if len(bars) > len(shown):
                yield ""
                yield f"… and {len(bars) - len(shown)} more values."


def _counts(one: DatasetDiff) -> tuple[str, str, str, str]:
    columns = ", ".join(f"{_code(name)} {count:,}" for name, count in one.columns.items())
    return f"{one.added:,}", f"{one.removed:,}", f"{one.changed:,}", columns


def _datasets(report: VerifyReport) -> Iterator[str]:
    yield "### Datasets"
    yield ""
    rows = [
        (_code(one.dataset), "unreadable" if one.rows is None else f"{one.rows:,}", _code(one.digest or "unreadable"))
        for one in report.datasets
    ]
    yield from _table(("dataset", "rows", "digest"), rows)


def _checks(report: VerifyReport) -> Iterator[str]:
    worst: dict[str, str] = {}
    for finding in report.findings:
        if finding.severity == "error" or finding.check not in worst:
            worst[finding.check] = finding.severity
    rows = []
    for one in report.checks:
        severity = worst.get(one.name, "")
        rows.append((_code(one.name), _prose(one.asks), f"{_SIGNS[severity]} {severity}" if severity else "✅"))
    yield "<details><summary>Every check</summary>"
    yield ""
    yield from _table(("check", "asks", ""), rows)
    yield ""
    yield "</details>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _with_hint(finding: Finding) -> str:
    return f"{_prose(finding.message)}{f'<br>hint: {_prose(finding.hint)}' if finding.hint else ''}"


def _code(text: str) -> str:
    return f"<code>{_plain(text)}</code>"


def _prose(text: str) -> str:
    # GitHub looks for mentions in each piece of text by itself.
    return _plain(text).replace("@", "<span>@</span>")


def _plain(text: str) -> str:
    """Text in which nothing is markup, a cell's end or a link: what could be is a character reference."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", _cut(printable(text)))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
