"""The façade: one repository, one method per verb; each returns a frozen report and prints nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from datapin.base.progress import SILENT, Progress
from datapin.dataset import Dataset, Fetch, open_dataset
from datapin.manifest.merge import Side
from datapin.pipeline.mapping.context import StageReport
from datapin.store.store import RebuildReport
from datapin.trees.checkout.checkout import CheckoutReport
from datapin.trees.intake.tables.table_rules import TableRules
from datapin.verbs import checkout, recover, stages, status
from datapin.verbs.history import diff, log, row_log
from datapin.verbs.history.diff import DiffReport
from datapin.verbs.history.log import LogEntry
from datapin.verbs.history.row_log import RowLogEntry
from datapin.verbs.merging import resolve
from datapin.verbs.merging.resolve import ResolveReport
from datapin.verbs.recover import RecoverReport
from datapin.verbs.remote import ask_remote, move
from datapin.verbs.rollback import rollback
from datapin.verbs.rollback.rollback import RollbackReport
from datapin.verbs.rows import add, edit, read
from datapin.verbs.setup import doctor, initialise
from datapin.verbs.verify import verify
from datapin.verbs.verify.verify import VerifyReport
from datapin.verbs.workspace.reports import (
    AddReport,
    FindingsReport,
    InitReport,
    MoveReport,
    RemoveReport,
    ShowReport,
    StatusReport,
    UpdateReport,
)
from datapin.verbs.workspace.workspace import Workspace


class Repo:
    """A Git and DVC repository with datapin. Every method raises a DatapinError for what it foresees."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @classmethod
    def find(cls, start: str | Path = ".", *, progress: Progress = SILENT, jobs: int | None = None) -> Repo:
        """The repository around `start`. Raises NoRepository if Git, DVC or datapin is not set up there."""
        return cls(Workspace.find(Path(start), progress=progress, jobs=jobs))

    @classmethod
    def init(
        cls,
        start: str | Path = ".",
        *,
        remote: str | None = None,
        template: str | None = None,
        hooks: bool | None = None,
        progress: Progress = SILENT,
    ) -> InitReport:
        """Make the Git and DVC repository around `start` ready; safe to repeat."""
        workspace = Workspace.find(Path(start), progress=progress, must_be_ready=False)
        return initialise.initialise(workspace, remote=remote, template=template, hooks=hooks)

    @property
    def root(self) -> Path:
        """The top folder of the repository."""
        return self._workspace.root

    def add(
        self,
        sources: Sequence[str],
        *,
        to: str,
        label: str = "none",
        split: str = "none",
        metadata: str | None = None,
        mirror: bool = False,
        strict: bool = False,
        again: bool = False,
        yes: bool = False,
        csv_delimiter: str | None = None,
        csv_encoding: str | None = None,
        key_column: str | None = None,
        types: Mapping[str, str] | None = None,
        renames: Mapping[str, str] | None = None,
    ) -> AddReport:
        """Files and folders become assets and rows of the dataset `to`; all or nothing.

        `again` brings rows back that were removed, `yes` lets `mirror` drop more than half of the rows.
        `csv_delimiter` and the options below it say how `metadata` is read: `types` of columns (`{"label": "double"}`)
        and `renames` (`{"Group": "group"}`).
        """
        table = TableRules(csv_delimiter, csv_encoding, key_column, types or {}, renames or {})
        rules = add.AddRules(
            label=label, split=split, metadata=metadata, mirror=mirror, strict=strict, table=table, again=again, yes=yes
        )
        return add.add(self._workspace, sources, to, rules)

    def update(self, dataset: str, assignments: Sequence[str], *, where: str | None = None) -> UpdateReport:
        """Set columns (`COL=SQL`) of the rows that match."""
        return edit.update(self._workspace, dataset, assignments, where)

    def remove(self, dataset: str, *, where: str) -> RemoveReport:
        """Take the rows that match out of the dataset."""
        return edit.remove(self._workspace, dataset, where)

    def write(self, dataset: str, table: pa.Table) -> AddReport:
        """Replace the dataset's rows by those of `table`."""
        return edit.write(self._workspace, dataset, table)

    def put(self, data: bytes) -> str:
        """Bytes become an asset of the local store; its id, for a row."""
        return str(self._workspace.store.put(data))

    def put_all(self, assets: Iterable[bytes]) -> list[str]:
        """As `put`, for many: published together, once."""
        with self._workspace.store.filling() as filling:
            return [str(filling.put(data)) for data in assets]

    def open(
        self, dataset: str, *, version: str | None = None, where: str | None = None, fetch: Fetch = "auto"
    ) -> Dataset:
        """The dataset for reading, lazily; what is not here is fetched when it is read, unless `fetch="never"`."""
        return open_dataset(self._workspace, dataset, version=version, where=where, fetch=fetch)

    def show(self, selector: str) -> ShowReport:
        """A summary of one dataset version."""
        return read.show(self._workspace, selector)

    def ls(
        self,
        selector: str,
        *,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Rows, in key order."""
        return read.list_rows(self._workspace, selector, where=where, columns=columns, limit=limit)

    def query(self, sql: str) -> pa.Table:
        """The result of one SELECT over datasets named as `'data/raw@v1'`."""
        return read.query(self._workspace, sql)

    def diff(
        self,
        dataset: str,
        a: str | None = None,
        b: str | None = None,
        *,
        where: str | None = None,
        limit: int | None = None,
        html: str | Path | None = None,
    ) -> DiffReport:
        """Rows added, removed and changed from version `a` (HEAD) to version `b` (the work tree)."""
        return diff.diff(self._workspace, dataset, a, b, where=where, limit=limit, html=Path(html) if html else None)

    def status(self, datasets: Sequence[str] = (), *, ask: bool = False) -> StatusReport:
        """Source tree against manifest, against HEAD, what is missing here and on the remote (`ask`: asked now)."""
        if ask:
            ask_remote.ask_remote(self._workspace, datasets)
        return status.status(self._workspace, datasets)

    def log(self, selector: str, *, limit: int | None = None) -> list[LogEntry]:
        """The versions of a dataset over Git's history, newest first."""
        return log.log(self._workspace, selector, limit=limit)

    def row_log(self, selector: str, key: str, *, limit: int | None = None) -> list[RowLogEntry]:
        """The versions that changed one row, newest first: who, when, from what to what."""
        return row_log.row_log(self._workspace, selector, key, limit=limit)

    def checkout(
        self,
        selector: str,
        *,
        into: str,
        where: str | None = None,
        force: bool = False,
        link: bool | None = None,
        layout: str | None = None,
        adopt: bool = False,
        follow: bool | None = None,
    ) -> CheckoutReport:
        """Write the files of the rows that match into a folder; only what differs.

        `layout` is `key`, `class` or `split-class`, `link` makes links of large files, `follow` lets rollbacks move the
        files along; None: as the last time there. `adopt` takes equal files that are there as datapin's.
        """
        return checkout.checkout(
            self._workspace, selector, into=into, where=where, force=force, link=link, layout=layout, adopt=adopt,
            follow=follow,
        )  # fmt: skip

    def rollback(
        self,
        datasets: Sequence[str] = (),
        *,
        to: str,
        every: bool = False,
        dry_run: bool = False,
        pin: bool = False,
        force: bool = False,
        lazy: bool = False,
    ) -> RollbackReport:
        """Bring datasets (`every`: all that DVC pins, and parameters) back as they were; the code stays."""
        return rollback.rollback(
            self._workspace, datasets, to, every=every, dry_run=dry_run, pin=pin, force=force, lazy=lazy
        )

    def restore(self, datasets: Sequence[str] = (), *, dry_run: bool = False) -> RollbackReport:
        """Bring rows to what the pointers in the work tree pin; a copy of edits that nothing keeps is made first."""
        return rollback.restore(self._workspace, datasets, dry_run=dry_run)

    def recover(self) -> RecoverReport:
        """Finish or undo what a command that was cut off has left."""
        return recover.recover(self._workspace)

    def verify(
        self,
        rev: str | None = None,
        *,
        checks: Sequence[str] = (),
        remote: bool = False,
        deep: bool = False,
        repro: bool = False,
        sample: int | None = None,
    ) -> VerifyReport:
        """Do the pins of the revision `rev`, or of the work tree, hold? `checks` are names of checks or groups."""
        return verify.verify(self._workspace, rev, names=checks, remote=remote, deep=deep, repro=repro, sample=sample)

    def run(self, stage: str, *, params_file: str = "params.yaml") -> StageReport:
        """Run one pipeline stage."""
        return stages.run(self._workspace, stage, params_file)

    def push(self, datasets: Sequence[str] = (), *, remote: str | None = None, dry_run: bool = False) -> MoveReport:
        """Send what the remote lacks: packs, then index, then manifest shards, then the root record."""
        return move.push(self._workspace, datasets, remote=remote, dry_run=dry_run)

    def resolve(
        self,
        dataset: str,
        *,
        side: Side | None = None,
        values: Mapping[str, str] | None = None,
        where: str | None = None,
    ) -> ResolveReport:
        """Decide conflicts of a merge; without a side or values they are listed."""
        return resolve.resolve(self._workspace, dataset, resolve.Choice(side, values or {}, where))

    def fetch(
        self,
        selectors: Sequence[str] = (),
        *,
        remote: str | None = None,
        where: str | None = None,
        dry_run: bool = False,
    ) -> MoveReport:
        """Bring what is missing here: manifests, then assets, verified before they are visible."""
        return move.fetch(self._workspace, selectors, remote=remote, where=where, dry_run=dry_run)

    def rebuild_index(self) -> RebuildReport:
        """Rebuild the local index from pack trailers and loose names."""
        return self._workspace.store.rebuild_index()

    def doctor(self) -> FindingsReport:
        """What is wrong with the set-up, with the fix for each."""
        return doctor.doctor(self._workspace)
