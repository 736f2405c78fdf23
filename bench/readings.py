"""What a run measured, and the median over runs: the shape of `results/*.json`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from stopwatch import Timing

SECONDS = "s"
BYTES = "bytes"
PER_SECOND = "per s"
COUNT = "count"


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured value; `parts` are what it is made of."""

    value: float
    unit: str
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class RunRecord:
    """One tool's run in one round: readings by step, and why it ended early if it did."""

    tool: str
    round: int
    steps: dict[str, list[Reading]] = field(default_factory=dict)
    failed: str | None = None

    def note(self, step: str, reading: Reading) -> None:
        """Add one reading of `step`."""
        self.steps.setdefault(step, []).append(reading)


@dataclass(frozen=True, slots=True)
class Median:
    """The middle of all readings of one step, their spread and number."""

    value: float
    low: float
    high: float
    unit: str
    readings: int


def durable(timing: Timing) -> Reading:
    """A timing as the seconds until its bytes were durable."""
    parts = {
        "wall_s": round(timing.wall_s, 4),
        "sync_s": round(timing.sync_s, 4),
        "largest_rss_bytes": timing.largest_rss_bytes,
    }
    return Reading(round(timing.durable_s, 4), SECONDS, parts)


def peak(timing: Timing) -> Reading:
    """A timing's peak memory."""
    parts = {"tree_pss_bytes": timing.tree_pss_bytes or 0, "largest_rss_bytes": timing.largest_rss_bytes}
    return Reading(timing.peak_bytes, BYTES, parts)


def medians(runs: Sequence[RunRecord]) -> dict[str, dict[str, Median]]:
    """The median of each step of each tool, over all rounds and repetitions."""
    collected: dict[str, dict[str, list[Reading]]] = {}
    for run in runs:
        for step, readings in run.steps.items():
            collected.setdefault(run.tool, {}).setdefault(step, []).extend(readings)
    return {
        tool: {step: _median(readings) for step, readings in steps.items() if readings}
        for tool, steps in collected.items()
    }


def failures(runs: Sequence[RunRecord]) -> dict[str, str]:
    """The first failure of each tool that failed."""
    found: dict[str, str] = {}
    for run in runs:
        if run.failed is not None:
            found.setdefault(run.tool, run.failed)
    return found


def result_document(
    item: str, size: dict[str, object], machine: object, runs: Sequence[RunRecord]
) -> dict[str, object]:
    """Everything about one item, ready for JSON."""
    return {
        "item": item,
        "size": size,
        "machine": machine,
        "medians": {tool: {step: asdict(m) for step, m in steps.items()} for tool, steps in medians(runs).items()},
        "failures": failures(runs),
        "runs": [asdict(run) for run in runs],
    }


def _median(readings: Sequence[Reading]) -> Median:
    values = [reading.value for reading in readings]
    return Median(statistics.median(values), min(values), max(values), readings[0].unit, len(values))
