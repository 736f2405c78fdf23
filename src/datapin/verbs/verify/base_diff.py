"""What a commit changes in its datasets, against another one: the row diff that a report of `verify` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from datapin.base.errors import Damage, DatapinError
from datapin.git.ask import merge_base, resolve
from datapin.manifest.comparing.row_changes import compare_rows
from datapin.manifest.manifest import Manifest
from datapin.pins.read import Pins
from datapin.verbs.history.page.counts import CountBar, histogram
from datapin.verbs.workspace.bring import open_pinned
from datapin.verbs.workspace.workspace import Workspace

_COUNTED = ("label", "split")


@dataclass(frozen=True, slots=True)
class DatasetDiff:
    """Rows of one dataset that differ; `columns` says in how many changed rows each column does.

    `counts` has the values of `label` and `split` whose number of rows differs. `problem` says why nothing is known.
    """

    dataset: str
    added: int = 0
    removed: int = 0
    changed: int = 0
    columns: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, list[CountBar]] = field(default_factory=dict)
    problem: str = ""

    @property
    def differs(self) -> bool:
        """Whether any row does, as far as is known."""
        return bool(self.added or self.removed or self.changed or self.problem)


@dataclass(frozen=True, slots=True)
class BaseDiff:
    """The datasets that differ from the commit `base`: where both histories were one, seen from `rev`."""

    rev: str
    base: str
    datasets: list[DatasetDiff]


def diff_base(workspace: Workspace, rev: str, commit: str, now: Mapping[str, Manifest | DatapinError]) -> BaseDiff:
    """What `now` differs in from the last commit that `commit` and `rev` share, or from `rev` if there is none.

    `now` gives the manifest of each dataset, or why it cannot be read. Raises UnknownVersion if there is no `rev`.
    """
    base = merge_base(workspace.root, resolve(workspace.root, rev), commit) or resolve(workspace.root, rev)
    pinned = Pins.at(workspace.root, base)
    pinned.check()
    found = []
    for dataset in sorted(now.keys() | pinned.possible.keys()):
        try:
            pointer = pinned.possible.get(dataset)
            after = now.get(dataset)
            if isinstance(after, DatapinError):
                raise after
            diff = _compare(dataset, None if pointer is None else open_pinned(workspace, pointer), after)
        except Damage as error:
            if dataset not in now:
                continue  # a folder of that commit that is no dataset
            diff = DatasetDiff(dataset, problem=error.message)
        except DatapinError as error:
            diff = DatasetDiff(dataset, problem=error.message)
        if diff.differs:
            found.append(diff)
    return BaseDiff(rev, base, found)


def _compare(dataset: str, before: Manifest | None, after: Manifest | None) -> DatasetDiff:
    comparison = compare_rows(before, after)
    counts = {}
    for column in _COUNTED:
        bars = histogram(before, after, column)
        differing = [bar for bar in bars.bars if bar.before != bar.after] if bars is not None else []
        if differing:
            counts[column] = differing
    return DatasetDiff(
        dataset,
        len(comparison.added),
        len(comparison.removed),
        len(comparison.changed),
        dict(comparison.columns),
        counts,
    )
