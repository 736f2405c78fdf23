"""The checks of the group repro: does this commit still give what it pins?"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from datapin.base.errors import Refused
from datapin.base.findings import Finding
from datapin.checks.check import Check
from datapin.checks.repro.clone import clean_clone, lay_out_sources
from datapin.checks.repro.environment import recorded_environments
from datapin.checks.repro.outputs import PinnedOutputs
from datapin.checks.repro.rerun import rerun
from datapin.checks.repro.sample import rerun_sample
from datapin.checks.repro.verdict import NAME, judge
from datapin.checks.subject import Subject
from datapin.git.ask import commit_state
from datapin.pipeline.record.environment import environment_differences, environment_here

ENVIRONMENT, SAMPLE = "repro.environment", "repro.sample"


def check_environment(subject: Subject) -> Iterator[Finding]:
    """A note for everything here that is not as where the outputs were made."""
    if subject.commit is None:
        return
    here = None
    for path, recorded in recorded_environments(PinnedOutputs(subject, subject.commit)):
        if recorded is None:
            message = "does not tell where the outputs were made, so nobody can say why others would differ"
            yield Finding(
                "note", ENVIRONMENT, path, message, f"run `dvc repro --force`, then `git add {shlex.quote(path)}`"
            )
            continue
        here = here or environment_here()
        for difference in environment_differences(recorded, here):
            yield Finding("note", ENVIRONMENT, path, difference.sentence)


def check_outputs(subject: Subject) -> Iterator[Finding]:
    """Run every stage again in a clean clone and compare what it gives with what is pinned."""
    if subject.sample is not None:
        return
    pinned = _pinned(subject)
    yield from _unsaved(subject, pinned, NAME)
    if not pinned.stages:
        subject.notes.append("no dvc.lock pins a stage, so there was nothing to run again")
        return
    with clean_clone(pinned) as clone:
        lay_out_sources(pinned, clone)
        result = rerun(clone, pinned)
        verdict = judge(pinned, clone, result)
    subject.notes.append(
        f"{verdict.stages} stage(s) ran again in a clean clone of {pinned.commit[:12]}: {verdict.identical} of "
        f"{verdict.outputs} outputs have identical bytes (with {result.surroundings})"
    )
    frozen = sorted(stage.name for stage in pinned.stages if pinned.is_frozen(stage))
    if frozen:
        message = "frozen in dvc.yaml and not run again; its outputs were taken as they are pinned"
        yield from (Finding("note", NAME, f"stage {name}", message) for name in frozen)
    yield from verdict.findings


def check_sample(subject: Subject) -> Iterator[Finding]:
    """Compute some rows of each stage that maps rows again, and compare."""
    if subject.sample is None:
        return
    pinned = _pinned(subject)
    yield from _unsaved(subject, pinned, SAMPLE)
    yield from rerun_sample(pinned, subject.sample, SAMPLE)


def _pinned(subject: Subject) -> PinnedOutputs:
    if subject.commit is None:
        raise Refused("nothing is committed yet, so there is nothing to clone", "run `git commit`")
    return PinnedOutputs(subject, subject.commit)


def _unsaved(subject: Subject, pinned: PinnedOutputs, check: str) -> Iterator[Finding]:
    if subject.rev is None and commit_state(subject.root).is_dirty:
        message = f"has changes that are not committed: HEAD ({pinned.commit[:12]}) was run again, without them"
        yield Finding("warning", check, "work tree", message, "commit the changes, then verify again")


CHECKS: tuple[Check, ...] = (
    Check(ENVIRONMENT, "Is this machine like the one that made the outputs?", check_environment),
    Check(NAME, "Does the pipeline, run again in a clean clone, give the pinned outputs?", check_outputs),
    Check(SAMPLE, "With --sample: do rows chosen at random, computed again, give the pinned rows?", check_sample),
)
