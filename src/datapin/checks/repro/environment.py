"""The environments that a commit tells of, in the file beside each run record; old records tell it themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datapin.checks.repro.outputs import PinnedOutputs
from datapin.git.ask import blob_at
from datapin.pipeline.record.environment import environment_differences, environment_here
from datapin.pipeline.record.environment_file import environment_of, environment_path
from datapin.pipeline.record.record import RECORD, parse_record


def recorded_environments(pinned: PinnedOutputs) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The environment of each run record, None if nobody tells it, and the path of the file that does or should.

    Raises OutputMissing, DamagedModel.
    """
    for stage in pinned.stages:
        for out in stage.outs:
            if out.path.rpartition("/")[2] == RECORD and out.md5 is not None:
                record = parse_record(pinned.files(out)[""].read_bytes(), out.path)
                path = environment_path(out.path)
                environment = environment_of(record, blob_at(pinned.subject.root, pinned.commit, path))
                yield out.path if "environment" in record else path, environment


def differing_causes(pinned: PinnedOutputs) -> list[str]:
    """What here differs from the run records and may change the last bits of numbers."""
    here = environment_here()
    told = [recorded for _, recorded in recorded_environments(pinned) if recorded is not None]
    found = [one for recorded in told for one in environment_differences(recorded, here)]
    return [one.cause for one in found if one.reach in ("numbers", "results")]
