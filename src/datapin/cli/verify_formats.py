"""A report of `verify` as text, JSON, JUnit XML, Markdown or GitHub's annotations."""

from __future__ import annotations

import dataclasses
import json

from datapin.cli.render import printable
from datapin.verbs.verify import VerifyReport

FORMATS = ("text", "json")


def render(report: VerifyReport, form: str) -> str:
    """The report in the format `form`, one of FORMATS."""
    return {"text": _text, "json": _json}[form](report)


def _json(report: VerifyReport) -> str:
    return json.dumps(dataclasses.asdict(report), ensure_ascii=False, indent=2)


def _text(report: VerifyReport) -> str:
    lines = []
    for finding in report.findings:
        lines.append(f"{finding.severity}: {finding.check}: {printable(finding.where)}: {printable(finding.message)}")
        lines += [f"  hint: {printable(finding.hint)}"] if finding.hint else []
    name = report.rev or "the work tree"
    count = len(report.checks)
    lines.append(f"{name}: {'ok' if report.ok else 'failed'}, {count} checks of {len(report.datasets)} datasets")
    return "\n".join(lines)
