"""`diff`: which rows two versions of a dataset do not share, and what has changed in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from datapin.base.errors import DatasetNotThere, UnknownDataset
from datapin.git.ask import has_commit
from datapin.manifest.comparing.diff import Comparison
from datapin.manifest.comparing.row_changes import RowChange, compare_rows, list_changes
from datapin.manifest.manifest import Manifest
from datapin.verbs.workspace.selector import select
from datapin.verbs.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class DiffReport:
    """What differs from `a` to `b`: counts are of all rows, `rows` holds as many as were asked for, in key order.

    `columns` says in how many changed rows each column differs.
    """

    a: str
    b: str
    added: int
    removed: int
    changed: int
    columns: dict[str, int]
    rows: list[RowChange]

    @property
    def differs(self) -> bool:
        """Whether any row does."""
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class _Side:
    """One version by its selector; without a manifest the dataset is not in that version."""

    name: str
    manifest: Manifest | None
    absence: DatasetNotThere | UnknownDataset | None = None


def diff(
    workspace: Workspace,
    dataset: str,
    a: str | None = None,
    b: str | None = None,
    *,
    where: str | None = None,
    limit: int | None = None,
    html: Path | None = None,
) -> DiffReport:
    """Rows added, removed and changed from version `a` (default: HEAD) to version `b` (default: the work tree).

    A version is what may follow `@`; `DATASET@A DATASET@B` says the same. A version without the dataset has no rows,
    unless neither has it. `where` keeps rows for which it is true before or after. `html` is a page to write.
    Raises UnknownDataset, UnknownVersion, ManifestMissing, BadQuery or StorageFailed.
    """
    text, _, version = dataset.partition("@")
    if version:
        a, b = version, a if b is None else b
    name = _canonical(workspace, text)
    a, b = (_bare(one, name, text) for one in (a, b))
    # Names are relative to where the user stands; this one is found already.
    workspace = replace(workspace, cwd=workspace.root)
    after = _side(workspace, name, b)
    before = _side(workspace, name, "HEAD" if a is None else a, is_implied=a is None)
    absence = after.absence or before.absence
    if before.manifest is None and after.manifest is None and absence is not None:
        raise absence
    for side in (before, after):
        if side.manifest is not None:
            side.manifest.keep_columns()
    comparison = compare_rows(before.manifest, after.manifest, where)
    if html is not None:
        from datapin.verbs.history.page.page import PageSides, write_page  # late: pictures (decision 0015)

        names = (a or "HEAD", b or "work tree")
        sides = PageSides(name, *names, before.manifest, after.manifest)
        write_page(workspace, html, sides, comparison, where)
    return _report(before, after, comparison, limit)


def _report(before: _Side, after: _Side, comparison: Comparison, limit: int | None) -> DiffReport:
    return DiffReport(
        a=before.name,
        b=after.name,
        added=len(comparison.added),
        removed=len(comparison.removed),
        changed=len(comparison.changed),
        columns=dict(comparison.columns),
        rows=list_changes(before.manifest, after.manifest, comparison, limit),
    )


def _canonical(workspace: Workspace, text: str) -> str:
    try:
        return workspace.known_name(text)
    except UnknownDataset:
        # It may be one of earlier versions only.
        return workspace.dataset_name(text, new=True)


def _bare(version: str | None, *names: str) -> str | None:
    for name in names:
        if version is not None and version.startswith(f"{name}@"):
            return version.removeprefix(f"{name}@") or "HEAD"
    return version


def _side(workspace: Workspace, dataset: str, version: str | None, *, is_implied: bool = False) -> _Side:
    name = dataset if version is None else f"{dataset}@{version}"
    if is_implied and not has_commit(workspace.root):
        return _Side(name, None)
    try:
        return _Side(name, select(workspace, name).manifest)
    except (DatasetNotThere, UnknownDataset) as error:
        return _Side(name, None, error)
