"""The checks of the group pins: whether what a commit pins is there, whole, and made from one another."""

from __future__ import annotations

from datapin.checks.check import Check
from datapin.checks.pins import lineage as pins_lineage
from datapin.checks.pins import manifests as pins_manifests
from datapin.checks.pins import outputs as pins_outputs
from datapin.checks.pins import record as pins_record
from datapin.checks.pins import stages as pins_stages

CHECKS: tuple[Check, ...] = (
    *pins_manifests.CHECKS,
    *pins_outputs.CHECKS,
    *pins_stages.CHECKS,
    *pins_lineage.CHECKS,
    *pins_record.CHECKS,
)
