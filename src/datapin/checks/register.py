"""Every check, in the order in which they run and are listed."""

from __future__ import annotations

from collections.abc import Sequence

from datapin.base.errors import Usage
from datapin.checks.bytes import deep, presence
from datapin.checks.check import GROUPS, READABLE, Check
from datapin.checks.hygiene import changes, copies, looks, placeholders, splits, values
from datapin.checks.hygiene import lineage as hygiene_lineage
from datapin.checks.pins import lineage, manifests, outputs, record, stages
from datapin.checks.repro import checks as repro

CHECKS: tuple[Check, ...] = (
    *manifests.CHECKS,
    *outputs.CHECKS,
    *stages.CHECKS,
    *lineage.CHECKS,
    *record.CHECKS,
    *presence.CHECKS,
    *values.CHECKS,
    *splits.CHECKS,
    *hygiene_lineage.CHECKS,
    *changes.CHECKS,
    *looks.CHECKS,
    *copies.CHECKS,
    *placeholders.HYGIENE,
    *deep.CHECKS,
    *placeholders.DEEP,
    *repro.CHECKS,
)


def choose(names: Sequence[str], *, remote: bool, deep: bool, repro: bool) -> list[Check]:
    """The checks that these names mean (a group's name means all of it); none given: pins and hygiene.

    The groups presence, deep and repro come in by their flags or by name. Raises Usage for a name that is none.
    """
    known = {check.name for check in CHECKS} | set(GROUPS)
    for name in names:
        if name not in known:
            close = ", ".join(sorted(one for one in known if one.split(".")[0] == name.split(".")[0])) or ", ".join(
                GROUPS
            )
            raise Usage(f"no check {name!r}; there are {close}", "`datapin verify --list` lists the checks")
    # pins.readable: whatever is asked, a thing that nobody can read must not look well.
    wanted = {READABLE, *(names or ("pins", "hygiene"))}
    wanted |= {group for group, asked in (("presence", remote), ("deep", deep), ("repro", repro)) if asked}
    groups = [
        check
        for check in CHECKS
        if check.group in wanted and (remote or not check.needs_remote) and (deep or not check.needs_bytes)
    ]
    return [check for check in CHECKS if check.name in wanted or check in groups]
