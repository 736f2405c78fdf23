"""A report of `verify` for CI servers: JUnit XML, and GitHub's annotations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from datapin.base.findings import Finding
from datapin.cli.formats.findings import Said, once_each
from datapin.cli.render import printable

if TYPE_CHECKING:
    from datapin.verbs.verify.verify import VerifyReport

_SUITE = "datapin verify"
_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}
_LINE = re.compile(r"(?P<file>.+): line (?P<line>\d+)\Z")
_FILE = re.compile(r"[^\s:]+\Z")


def junit(report: VerifyReport) -> str:
    """JUnit XML as Jenkins's xUnit plug-in, GitLab and GitHub's actions read it (its junit-10.xsd).

    One test case per check; its errors are one failure, its warnings, notes and waived findings stand in system-out.
    """
    asks = {one.name: one for one in report.checks}
    names = list(dict.fromkeys([*asks, *(finding.check for finding in report.findings)]))
    failed = {finding.check for finding in report.findings if finding.severity == "error"}
    took_s = sum(one.took_s for one in report.checks)
    totals = {"tests": str(len(names)), "failures": str(len(failed)), "errors": "0", "time": f"{took_s:.3f}"}
    root = Element("testsuites", {"name": _SUITE, **totals})
    suite = SubElement(root, "testsuite", {"name": f"{_SUITE} {printable(report.rev or '')}".strip(), **totals})
    properties = SubElement(suite, "properties")
    for name, value in _properties(report):
        SubElement(properties, "property", name=printable(name), value=printable(value))
    for name in names:
        took = asks[name].took_s if name in asks else 0.0
        group = name.partition(".")[0]
        case = SubElement(suite, "testcase", name=name, classname=f"datapin.{group}", time=f"{took:.3f}")
        _fill(case, report, name)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}'


def _fill(case: Element, report: VerifyReport, name: str) -> None:
    found = [finding for finding in report.findings if finding.check == name]
    errors = [finding for finding in found if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        message = f"{printable(errors[0].where)}: {printable(errors[0].message)}{more}"
        failure = SubElement(case, "failure", type="error", message=message)
        failure.text = "\n".join(map(_paragraph, errors))
    said = [_paragraph(finding) for finding in found if finding.severity != "error"]
    said += [
        f"waived until {one.expires} ({printable(one.reason)}): {_paragraph(one.finding)}"
        for one in report.waived
        if one.finding.check == name
    ]
    if said:
        SubElement(case, "system-out").text = "\n".join(said)


def _properties(report: VerifyReport) -> Iterable[tuple[str, str]]:
    yield "rev", report.rev or "work tree"
    yield "commit", report.commit or ""
    for dataset in report.datasets:
        yield f"digest {dataset.dataset}", dataset.digest or "unreadable"


def _paragraph(finding: Finding) -> str:
    hint = f"\n  hint: {printable(finding.hint)}" if finding.hint else ""
    return f"{finding.severity}: {printable(finding.where)}: {printable(finding.message)}{hint}"


def github(report: VerifyReport) -> list[str]:
    """Workflow commands, one per thing that was found: GitHub shows each at the pointer that pins it."""
    pointers = {dataset.dataset: dataset.pointer for dataset in report.datasets}
    return [_command(one, pointers) for one in once_each(report.findings)]


def _command(said: Said, pointers: dict[str, str]) -> str:
    finding, where = said.finding, said.finding.where
    properties = {}
    dataset = next((name for name in pointers if where == name or where.startswith(f"{name}:")), None)
    at_line = _LINE.match(where)
    if dataset is not None:
        properties["file"] = pointers[dataset]
    elif at_line is not None:
        properties |= {"file": at_line["file"], "line": at_line["line"]}
    elif _FILE.match(where):
        properties["file"] = where
    properties["title"] = said.named
    words = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    hint = f"; {finding.hint}" if finding.hint else ""
    return f"::{_COMMANDS[finding.severity]} {words}::{_data(f'{where}: {finding.message}{hint}')}"


def _data(text: str) -> str:
    """As the toolkit of GitHub's actions escapes the data of a command."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
