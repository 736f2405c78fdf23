"""Findings: what a check saw. Not exceptions: a check that finds something has done its work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check saw: `check` names the check, `where` the thing, `hint` the next command."""

    severity: Severity
    check: str
    where: str
    message: str
    hint: str = ""
