"""The checks of the group pins: whether what a commit pins is there, whole, and made from one another."""

from __future__ import annotations

from datapin.checks import pins_lineage, pins_manifests, pins_outputs, pins_record, pins_stages
from datapin.checks.check import Check

CHECKS: tuple[Check, ...] = (
    *pins_manifests.CHECKS,
    *pins_outputs.CHECKS,
    *pins_stages.CHECKS,
    *pins_lineage.CHECKS,
    *pins_record.CHECKS,
)
