"""The front door: one repository, one method per verb; each returns a frozen report and prints nothing.

A verb is loaded when its method is called, so that no caller pays for the others (decision 0035).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from datapin.arguments import Named, Page, SomeNamed, Texts, at_least, one_of, texts
from datapin.base.progress import SILENT, Progress
from datapin.questions import Questions

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from datapin.checks.check import Check
    from datapin.dataset import Dataset, Fetch
    from datapin.manifest.merge import Side
    from datapin.pipeline.mapping.context import StageReport
    from datapin.store.store import RebuildReport
    from datapin.trees.checkout.checkout import CheckoutReport
    from datapin.verbs.merging.resolve import ResolveReport
    from datapin.verbs.recover import RecoverReport
    from datapin.verbs.rollback.rollback import RollbackReport
    from datapin.verbs.verify.verify import VerifyReport
    from datapin.verbs.workspace import reports
    from datapin.verbs.workspace.workspace import Workspace


class Repo(Questions):
    """A Git and DVC repository with datapin. Every method raises a DatapinError for what it foresees.

    Where names are given, one is as good as a sequence, and a `Path` as good as text.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @classmethod
    def find(cls, start: str | Path = ".", *, progress: Progress = SILENT, jobs: int | None = None) -> Repo:
        """The repository around `start`. Raises NoRepository if Git, DVC or datapin is not set up there."""
        from datapin.verbs.workspace.workspace import Workspace

        at_least(1, jobs=jobs)
        return cls(Workspace.find(Path(start), progress=progress, jobs=jobs))

    @classmethod
    def init(
        cls,
        start: str | Path = ".",
        *,
        remote: str | None = None,
        template: str | None = None,
        hooks: bool | None = None,
        ci: Literal["github", "gitlab"] | None = None,
        originals: SomeNamed = (),
        progress: Progress = SILENT,
    ) -> reports.InitReport:
        """Make the Git and DVC repository around `start` ready; safe to repeat.

        `hooks` puts our part into Git's hooks (the default) or takes it out for good, `ci` writes a job for a CI
        server, `originals` are folders to add from, which Git is to ignore.
        """
        from datapin.verbs.setup.initialise import TEMPLATES, initialise
        from datapin.verbs.setup.initialise_ci import SERVERS
        from datapin.verbs.workspace.workspace import Workspace

        one_of(TEMPLATES, template=template)
        one_of(SERVERS, ci=ci)
        workspace = Workspace.find(Path(start), progress=progress, must_be_ready=False)
        return initialise(workspace, remote=remote, template=template, hooks=hooks, ci=ci, originals=texts(originals))

    @property
    def root(self) -> Path:
        """The top folder of the repository."""
        return self._workspace.root

    def add(
        self,
        sources: SomeNamed,
        *,
        to: Named,
        label: str = "none",
        split: str = "none",
        metadata: Named | None = None,
        mirror: bool = False,
        strict: bool = False,
        again: bool = False,
        yes: bool = False,
        csv_delimiter: str | None = None,
        csv_encoding: str | None = None,
        key_column: str | None = None,
        rows: bool = False,
        asset_column: str | None = None,
        types: Mapping[str, str] | None = None,
        renames: Mapping[str, str] | None = None,
        confirm: Callable[[str], bool] | None = None,
    ) -> reports.AddReport:
        """Files and folders become assets and rows of the dataset `to`; all or nothing.

        `again` brings rows back that were removed, `yes` lets `mirror` drop more than half of the rows, `confirm` asks
        the user whether it may. `csv_delimiter` and the options below it say how `metadata` is read: `types` of
        columns (`{"label": "double"}`) and `renames` (`{"Group": "group"}`). With `rows` the sources are such tables,
        and their rows are added: assets are what `asset_column` holds, else all cells; `label` names a column.
        """
        from datapin.trees.intake.tables.table_rules import TableRules
        from datapin.verbs.rows.add import AddRules, add
        from datapin.verbs.rows.add_rows import add_rows

        table = TableRules(csv_delimiter, csv_encoding, key_column, types or {}, renames or {})
        joined = None if metadata is None else os.fspath(metadata)
        rules = AddRules(label, split, joined, mirror, strict, table, again, yes, rows, asset_column)
        return (add_rows if rows else add)(self._workspace, texts(sources), os.fspath(to), rules, confirm)

    def update(self, dataset: Named, assignments: Texts, *, where: str | None = None) -> reports.UpdateReport:
        """Set columns (`COL=SQL`) of the rows that match."""
        from datapin.verbs.rows.edit import update

        return update(self._workspace, os.fspath(dataset), texts(assignments), where)

    def remove(self, dataset: Named, *, where: str) -> reports.RemoveReport:
        """Take the rows that match out of the dataset."""
        from datapin.verbs.rows.edit import remove

        return remove(self._workspace, os.fspath(dataset), where)

    def write(self, dataset: Named, rows: pa.Table | pd.DataFrame) -> reports.AddReport:
        """Replace the dataset's rows by `rows`, of Arrow or pandas."""
        import pyarrow as pa

        from datapin.verbs.rows.edit import write

        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False)
        return write(self._workspace, os.fspath(dataset), table)

    def put(self, data: bytes) -> str:
        """Bytes become an asset of the local store; its id, for a row."""
        return str(self._workspace.store.put(data))

    def put_all(self, assets: Iterable[bytes]) -> list[str]:
        """As `put`, for many: published together, once."""
        with self._workspace.store.filling() as filling:
            return [str(filling.put(data)) for data in assets]

    def open(
        self, dataset: Named, *, version: str | None = None, where: str | None = None, fetch: Fetch = "auto"
    ) -> Dataset:
        """The dataset for reading, lazily; what is not here is fetched when it is read, unless `fetch="never"`."""
        from datapin.dataset import open_dataset

        return open_dataset(self._workspace, os.fspath(dataset), version=version, where=where, fetch=fetch)

    def checkout(
        self,
        selector: Named,
        *,
        into: str | Path,
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
        from datapin.trees.checkout.layout import LAYOUTS
        from datapin.verbs.checkout import checkout

        one_of(LAYOUTS, layout=layout)
        return checkout(
            self._workspace, os.fspath(selector), into=os.fspath(into), where=where, force=force, link=link,
            layout=layout, adopt=adopt, follow=follow,
        )  # fmt: skip

    def rollback(
        self,
        datasets: SomeNamed = (),
        *,
        to: str,
        every: bool = False,
        dry_run: bool = False,
        pin: bool = False,
        force: bool = False,
        lazy: bool = False,
    ) -> RollbackReport:
        """Bring datasets (`every`: all that DVC pins, and parameters) back as they were; the code stays.

        `pin` brings a stage's whole output back and freezes it, `force` keeps a copy of unsaved edits and goes on,
        `lazy` leaves on the remote what is not here.
        """
        from datapin.verbs.rollback.rollback import rollback

        return rollback(
            self._workspace, texts(datasets), to, every=every, dry_run=dry_run, pin=pin, force=force, lazy=lazy
        )  # fmt: skip

    def restore(self, datasets: SomeNamed = (), *, dry_run: bool = False) -> RollbackReport:
        """Bring rows to what the pointers in the work tree pin; a copy of edits that nothing keeps is made first."""
        from datapin.verbs.rollback.rollback import restore

        return restore(self._workspace, texts(datasets), dry_run=dry_run)

    def recover(self) -> RecoverReport:
        """Finish or undo what a command that was cut off has left."""
        from datapin.verbs.recover import recover

        return recover(self._workspace)

    def verify(
        self,
        rev: str | None = None,
        *,
        checks: Texts = (),
        remote: bool = False,
        remote_name: str | None = None,
        deep: bool = False,
        repro: bool = False,
        sample: int | None = None,
        base: str | None = None,
    ) -> VerifyReport:
        """Do the pins of the revision `rev`, or of the work tree, hold? `checks` are names of checks or groups.

        `remote`, `deep` and `repro` add the groups of that name, `sample` bounds the rows that `repro` computes again;
        `base` is a revision, to show which rows differ from it.
        """
        from datapin.verbs.verify.verify import verify

        at_least(1, sample=sample)
        return verify(
            self._workspace, rev, names=texts(checks), remote=remote, remote_name=remote_name, deep=deep, repro=repro,
            sample=sample, base=base,
        )  # fmt: skip

    @staticmethod
    def checks() -> tuple[Check, ...]:
        """Every check that `verify` knows, in the order in which they run."""
        from datapin.checks.register import CHECKS

        return CHECKS

    def run(
        self, stage: str, *, params_file: Named = "params.yaml", engine: str | None = None, preview: Page | None = None
    ) -> StageReport:
        """Run a stage on `engine` (local, dask, dask:ADDRESS), or show what augment does: `preview=(10, "x.html")`."""
        from datapin.verbs.stages import run

        return run(self._workspace, stage, os.fspath(params_file), engine, preview)

    def push(
        self,
        datasets: SomeNamed = (),
        *,
        remote: str | None = None,
        dry_run: bool = False,
        all_versions: bool = False,
        again: bool = False,
    ) -> reports.MoveReport:
        """Send what the remote lacks: packs, then index, then manifest shards, then the root record.

        `all_versions` sends those of Git's history, too; `again` looks at all that was pushed before, sends what is
        lost there and replaces what is damaged.
        """
        from datapin.verbs.remote.move import push

        return push(
            self._workspace, texts(datasets), remote=remote, dry_run=dry_run, all_versions=all_versions, again=again
        )

    def fetch(
        self,
        selectors: SomeNamed = (),
        *,
        remote: str | None = None,
        where: str | None = None,
        dry_run: bool = False,
        all_versions: bool = False,
    ) -> reports.MoveReport:
        """Bring what is missing here: manifests, then assets of the rows that match, verified before they are seen."""
        from datapin.verbs.remote.move import fetch

        return fetch(
            self._workspace, texts(selectors), remote=remote, where=where, dry_run=dry_run, all_versions=all_versions
        )

    def resolve(
        self,
        dataset: Named,
        *,
        side: Side | Literal["ours", "theirs"] | None = None,
        values: Mapping[str, str] | None = None,
        where: str | None = None,
    ) -> ResolveReport:
        """Decide conflicts of a merge (`where` says which); without a side or values they are listed."""
        from datapin.manifest.merge import Side
        from datapin.verbs.merging.resolve import Choice, resolve

        one_of([one.value for one in Side], side=side.value if isinstance(side, Side) else side)
        taken = None if side is None else Side(side)
        return resolve(self._workspace, os.fspath(dataset), Choice(taken, values or {}, where))

    def rebuild_index(self) -> RebuildReport:
        """Rebuild the local index from pack trailers and loose names."""
        return self._workspace.store.rebuild_index()

    def doctor(self) -> reports.FindingsReport:
        """What is wrong with the set-up, with the fix for each."""
        from datapin.verbs.setup.doctor import doctor

        return doctor(self._workspace)
