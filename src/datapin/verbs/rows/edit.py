"""`update`, `remove` and `datapin.write`: rows change, assets do not."""

from __future__ import annotations

import operator
import shlex
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import AssetsMissing, Refused, Usage
from datapin.base.id_columns import ids_from_hex
from datapin.manifest.columns.schema import fits, normalise
from datapin.manifest.edit import edit_manifest
from datapin.manifest.manifest import Manifest
from datapin.manifest.query import evaluate, select_rows
from datapin.verbs.own_stages import running_stage, write_output
from datapin.verbs.rows.commit_rows import commit_rows, previous_manifest
from datapin.verbs.rows.new_datasets import dataset_to_write
from datapin.verbs.rows.removed_rows import note_removed
from datapin.verbs.stages import stage_context
from datapin.verbs.workspace.reports import AddReport, RemoveReport, UpdateReport
from datapin.verbs.workspace.workspace import Workspace


def update(workspace: Workspace, name: str, assignments: Sequence[str], where: str | None) -> UpdateReport:
    """Set columns by SQL expressions. Raises BadQuery for SQL that does not run, Usage for a malformed COL=SQL."""
    expressions: dict[str, str] = {}
    for assignment in assignments:
        column, equals, expression = assignment.partition("=")
        if not equals or not column.strip() or not expression.strip():
            raise Usage(f"--set {assignment!r} is not COL=SQL", "for example --set \"label='7'\"")
        expressions[column.strip()] = expression.strip()
    dataset = workspace.dataset_name(name)
    with workspace.edit_lock(dataset):
        previous = _existing(workspace, dataset)
        numbers, values = evaluate(previous, expressions, where)
        upserts = pa.table({"key": _keys(previous).take(numbers)})
        for column in values.column_names:
            upserts = upserts.append_column(values.schema.field(column), values[column])
        retyped = _retyped(previous, values.schema)
        report = commit_rows(
            workspace,
            dataset,
            lambda staged: edit_manifest(previous, staged, upserts=upserts, removed=None, retyped=retyped),
        )
    return UpdateReport(dataset, report.changed, report.manifest.rows, report.manifest.digest)


def remove(workspace: Workspace, name: str, where: str) -> RemoveReport:
    """Take the rows that match out. Raises Refused if no row would be left."""
    dataset = workspace.dataset_name(name)
    with workspace.edit_lock(dataset):
        previous = _existing(workspace, dataset)
        rows = previous.to_table(columns=["key", "asset_id"]).take(select_rows(previous, where))
        removed = rows["key"].combine_chunks()
        if len(removed) == previous.rows:
            raise Refused(
                f"{dataset}: all {previous.rows} rows match {where!r}; a dataset needs at least one",
                f"to drop the dataset itself: `dvc remove {shlex.quote(f'{dataset}.dvc')}`",
            )
        report = commit_rows(
            workspace, dataset, lambda staged: edit_manifest(previous, staged, upserts=None, removed=removed)
        )
        note_removed(workspace, dataset, rows)
    return RemoveReport(dataset, report.removed, report.manifest.rows, report.manifest.digest)


def write(workspace: Workspace, name: str, rows: pa.Table) -> AddReport:
    """Replace all rows of the dataset by `rows`, as a change to commit.

    Inside a stage that puts the dataset out, as the stage's output instead, which DVC pins when the stage ends.
    Raises BadKeys or BadRows for rows that break the format, AssetsMissing for assets that neither the dataset nor the
    store knows.
    """
    dataset = dataset_to_write(workspace, name, workspace.pins())
    table = normalise(rows, where="the table")
    if not table.num_rows:
        raise Refused("the table has no rows; a dataset needs at least one", "check what was selected")
    if (stage := running_stage(workspace.root, dataset)) is not None:
        return write_output(workspace, stage_context(workspace), stage, dataset, table)
    with workspace.edit_lock(dataset):
        previous = previous_manifest(workspace, dataset)
        _refuse_unknown_assets(workspace, table, previous)
        gone = None
        if previous is not None:
            before = _keys(previous)
            gone = before.filter(pc.invert(pc.is_in(before, value_set=table["key"])))
        retyped = [] if previous is None else _retyped(previous, table.schema, unless=fits)
        dropped = [c for c in previous.schema.names if c not in table.column_names] if previous is not None else []
        report = commit_rows(
            workspace,
            dataset,
            lambda staged: edit_manifest(
                previous, staged, upserts=table, removed=gone, drop_columns=dropped, retyped=retyped
            ),
        )
    return AddReport(
        dataset, report.added, report.changed, report.removed, report.unchanged, report.manifest.rows, 0, 0,
        report.manifest.digest,
    )  # fmt: skip


def _retyped(
    previous: Manifest, schema: pa.Schema, unless: Callable[[pa.DataType, pa.DataType], bool] = operator.eq
) -> list[str]:
    """The columns whose type `schema` changes; one that had no values has no type to change."""
    before = {field.name: field.type for field in previous.schema if not pa.types.is_null(field.type)}
    return [
        field.name
        for field in schema
        if field.name in before and not pa.types.is_null(field.type) and not unless(field.type, before[field.name])
    ]


def _keys(manifest: Manifest) -> pa.Array:
    return manifest.to_table(columns=["key"])["key"].combine_chunks()


def _existing(workspace: Workspace, dataset: str) -> Manifest:
    previous = previous_manifest(workspace, dataset)
    if previous is None:
        raise Refused(f"{dataset} has no rows yet", f"run `datapin add FOLDER --to {shlex.quote(dataset)}`")
    return previous


def _refuse_unknown_assets(workspace: Workspace, table: pa.Table, previous: Manifest | None) -> None:
    wanted = pc.unique(table["asset_id"])
    if previous is not None:
        known = previous.to_table(columns=["asset_id"])["asset_id"]
        wanted = wanted.filter(pc.invert(pc.is_in(wanted, value_set=pc.unique(known))))
    absent = wanted.filter(pa.array(workspace.store.missing(ids_from_hex(wanted))))
    if len(absent):
        raise AssetsMissing(names=tuple(absent.slice(0, 20).to_pylist()), count=len(absent))
