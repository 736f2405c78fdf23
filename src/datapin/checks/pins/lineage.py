"""Whether what a manifest or a run record says that it was made from is what is pinned beside it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from datapin.base.errors import DatapinError
from datapin.base.findings import Finding, Severity
from datapin.checks.check import Check, unread
from datapin.checks.pins.ran_stages import RanStage, overlaps, ran_stages
from datapin.checks.subject import Subject
from datapin.pipeline.record.record import input_digests

_LINEAGE = "pins.lineage"
_OURS = re.compile(r"\bdatapin\s+run\s+\w")
_DIGITS = len("sha256:") + 12


@dataclass(frozen=True, slots=True)
class Told:
    """What `where` says, as `check` asks it: `inputs` maps datasets to digests.

    If `must_name_one`, it must name one at least of the datasets on which its stage depends.
    """

    check: str
    where: str
    inputs: Mapping[str, str]
    must_name_one: bool


def compare_told(subject: Subject, stage: RanStage, told: Told) -> Iterator[Finding]:
    """Findings where `told` and the pins differ; notes if the stage is frozen, for then they may.

    Only the stage's own inputs are compared with their pins, and what lies before them with what these say themselves:
    a difference shows once, where it arises, and what follows a frozen stage is compared with what that one keeps. An
    input that is pinned anew since the stage ran is left to pins.stale-data.
    """
    expected: dict[str, set[str]] = defaultdict(set)
    direct: list[str] = []
    for dataset, pointer in subject.pins.items():
        if dataset in stage.outs or not any(overlaps(dataset, dep) for dep in stage.deps):
            continue
        if stage.deps.get(dataset, pointer.md5) != pointer.md5:
            message = f"{dataset} is pinned anew since {stage.where} ran: what it was made from was not compared"
            yield Finding("note", told.check, told.where, message, stage.repro_anyway)
            return
        try:
            manifest = subject.pinned(dataset)
            direct.append(dataset)
            for name, digest in input_digests(dataset, manifest.digest, manifest.properties).items():
                expected[name].add(digest)
        except DatapinError as error:
            yield unread(subject, told.check, dataset, error)
            return
    yield from _differences(subject, stage, told, expected, direct)


def _differences(
    subject: Subject, stage: RanStage, told: Told, expected: Mapping[str, set[str]], direct: Sequence[str]
) -> Iterator[Finding]:
    severity: Severity = "note" if stage.is_frozen else "error"
    # A pointer that cannot be read may be the one of a dataset that seems not to be there.
    doubt: Severity = "note" if stage.is_frozen or subject.unreadable else "warning"
    for name, digest in sorted(told.inputs.items()):
        if name in expected and digest not in expected[name]:
            pinned = " or ".join(_short(one) for one in sorted(expected[name]))
            message = f"says that it was made from {name} {_short(digest)}, expected {pinned}"
            yield Finding(severity, told.check, told.where, message, stage.repro_anyway)
        elif name in stage.deps and name not in subject.pins:
            message = f"could not be compared with {name}, which nothing pins"
            yield Finding("note", told.check, told.where, message)
        elif name not in expected:
            message = f"says that it was made from {name}, on which its stage ({stage.where}) does not depend"
            hint = f"add {name} to the deps of the stage, then {stage.repro_anyway}"
            yield Finding(doubt, told.check, told.where, message, hint)
    if told.must_name_one and direct and not set(direct) & told.inputs.keys():
        message = (
            f"does not say that it was made from {' or '.join(direct)}, on which its stage ({stage.where}) depends"
        )
        yield Finding(severity, told.check, told.where, message, stage.repro_anyway)


def _check_lineage(subject: Subject) -> Iterator[Finding]:
    for stage in ran_stages(subject):
        for dataset in stage.outs:
            if dataset not in subject.pins:
                continue
            try:
                manifest = subject.pinned(dataset)
                inputs = input_digests(dataset, manifest.digest, manifest.properties)
            except DatapinError as error:
                yield unread(subject, _LINEAGE, dataset, error)
                continue
            del inputs[dataset]
            # Another program's manifest tells nothing; ours always tells what it was made from.
            is_ours = _OURS.search(str(stage.entry.command)) is not None
            yield from compare_told(subject, stage, Told(_LINEAGE, dataset, inputs, must_name_one=is_ours))


def _short(digest: str) -> str:
    return digest[:_DIGITS]


CHECKS = (
    Check(
        _LINEAGE, "Was every derived manifest made from the very manifests that are pinned beside it?", _check_lineage
    ),
)
