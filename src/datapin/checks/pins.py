"""The checks of the group pins."""

from __future__ import annotations

from datapin.checks.check import Check

CHECKS: tuple[Check, ...] = ()
