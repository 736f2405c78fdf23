"""What the figures should reach, and whether they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from readings import BYTES, COUNT, PER_SECOND, SECONDS

Medians = Mapping[str, Mapping[str, Mapping[str, float]]]


class Rule(Enum):
    """How a target is read: `limit` bounds a ratio against another tool, or the value itself."""

    TIMES_FASTER = "at least × faster than"
    TIMES_AS_LONG = "at most × the time of"
    TIMES_THE_RATE = "at least × the rate of"
    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table: what `step` of `item` should reach."""

    title: str
    item: str
    step: str
    rule: Rule
    limit: float
    against: str = ""
    unit: str = SECONDS
    other_step: str = ""  # what the other tool does for it, if that has another name


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target beside what was measured; None where a side is missing."""

    target: Target
    measured: float | None
    other: float | None
    ratio: float | None
    met: bool | None


# Filled in from the size that was run.
FILES = "{small_files:,} files of 2–20 KiB"
BIG = "{big_files} files of {big_mib} MiB"
ROWS = "{tiny_files:,} rows"
INSERTED = "insert one row, shards written"
FETCH = "fetch"
ROLLED_FILES = "rollback with files"
FILES_TOO = "fetch + files"

TARGETS = (
    Target(f"add {FILES}", "small-files", "add", Rule.TIMES_AS_LONG, 1.6, "tar"),
    Target(f"add {FILES}", "small-files", "add", Rule.TIMES_AS_LONG, 1.3, "floor"),
    Target(f"add {FILES}", "small-files", "add", Rule.TIMES_FASTER, 7.0, "dvc"),
    Target(f"add {FILES}", "small-files", "add", Rule.TIMES_FASTER, 2.5, "restic"),
    Target("add again, nothing changed", "unchanged", "add again", Rule.TIMES_FASTER, 7.0, "dvc"),
    Target("status, nothing changed", "unchanged", "status", Rule.TIMES_FASTER, 7.0, "dvc"),
    Target("status, nothing changed", "unchanged", "status", Rule.AT_MOST, 0.5),
    Target("add after 3 % changed", "small-files", "add 3 % changed", Rule.TIMES_FASTER, 4.0, "dvc"),
    Target(
        "add + git commit after 3 % changed",
        "small-files",
        "add 3 % changed + commit",
        Rule.TIMES_FASTER,
        1.0,
        "git-lfs",
    ),
    Target(f"add {BIG}", "big-files", "add", Rule.TIMES_AS_LONG, 1.3, "cp"),
    Target(f"memory of add, {FILES}", "memory", "add", Rule.AT_MOST, 400e6, unit=BYTES),
    Target(f"memory of add, {ROWS}", "million", "add memory", Rule.AT_MOST, 900e6, unit=BYTES),
    Target("random verified reads of 10 KiB", "reads", "verified reads", Rule.AT_LEAST, 60_000, unit=PER_SECOND),
    Target("random unverified reads of 10 KiB", "reads", "unverified reads", Rule.AT_LEAST, 200_000, unit=PER_SECOND),
    *(
        Target(
            f"random batches of 10 KiB, DataLoader, {step}",
            "loader",
            step,
            Rule.TIMES_THE_RATE,
            limit,
            "files",
            unit=PER_SECOND,
            other_step="epoch",
        )
        for step, limit in (("unverified", 1.6), ("verify=first", 1.1))
    ),
    Target("first batch of a DataLoader", "loader", "verify=first, first batch", Rule.AT_MOST, 0.1),
    Target(f"datapin.open, {ROWS}", "million", "open", Rule.AT_MOST, 1.5),
    Target("open the index of {tiny_files:,} assets", "million", "index open", Rule.AT_MOST, 0.5),
    Target("look up {tiny_files:,} ids", "million", "locate every id", Rule.AT_MOST, 1.0),
    Target(
        f"shards written to insert one row, {ROWS}",
        "million",
        "insert one row, shards written",
        Rule.AT_MOST,
        2,
        unit=COUNT,
    ),
    Target("push to S3", "s3", "push", Rule.TIMES_FASTER, 20.0, "dvc"),
    Target("push to S3", "s3", "push", Rule.TIMES_FASTER, 1.8, "restic"),
    Target("push to S3", "s3", "push", Rule.TIMES_AS_LONG, 1.6, "s5cmd"),
    Target("push to S3 again, nothing new", "s3", "push again", Rule.TIMES_FASTER, 5.0, "dvc"),
    Target("fetch from S3 into a fresh clone", "s3", FETCH, Rule.TIMES_FASTER, 15.0, "dvc", other_step=FILES_TOO),
    Target("fetch from S3 + checkout to files", "s3", FILES_TOO, Rule.TIMES_FASTER, 12.0, "dvc"),
    Target("fetch from S3 + checkout to files", "s3", FILES_TOO, Rule.TIMES_FASTER, 1.0, "restic"),
    Target("one folder of 100 from S3, as files", "s3", "one folder of 100", Rule.TIMES_FASTER, 10.0, "dvc"),
    Target("push to S3 after 3 % changed", "s3", "push 3 % changed", Rule.TIMES_FASTER, 15.0, "dvc"),
    Target("objects on S3", "s3", "objects", Rule.TIMES_FASTER, 500.0, "dvc", unit=COUNT),
    Target("push to a directory", "directory", "push", Rule.TIMES_FASTER, 4.0, "dvc"),
    Target("push to a directory", "directory", "push", Rule.TIMES_AS_LONG, 1.0, "restic"),
    Target("fetch from a directory + checkout to files", "directory", FILES_TOO, Rule.TIMES_FASTER, 4.0, "dvc"),
    Target("fetch from a directory + checkout to files", "directory", FILES_TOO, Rule.TIMES_AS_LONG, 1.3, "restic"),
    Target("memory of push to S3", "remote-memory", "push", Rule.AT_MOST, 500e6, unit=BYTES),
    Target("memory of fetch from S3", "remote-memory", "fetch", Rule.AT_MOST, 500e6, unit=BYTES),
    Target("memory of checkout", "remote-memory", "files", Rule.AT_MOST, 500e6, unit=BYTES),
    Target(
        "random reads of 10 KiB from S3", "lazy", "random reads", Rule.TIMES_THE_RATE, 2.5, "boto3", unit=PER_SECOND
    ),
    Target("diff of two versions, 3 % apart", "versions", "diff", Rule.TIMES_FASTER, 10.0, "dvc"),
    Target("rollback of the dataset", "versions", "rollback", Rule.TIMES_FASTER, 10.0, "dvc", other_step=ROLLED_FILES),
    Target("rollback with its files", "versions", ROLLED_FILES, Rule.TIMES_FASTER, 4.0, "dvc"),
    Target("rollback with its files", "versions", ROLLED_FILES, Rule.TIMES_AS_LONG, 1.0, "git-lfs"),
    Target("post-checkout hook, nothing to do", "versions", "hook, nothing to do", Rule.AT_MOST, 0.15),
    Target(f"verify, {FILES}", "versions", "verify", Rule.AT_MOST, 2.0),
    Target("log of 100 versions, first time", "history", "log, first time", Rule.AT_MOST, 2.0),
    Target("log of 100 versions, again", "history", "log again", Rule.AT_MOST, 0.8),
    Target("uses of one asset in 100 versions", "history", "uses of one row", Rule.AT_MOST, 3.0),
    Target("trace of a dataset of 100 versions", "history", "trace", Rule.AT_MOST, 3.0),
    Target(f"diff, {ROWS}, 1,000 changed", "million-versions", "diff", Rule.AT_MOST, 1.0),
    Target(f"rollback, {ROWS}, 1,000 changed", "million-versions", "rollback", Rule.AT_MOST, 1.0),
    Target(f"merge, {ROWS}, 1,000 changed on each side", "million-versions", "merge", Rule.AT_MOST, 5.0),
    Target(f"memory of that merge, {ROWS}", "million-versions", "merge, memory", Rule.AT_MOST, 700e6, unit=BYTES),
    Target("datapin --help", "startup", "help", Rule.AT_MOST, 0.15),
)


def judge(target: Target, results: Mapping[str, Medians]) -> Verdict:
    """Compare one target with the medians of its item."""
    steps = results.get(target.item, {})
    mine = steps.get("datapin", {}).get(target.step)
    measured = float(mine["value"]) if mine else None
    if target.rule in (Rule.AT_MOST, Rule.AT_LEAST):
        if measured is None:
            return Verdict(target, None, None, None, None)
        met = measured <= target.limit if target.rule is Rule.AT_MOST else measured >= target.limit
        return Verdict(target, measured, None, None, met)
    theirs = steps.get(target.against, {}).get(target.other_step or target.step)
    other = float(theirs["value"]) if theirs else None
    if not measured or not other:
        return Verdict(target, measured, other, None, None)
    ratio = other / measured if target.rule is Rule.TIMES_FASTER else measured / other
    met = ratio <= target.limit if target.rule is Rule.TIMES_AS_LONG else ratio >= target.limit
    return Verdict(target, measured, other, ratio, met)


def show_value(value: float | None, unit: str) -> str:
    """A value for people: three digits are enough."""
    if value is None:
        return "–"
    if unit == SECONDS:
        return f"{value * 1000:.0f} ms" if value < 0.095 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    if unit == BYTES:
        return f"{value / 1e6:,.0f} MB"
    if unit == PER_SECOND:
        return f"{value:,.0f} /s"
    return f"{value:,.0f}"
