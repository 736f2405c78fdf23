"""The environments that the run records of a commit tell of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datapin.checks.repro_outputs import PinnedOutputs
from datapin.pipeline.environment import environment_differences, environment_here
from datapin.pipeline.record import RECORD, parse_record


def recorded_environments(pinned: PinnedOutputs) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and environment of each run record. Raises OutputMissing, DamagedModel."""
    for stage in pinned.stages:
        for out in stage.outs:
            if out.path.rpartition("/")[2] == RECORD and out.md5 is not None:
                record = parse_record(pinned.files(out)[""].read_bytes(), out.path)
                environment = record.get("environment")
                yield out.path, environment if isinstance(environment, dict) else {}


def differing_causes(pinned: PinnedOutputs) -> list[str]:
    """What here differs from the run records and may change the last bits of numbers."""
    here = environment_here()
    found = [one for _, recorded in recorded_environments(pinned) for one in environment_differences(recorded, here)]
    return [one.cause for one in found if one.reach in ("numbers", "results")]
