"""The checks of the group hygiene: do rows keep what makes a measurement worth something?"""

from __future__ import annotations

from datapin.checks.check import Check
from datapin.checks.hygiene import changes as hygiene_changes
from datapin.checks.hygiene import copies as hygiene_copies
from datapin.checks.hygiene import lineage as hygiene_lineage
from datapin.checks.hygiene import looks as hygiene_looks
from datapin.checks.hygiene import placeholders as hygiene_placeholders
from datapin.checks.hygiene import splits as hygiene_splits
from datapin.checks.hygiene import values as hygiene_values

CHECKS: tuple[Check, ...] = (
    *hygiene_values.CHECKS,
    *hygiene_splits.CHECKS,
    *hygiene_lineage.CHECKS,
    *hygiene_changes.CHECKS,
    *hygiene_looks.CHECKS,
    *hygiene_copies.CHECKS,
    *hygiene_placeholders.HYGIENE,
)
