"""`add --rows`: the rows of tables become rows; the asset of each is what one column holds, or all of its cells."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import BadRows, Refused, Usage, listed
from datapin.base.findings import Finding
from datapin.base.id_columns import IdMatrix, ids_to_hex
from datapin.base.ids import RAW_ID_BYTES
from datapin.manifest.columns.canonical_rows import MEDIA_TYPE, rows_as_bytes
from datapin.manifest.columns.columns import arrow_flags, flags, one_array
from datapin.manifest.columns.keys import check_keys
from datapin.manifest.edit import edit_manifest
from datapin.manifest.manifest import Manifest
from datapin.trees.intake.media import media_types
from datapin.trees.intake.metadata import read_metadata
from datapin.trees.intake.tables.column_kinds import Before
from datapin.trees.intake.tables.table_rules import TableRules
from datapin.verbs.rows.add import AddRules, case_findings, report_of
from datapin.verbs.rows.add_changes import AddChanges, Confirm, confirm_drop
from datapin.verbs.rows.commit_rows import commit_rows, previous_manifest
from datapin.verbs.rows.described import table_path
from datapin.verbs.rows.new_datasets import dataset_to_write
from datapin.verbs.rows.removed_rows import forget_removed, were_removed
from datapin.verbs.workspace.reports import AddReport
from datapin.verbs.workspace.workspace import Workspace

TOLD_BESIDE = ("key", "label", "split", "group")
"""Columns that say something about a row and are no part of its asset: the same cells with another label are one."""


def add_rows(
    workspace: Workspace, sources: Sequence[str], to: str, rules: AddRules, confirm: Confirm | None = None
) -> AddReport:
    """Add the rows of the tables `sources` to the dataset `to`; `confirm` asks the user where one is there.

    Raises Usage or BadRows for a table that cannot be read, BadKeys with every key that is unsafe; nothing changes
    then. Assets of an add that failed later stay in the store, invisible, and are used again by the next try.
    """
    if not sources or not all(sources):
        raise Usage("nothing to add", "name tables: datapin add reviews.csv --rows --to data/raw --key id")
    _refuse_rules_of_files(rules)
    pins = workspace.pins()
    dataset = dataset_to_write(workspace, to, pins)
    with workspace.edit_lock(dataset):
        previous = previous_manifest(workspace, dataset, pins)
        table, notes = _read(workspace, sources, rules, None if previous is None else Before(dataset, previous.schema))
        keys = one_array(table["key"])
        check_keys(keys, where=", ".join(sources))
        findings = notes + case_findings(keys, dataset, rules)
        assets, table = _assets(table, rules, ", ".join(sources))
        ids, new_assets, new_bytes = _stored(workspace, assets)
        sizes = pa.array([len(data) for data in assets], pa.int64())
        kind = _media_types(keys, rules, assets)
        given = {"key": keys, "asset_id": ids_to_hex(ids), "size": sizes, "media_type": kind}
        given |= {name: table[name] for name in table.column_names if name != "key"}
        changes = _changes(workspace, dataset, previous, pa.table(given), rules)
        if previous is not None and changes.removed is not None:
            confirm_drop(dataset, len(changes.removed), previous.rows, yes=rules.yes, confirm=confirm)
        report = commit_rows(
            workspace,
            dataset,
            lambda staged: edit_manifest(previous, staged, upserts=changes.table, removed=changes.removed),
        )
        forget_removed(workspace, dataset, one_array(changes.table["key"]))
    return report_of(dataset, report, new_assets, new_bytes, changes, [*findings, *changes.findings])


def _refuse_rules_of_files(rules: AddRules) -> None:
    if rules.metadata is not None:
        raise Usage("--metadata describes files, and --rows adds none", "leave one of the two out")
    if rules.split != "none":
        raise Usage("--split reads the folders of files, and --rows adds none", "name a column split in the table")


def _read(
    workspace: Workspace, sources: Sequence[str], rules: AddRules, before: Before | None
) -> tuple[pa.Table, list[Finding]]:
    """The tables as one, sorted by key; the label's column is called so. Raises Usage, BadRows."""
    tables, findings = [], []
    for source in sources:
        path = table_path(workspace, source)
        is_csv = path.suffix.lower() in (".csv", ".tsv")
        try:
            read = read_metadata(path, _table_rules(rules, is_csv=is_csv), before, are_rows=True)
        except Usage as error:
            raise _as_typed(error, rules) from None
        findings += [Finding("note", "table", source, note) for note in read.notes]
        tables.append(read.table)
    try:
        table = pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        where = ", ".join(sources)
        raise BadRows(
            where, f"their columns differ: {str(error).splitlines()[0][:200]}", "say the types: --types COL=text"
        ) from None
    if not table.num_rows:
        raise Refused(f"no rows in {listed([*sources])}", "write one row for each asset")
    table = table.sort_by("key").combine_chunks()
    keys = one_array(table["key"])
    again = np.flatnonzero(flags(pc.equal(keys[1:], keys[:-1])))
    if len(again):
        twice = listed(pc.unique(keys.take(pa.array(again))).to_pylist(), 5)
        raise BadRows(", ".join(sources), f"keys appear in two tables: {twice}", "keep one row for each key")
    return table, findings


def _table_rules(rules: AddRules, *, is_csv: bool) -> TableRules:
    """Those of the user, and what `--label` and `--asset-column` say about names and types."""
    table, renames = rules.table, dict(rules.table.renames)
    if rules.label not in ("none", "label"):
        if rules.label in renames:
            raise Usage(f"--label {rules.label}: --rename gives this column another name", "leave one of the two out")
        renames[rules.label] = "label"
    types = dict(table.types)
    if is_csv and rules.asset_column is not None:  # text is what is written, `007` and `2024-01-01` too
        types.setdefault(renames.get(rules.asset_column, rules.asset_column), "text")
    return replace(table, renames=renames, types=types)


def _as_typed(error: Usage, rules: AddRules) -> Usage:
    """The same error, naming the option that was typed and not what it stands for."""
    for seen, typed in (
        (f"--rename {rules.label}=label:", f"--label {rules.label}:"),
        (f"--types {rules.asset_column}:", f"--asset-column {rules.asset_column}:"),
    ):
        if error.what.startswith(seen):
            return Usage(typed + error.what.removeprefix(seen), error.advice)
    return error


def _assets(table: pa.Table, rules: AddRules, where: str) -> tuple[list[bytes], pa.Table]:
    """The asset of each row, and the table without what they hold already."""
    if rules.asset_column is None:
        cells = [name for name in table.column_names if name not in TOLD_BESIDE]
        if not cells:
            seen = listed(table.column_names)
            raise BadRows(where, f"no column is left for the assets, seen {seen}", "add columns, or use --asset-column")
        return rows_as_bytes(table.select(cells), where), table
    name = rules.table.renames.get(rules.asset_column, rules.asset_column)
    if name not in table.column_names or name in TOLD_BESIDE:
        has = f"its columns: {listed([one for one in table.column_names if one not in TOLD_BESIDE])}"
        raise Usage(f"--asset-column {rules.asset_column}: {where} has no such column for assets", has)
    column = one_array(table[name])
    if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
        advice = f"repeat with `--types {name}=text`"
        raise BadRows(where, f"column {name} is {column.type}, expected text or bytes", advice)
    if column.null_count:
        rows = listed(one_array(table["key"]).filter(column.is_null()).to_pylist(), 5)
        raise BadRows(
            where,
            f"column {name} is empty in {column.null_count} row(s): {rows}",
            f"fill {name} in, or drop these rows",
        )
    return column.cast(pa.binary()).to_pylist(), table.drop_columns(name)


def _media_types(keys: pa.Array, rules: AddRules, assets: Sequence[bytes]) -> pa.Array:
    if rules.asset_column is None:
        return pa.array([MEDIA_TYPE]).take(pa.array(np.zeros(len(keys), dtype=np.int64)))
    told = media_types(keys).dictionary_decode()
    is_text = pa.array([_is_text(data) for data in assets])
    unknown = pc.equal(told, "application/octet-stream")
    return pc.if_else(pc.and_(unknown, is_text), "text/plain", told)


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _stored(workspace: Workspace, assets: Sequence[bytes]) -> tuple[IdMatrix, int, int]:
    """Ids of all assets, those that the store lacks put into it: how many, and their bytes."""
    digests = [hashlib.sha256(data).digest() for data in assets]
    ids = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, RAW_ID_BYTES)
    missing = {digests[row]: assets[row] for row in np.flatnonzero(workspace.store.missing(ids)).tolist()}
    with workspace.progress.bar("add", len(assets), "row") as bar, workspace.store.filling() as filling:
        bar.advance(len(assets) - len(missing))
        for data in missing.values():
            filling.put(data)
            bar.advance(1)
    return ids, len(missing), sum(map(len, missing.values()))


def _changes(
    workspace: Workspace, dataset: str, previous: Manifest | None, table: pa.Table, rules: AddRules
) -> AddChanges:
    """Rows that were removed stay so unless they are asked for again; a mirror drops what the tables do not have."""
    if previous is None:
        return AddChanges(table, None)
    before, keys = previous.to_table(columns=["key"]), one_array(table["key"])
    findings, left_out = [], 0
    if not rules.again:
        is_new = ~flags(pc.is_in(keys, value_set=one_array(before["key"])))
        new = arrow_flags(is_new)
        assets = one_array(table["asset_id"])
        is_new[is_new] = were_removed(workspace, dataset, previous, keys.filter(new), assets.filter(new), fetch=True)
        left_out = int(is_new.sum())
        if left_out:
            removed = listed(keys.filter(arrow_flags(is_new)).to_pylist(), 5)
            message = f"{left_out} row(s) that were removed stay removed, though the table has them: {removed}"
            findings.append(Finding("note", "keys", dataset, message, "to bring them back, repeat with --again"))
            table = table.filter(arrow_flags(~is_new))
    gone = None
    if rules.mirror:
        gone = one_array(before["key"]).filter(pc.invert(pc.is_in(one_array(before["key"]), value_set=keys)))
    return AddChanges(table, gone, 0, left_out, findings)
