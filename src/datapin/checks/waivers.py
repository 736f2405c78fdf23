"""Waivers: findings that people decided to live with, in a committed file, each with a reason and a last day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from datapin.base.findings import Finding

FILE = ".datapin/waivers.toml"


class Waived(NamedTuple):
    """A finding that a waiver covers, and why."""

    finding: Finding
    reason: str


def apply_waivers(text: bytes | None, findings: Sequence[Finding], today: date) -> tuple[list[Finding], list[Waived]]:
    """The findings that stand, and those that are waived; `text` is the waivers' file, None if there is none."""
    return list(findings), []
