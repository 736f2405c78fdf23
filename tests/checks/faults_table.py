"""Writes docs/checks.md, from the checks and from the marks of their tests: `python tests/checks/faults_table.py`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))  # as pytest's setting `pythonpath` does

from checks.planted import Fault, fault_of  # noqa: E402
from datapin.checks import waivers  # noqa: E402
from datapin.checks.check import GROUPS  # noqa: E402
from datapin.checks.register import CHECKS  # noqa: E402

PAGE = TESTS.parent / "docs" / "checks.md"
_HEAD = """# The checks of `datapin verify`

What each check asks, and the faults that tests plant in real repositories to see it go red, exactly it, with the
severity shown. `python tests/checks/faults_table.py` writes this page from the checks and from the marks of those
tests; a test fails if the page is not current, or if a check has no planted fault.
"""


class _Marks:
    """Notes the marks of every test that pytest collects."""

    def __init__(self) -> None:
        self.faults: set[Fault] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self.faults.update(map(fault_of, item.iter_markers("planted")))


def collect_faults() -> set[Fault]:
    """Every planted fault of the tests in this folder."""
    marks, said = _Marks(), StringIO()
    with redirect_stdout(said):
        ended = pytest.main(["--collect-only", "-q", "--rootdir", str(TESTS.parent), str(TESTS / "checks")], [marks])
    assert ended == pytest.ExitCode.OK, said.getvalue()
    return marks.faults


def page(faults: set[Fault]) -> str:
    """The text of docs/checks.md. A check without a fault, or a fault of no check, is an error."""
    named = {fault.check for fault in faults}
    asks = {check.name: check.asks for check in CHECKS} | waivers.ASKS
    known = set(asks)
    assert named == known, f"checks without a planted fault: {known - named}; faults of no check: {named - known}"
    parts = [_HEAD]
    for group in (*GROUPS, "waivers"):
        names = [name for name in asks if name.partition(".")[0] == group]
        if not names:
            continue
        parts.append(f"\n## {group}\n\n| check | asks |\n|---|---|\n")
        parts += [f"| `{name}` | {_cell(asks[name])} |\n" for name in names]
        parts.append("\n| check | planted fault | result |\n|---|---|---|\n")
        for name in names:
            of_check = sorted(fault for fault in faults if fault.check == name)
            parts += [f"| `{fault.check}` | {_cell(fault.fault)} | {fault.severity} |\n" for fault in of_check]
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _main() -> None:
    text = page(collect_faults())
    if "--check" in sys.argv[1:]:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit("docs/checks.md is not current: run python tests/checks/faults_table.py")
    else:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _main()
