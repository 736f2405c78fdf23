"""The checks of the group hygiene."""

from __future__ import annotations

from datapin.checks.check import Check

CHECKS: tuple[Check, ...] = ()
