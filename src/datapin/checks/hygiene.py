"""The checks of the group hygiene: do rows keep what makes a measurement worth something?"""

from __future__ import annotations

from datapin.checks import (
    hygiene_changes,
    hygiene_copies,
    hygiene_lineage,
    hygiene_looks,
    hygiene_placeholders,
    hygiene_splits,
    hygiene_values,
)
from datapin.checks.check import Check

CHECKS: tuple[Check, ...] = (
    *hygiene_values.CHECKS,
    *hygiene_splits.CHECKS,
    *hygiene_lineage.CHECKS,
    *hygiene_changes.CHECKS,
    *hygiene_looks.CHECKS,
    *hygiene_copies.CHECKS,
    *hygiene_placeholders.HYGIENE,
)
