"""Verbs that only ask, one method each: part of `Repo`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from datapin.arguments import Named, SomeNamed, Texts, at_least, texts

if TYPE_CHECKING:
    import pyarrow as pa

    from datapin.verbs.history.diff import DiffReport
    from datapin.verbs.history.log import LogEntry
    from datapin.verbs.history.row_log import RowLogEntry
    from datapin.verbs.lineage.trace import TraceReport
    from datapin.verbs.lineage.uses import UsesReport
    from datapin.verbs.lineage.why import WhyReport
    from datapin.verbs.workspace import reports
    from datapin.verbs.workspace.workspace import Workspace


class Questions:
    """The methods of `Repo` that change nothing."""

    _workspace: Workspace

    def show(self, selector: Named) -> reports.ShowReport:
        """A summary of one dataset version."""
        from datapin.verbs.rows.read import show

        return show(self._workspace, os.fspath(selector))

    def ls(
        self, selector: Named, *, where: str | None = None, columns: Texts | None = None, limit: int | None = None
    ) -> pa.Table:
        """Rows, in key order; all `columns` but long vectors, unless some are named."""
        from datapin.verbs.rows.read import list_rows

        at_least(0, limit=limit)
        wanted = None if columns is None else texts(columns)
        return list_rows(self._workspace, os.fspath(selector), where=where, columns=wanted, limit=limit)

    def query(self, sql: str) -> pa.Table:
        """The result of one SELECT over datasets named as `'data/raw@v1'`."""
        from datapin.verbs.rows.read import query

        return query(self._workspace, sql)

    def diff(
        self,
        dataset: Named,
        a: str | None = None,
        b: str | None = None,
        *,
        where: str | None = None,
        limit: int | None = None,
        html: str | Path | None = None,
    ) -> DiffReport:
        """Rows added, removed and changed from version `a` (HEAD) to version `b` (the work tree).

        `limit` bounds the rows that are listed, never the counts; `html` is a page to write, with pictures.
        """
        from datapin.verbs.history.diff import diff

        at_least(0, limit=limit)
        page = None if html is None else Path(html)
        return diff(self._workspace, os.fspath(dataset), a, b, where=where, limit=limit, html=page)

    def status(self, datasets: SomeNamed = (), *, ask: bool = False) -> reports.StatusReport:
        """Source tree against manifest, against HEAD, what is missing here and on the remote (`ask`: asked now)."""
        from datapin.verbs.status import status

        if ask:
            from datapin.verbs.remote.ask_remote import ask_remote

            ask_remote(self._workspace, texts(datasets))
        return status(self._workspace, texts(datasets))

    def log(self, selector: Named, *, limit: int | None = None) -> list[LogEntry]:
        """The versions of a dataset over Git's history, newest first."""
        from datapin.verbs.history.log import log

        at_least(1, limit=limit)
        return log(self._workspace, os.fspath(selector), limit=limit)

    def row_log(self, selector: Named, key: str, *, limit: int | None = None) -> list[RowLogEntry]:
        """The versions that changed one row, newest first: who, when, from what to what."""
        from datapin.verbs.history.row_log import row_log

        at_least(1, limit=limit)
        return row_log(self._workspace, os.fspath(selector), key, limit=limit)

    def trace(self, selector: Named, *, with_rows: bool = False) -> TraceReport:
        """What an output of a stage, a dataset, or one row (`DATASET:KEY`) was made from, back to the sources."""
        from datapin.verbs.lineage.trace import trace

        return trace(self._workspace, os.fspath(selector), with_rows=with_rows)

    def uses(self, selector: Named) -> UsesReport:
        """Which versions, splits and models used an asset: its id, or `DATASET:KEY`."""
        from datapin.verbs.lineage.uses import uses

        return uses(self._workspace, os.fspath(selector))

    def why(self, selector: Named) -> WhyReport:
        """Why a row (`DATASET:KEY`) was computed or reused: what differs from the version before."""
        from datapin.verbs.lineage.why import why

        return why(self._workspace, os.fspath(selector))
