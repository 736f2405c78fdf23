"""What verbs answer: frozen records, the same fields as `--json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from datapin.base.findings import Finding


@dataclass(frozen=True, slots=True)
class InitReport:
    """Files that `init` made or extended, relative to the repository; `notes` say what is left to do by hand."""

    created: list[str]
    changed: list[str]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AddReport:
    """Rows added, changed, removed and left alone; `new_bytes` counts bytes of assets the store did not have.

    Of the changed ones `moved` got another key with their file; `stay_removed` files got no row, as
    theirs was removed before.
    """

    dataset: str
    added: int
    changed: int
    removed: int
    unchanged: int
    rows: int
    new_assets: int
    new_bytes: int
    digest: str
    findings: list[Finding] = field(default_factory=list)
    moved: int = 0
    stay_removed: int = 0


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """Rows whose values `update` changed."""

    dataset: str
    changed: int
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class RemoveReport:
    """Rows that `remove` took out; their assets stay until garbage collection."""

    dataset: str
    removed: int
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class ShowReport:
    """One dataset version at a glance; `labels` and `splits` count rows per value."""

    dataset: str
    digest: str
    rows: int
    bytes: int
    shards: int
    columns: list[dict[str, str]]
    labels: dict[str, int]
    splits: dict[str, int]
    properties: dict[str, str]


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Counts of rows that differ."""

    added: int
    changed: int
    removed: int

    @property
    def any(self) -> bool:
        """True if something differs."""
        return bool(self.added or self.changed or self.removed)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why `where` (a dataset, or a file of the repository) has no answer, as the error of that kind would say it."""

    where: str
    kind: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """How one dataset stands: None where the question has no answer here (no source tree, no commit, no remote).

    `not_pushed` counts assets; `pushed` says whether the version as a whole is known to be on the remote; `problem`
    says why nothing is known of it: its pointer or its manifest cannot be read; `is_new`: HEAD has no such dataset.
    """

    dataset: str
    tree: RowCounts | None
    head: RowCounts | None
    missing_local: int
    not_pushed: int | None
    digest: str | None
    notes: list[str] = field(default_factory=list)
    pushed: bool | None = None
    problem: Problem | None = None
    is_new: bool = False

    @property
    def differs(self) -> bool:
        """True if the tree or the manifest has changes that are not added or not committed, or cannot be read."""
        changes = (self.tree, self.head)
        return self.head is None or self.is_new or any(one.any for one in changes if one is not None)


@dataclass(frozen=True, slots=True)
class StatusReport:
    """All datasets that were asked for; `unreadable` are `dvc.lock` files, which may pin more of them.

    `notes` are about the clone, not about one dataset.
    """

    datasets: list[DatasetStatus]
    unreadable: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_broken(self) -> bool:
        """Whether something cannot be read; a manifest that is merely not here can be fetched."""
        problems = [one.problem for one in self.datasets if one.problem is not None]
        return bool(self.unreadable) or any(problem.kind != "manifest-missing" for problem in problems)

    @property
    def differs(self) -> bool:
        """True if one of the datasets differs, or nobody can tell."""
        return bool(self.unreadable) or any(one.differs for one in self.datasets)


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What `push` or `fetch` moved; `requests` counts calls to the remote, `skipped` assets that were there already."""

    assets: int
    packs: int
    bytes: int
    requests: int
    skipped: int
    datasets: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FindingsReport:
    """What checks saw."""

    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """True if there is no error among the findings."""
        return not any(finding.severity == "error" for finding in self.findings)


Row = dict[str, Any]
