"""docs/checks.md is what the marks of the tests give, and no check is without a planted fault."""

from __future__ import annotations

import subprocess
import sys

import pytest

from checks import faults_table
from checks.planted import Fault, Planted
from clones import ENVIRONMENT
from datapin.base.findings import Finding
from datapin.checks.register import CHECKS


def test_the_page_of_checks_is_current_and_each_check_has_a_planted_fault() -> None:
    ended = subprocess.run(
        [sys.executable, faults_table.__file__, "--check"], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_check_without_a_planted_fault_is_told() -> None:
    with pytest.raises(AssertionError, match="without a planted fault"):
        faults_table.page({Fault("no.check", "a fault of no check")})


def test_every_check_has_a_name_of_its_group_and_asks_a_question() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.asks.endswith("?") for check in CHECKS)


RED = Finding("error", "pins.a", "data/raw", "it is so")


@pytest.mark.parametrize(
    "findings",
    [
        [],
        [Finding("warning", "pins.a", "data/raw", "it is so")],
        [RED, Finding("warning", "pins.b", "data/raw", "it is so")],
    ],
    ids=["nothing", "another severity", "another check too"],
)
def test_a_fault_is_not_seen_by_anything_else_than_its_check(findings: list[Finding]) -> None:
    with pytest.raises(AssertionError):
        Planted([Fault("pins.a", "a fault")]).seen(findings)


def test_a_fault_is_seen_by_its_check_and_notes_do_not_matter() -> None:
    fault = Planted([Fault("pins.a", "a fault")])
    assert fault.seen([RED, Finding("note", "pins.b", "data/raw", "by the way")]) == [RED]
    assert fault.was_seen
