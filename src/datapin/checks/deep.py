"""The checks of the group deep."""

from __future__ import annotations

from datapin.checks.check import Check

CHECKS: tuple[Check, ...] = ()
