"""A check: a named question about one commit. It answers with findings, none if all is well, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from datapin.base.findings import Finding
from datapin.checks.subject import Subject

Group = Literal["pins", "presence", "hygiene", "deep", "repro"]
GROUPS: tuple[Group, ...] = ("pins", "presence", "hygiene", "deep", "repro")


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `name` is `group.what`, as `--check` and waivers say it; `asks` is one sentence.

    `run` yields findings whose `check` is this name. A DatapinError that leaves it is made a finding of severity error
    by the runner: what cannot be read has not passed.
    """

    name: str
    asks: str
    run: Callable[[Subject], Iterable[Finding]]

    @property
    def group(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]
