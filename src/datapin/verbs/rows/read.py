"""`show`, `ls` and `query`: questions to manifests; they change nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import Usage
from datapin.manifest.manifest import Manifest
from datapin.manifest.query import run_query, select_rows
from datapin.verbs.workspace.reports import ShowReport
from datapin.verbs.workspace.selector import select
from datapin.verbs.workspace.workspace import Workspace


def show(workspace: Workspace, selector: str) -> ShowReport:
    """A summary of one dataset version."""
    selected = select(workspace, selector)
    manifest = selected.manifest
    return ShowReport(
        dataset=selected.name,
        digest=manifest.digest,
        rows=manifest.rows,
        bytes=manifest.bytes,
        shards=len(manifest.shards),
        columns=[{"name": field.name, "type": str(field.type)} for field in manifest.schema],
        labels=_counts(manifest, "label"),
        splits=_counts(manifest, "split"),
        properties=dict(manifest.properties),
    )


def list_rows(
    workspace: Workspace, selector: str, *, where: str | None, columns: Sequence[str] | None, limit: int | None
) -> pa.Table:
    """Rows in key order; vectors are left out unless they are asked for."""
    manifest = select(workspace, selector).manifest
    names = list(columns) if columns else [f.name for f in manifest.schema if not pa.types.is_fixed_size_list(f.type)]
    unknown = [name for name in names if name not in manifest.schema.names]
    if unknown:
        raise Usage(f"{selector} has no column {unknown[0]!r}", f"columns: {', '.join(manifest.schema.names)}")
    table = manifest.to_table(columns=names).select(names)  # in the order they were asked for, not the manifest's
    if where is not None:
        table = table.take(select_rows(manifest, where))
    return table if limit is None else table.slice(0, limit)


def query(workspace: Workspace, sql: str) -> pa.Table:
    """The result of one SELECT over `'DATASET[@REV]'` tables."""
    return run_query(sql, lambda name: select(workspace, name).manifest)


def _counts(manifest: Manifest, column: str) -> dict[str, int]:
    if column not in manifest.schema.names:
        return {}
    counts = pc.value_counts(manifest.to_table(columns=[column])[column])
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    return {str(value): count for value, count in sorted(pairs, key=lambda pair: (pair[0] is None, str(pair[0])))}
