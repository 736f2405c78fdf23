"""The environments that the run records of a commit tell of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datapin.checks.repro_outputs import PinnedOutputs
from datapin.pipeline.record import RECORD, parse_record


def recorded_environments(pinned: PinnedOutputs) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and environment of each run record. Raises OutputMissing, DamagedModel."""
    for stage in pinned.stages:
        for out in stage.outs:
            if out.path.rpartition("/")[2] == RECORD and out.md5 is not None:
                record = parse_record(pinned.files(out)[""].read_bytes(), out.path)
                environment = record.get("environment")
                yield out.path, environment if isinstance(environment, dict) else {}
