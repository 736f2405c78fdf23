"""Planted faults: a test spoils a real repository, and exactly the checks that its marks name must go red.

    @pytest.mark.planted("pins.manifest-changed", "a row is edited without `datapin`")
    def test_…(planted: Planted) -> None:
        …spoil a repository, verify it…
        planted.seen(report.findings)

`severity="warning"` or `"note"` says what else than an error is expected. A marked test that never calls `seen` fails,
so every line of docs/checks.md, which `python tests/checks/faults_table.py` makes from the marks, is what a test saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest

from datapin.base.findings import Finding

Seen = Finding | Mapping[str, Any]


@dataclass(frozen=True, order=True)
class Fault:
    """What a mark says: this fault makes this check report findings of this severity."""

    check: str
    fault: str
    severity: str = "error"


def fault_of(mark: pytest.Mark) -> Fault:
    return Fault(*mark.args, **mark.kwargs)


class Planted:
    """The faults that the marks of one test name, and whether it has seen them found."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        self.was_seen = False
        self.found: list[Finding] = []
        self.by_hand = ""  # why no command can end what this test plants; else `make hints` runs the hints

    def seen(self, findings: Iterable[Seen]) -> list[Finding]:
        """Exactly the marked checks went red, each with its severity; notes count only where a mark says note.

        Takes findings, or what `--format json` says of them; returns those of the marked checks.
        """
        given = [one if isinstance(one, Finding) else Finding(**cast("Any", one)) for one in findings]
        expected = {(fault.check, fault.severity) for fault in self.faults}
        assert expected, "the test has no mark `planted`"
        red = {(one.check, one.severity) for one in given if one.severity != "note" or (one.check, "note") in expected}
        assert red == expected, given
        self.was_seen = True
        self.found = [one for one in given if (one.check, one.severity) in expected]
        return self.found
