"""augment: more rows from the train rows, stored as assets, or only as the recipe that makes them while training."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import DamagedAsset, StageRefused, listed
from datapin.base.findings import Finding
from datapin.base.id_columns import IdMatrix, ids_from_hex, ids_to_hex
from datapin.manifest.columns.columns import one_array
from datapin.manifest.manifest import Manifest
from datapin.pipeline.kinds.kind import DataKind, kind_named
from datapin.pipeline.mapping.context import StageContext, StageReport
from datapin.pipeline.mapping.derived import derive_assets, rows_of, with_assets, with_columns
from datapin.pipeline.mapping.map import name_damaged_row
from datapin.pipeline.mapping.output import (
    OutputPlace,
    inputs_of,
    open_input,
    output_place,
    previous_of,
    properties_from,
)
from datapin.pipeline.operators.notes import note_findings
from datapin.pipeline.operators.operator import CopyOperator
from datapin.pipeline.operators.partners import PARTNER, choose_partners, with_partner
from datapin.pipeline.operators.recipe import RECIPE, TRAIN, recipe_of
from datapin.pipeline.params.params import read_params
from datapin.pipeline.params.stages import AugmentParams, PrepareParams
from datapin.pipeline.splits.leaks import own_train_assets, refuse_leaks
from datapin.pipeline.splits.pixel_columns import settle_pixel_columns
from datapin.pipeline.splits.split_rule import SOURCE_COLUMNS, rows_off_rule

STAGE = "augment"


def run_augment(context: StageContext, params_file: Path) -> StageReport:
    """Run the stage with its section of the params file. Raises BadSettings, StageRefused and what storage raises."""
    preparing = read_params(params_file, "prepare", PrepareParams)
    return augment(context, read_params(params_file, STAGE, AugmentParams), preparing)


def augment(context: StageContext, params: AugmentParams, preparing: PrepareParams | None = None) -> StageReport:
    """Run the stage: the output manifest is swapped in whole, or nothing changes.

    With the params of prepare, rows whose split is not the one that it gives them are refused, too.
    """
    _refuse_other_splits(params)
    kind = kind_named(params.kind)
    with output_place(context, STAGE, params.output, [params.input]) as place:
        source = open_input(context, STAGE, params.input)
        table = source.to_table()
        refuse_unfit(params, table)
        if preparing is not None:
            _refuse_edited_splits(context, params, preparing, source, table)
        if params.mode == "online":
            return _write_recipe(context, params, kind, place, source, table)
        return _write_copies(context, params, kind, place, source, table)


def _refuse_other_splits(params: AugmentParams) -> None:
    if params.splits != [TRAIN]:
        others = [name for name in params.splits if name != TRAIN]
        seen = f"the splits {listed(others)} would be augmented" if others else "no split is named"
        raise StageRefused(
            STAGE, f"{seen}; only train rows ever are", "set splits: [train] in params.yaml: anything else leaks"
        )


def refuse_unfit(params: AugmentParams, table: pa.Table) -> None:
    """Raises StageRefused if these rows may not be augmented, whatever stage wrote them."""
    _refuse_other_splits(params)
    if "split" not in table.column_names:
        raise StageRefused(STAGE, f"{params.input} has no split column", "run `datapin run prepare` first")
    refuse_leaks(STAGE, params.input, table)


def _refuse_edited_splits(
    context: StageContext, params: AugmentParams, preparing: PrepareParams, source: Manifest, table: pa.Table
) -> None:
    """Held against the dataset that prepare read, if it lies here as it was then; else `datapin verify` does it."""
    folder = context.root / preparing.input
    recorded = inputs_of(source).get(preparing.input)
    if params.input != preparing.output or recorded is None or not folder.is_dir():
        return
    raw = Manifest.open(folder, preparing.input)
    if raw.digest != recorded:
        return
    before = raw.to_table([name for name in SOURCE_COLUMNS if name in raw.schema.names])
    off = rows_off_rule(table, before, preparing)
    if len(off):
        chosen = table.select(["key", "split"]).take(pa.array(off[:5]))
        rows = [
            f"{key} ({split})"
            for key, split in zip(*(chosen[name].to_pylist() for name in ("key", "split")), strict=True)
        ]
        raise StageRefused(
            STAGE,
            f"{params.input}: {len(off)} row(s) are not in the split that prepare gives them: "
            f"{listed(rows + [''] * (len(off) - len(rows)), 5)}",
            f"run `dvc repro prepare`; to place rows by hand give {preparing.input} a split and set keep_split: true",
        )


def _write_recipe(
    context: StageContext,
    params: AugmentParams,
    kind: DataKind,
    place: OutputPlace,
    source: Manifest,
    table: pa.Table,
) -> StageReport:
    operator = kind.copy(params, context.root)
    if with_partner(operator) is not None:
        advice = "set mode: offline in params.yaml, or leave out the operators that mix two rows"
        raise StageRefused(STAGE, "its operators take a second train row, which a recipe does not have", advice)
    is_train = pc.fill_null(pc.equal(one_array(table["split"]), TRAIN), False)
    table, findings = _settled(table, pc.and_(is_train, pa.scalar(operator.moves_places)), params)
    properties = {**properties_from(source, params.input), RECIPE: recipe_of(operator)}
    written = place.write(table, properties, previous_of(context, params.output))
    return StageReport(STAGE, written.rows, 0, 0, 0, tuple(findings), written.digest)


def _settled(table: pa.Table, moved: pa.Array, params: AugmentParams) -> tuple[pa.Table, list[Finding]]:
    """The rows after the rule for columns that name places in an asset, where copies hold things elsewhere."""
    if params.places is None:
        return table, []
    settled = settle_pixel_columns(table, moved, params.places, stage=STAGE, dataset=params.input, is_copy=True)
    return settled.table, settled.findings


def _write_copies(
    context: StageContext,
    params: AugmentParams,
    kind: DataKind,
    place: OutputPlace,
    source: Manifest,
    table: pa.Table,
) -> StageReport:
    operator = kind.copy(params, context.root)
    row, copy = planned(table, params)
    parents = table.take(pa.array(row))
    findings: tuple[Finding, ...] = () if len(row) else (_nothing_to_do(params),)
    computed = reused = 0
    if len(row):
        try:
            partners = partners_of(operator, parents, copy, table, params.input)
            derived = derive_assets(rows_of(parents, copy, partners), operator, context, title=STAGE)
        except DamagedAsset as error:
            raise name_damaged_row(error, one_array(table["key"]), one_array(table["asset_id"])) from None
        _refuse_broken(parents, derived.problems)
        parents, settled = _settled(parents, pa.array(derived.good["is_moved"]), params)
        findings = (*note_findings(kind.name, one_array(parents["key"]), derived.notes, params.input), *settled)
        made = with_assets(parents, derived, media_type=kind.media_type)
        children = _children(made, parents, copy, operator.fingerprint, kind)
        if partners is not None:
            children = with_columns(children, {PARTNER: ids_to_hex(partners)})
        _refuse_collisions(table, children, params.input)
        table = pa.concat_tables([table, children.cast(_same_types(children, table))], promote_options="default")
        computed, reused = derived.computed, derived.reused
    written = place.write(table, properties_from(source, params.input), previous_of(context, params.output))
    return StageReport(STAGE, written.rows, computed, reused, 0, findings, written.digest)


def partners_of(
    operator: CopyOperator, parents: pa.Table, copy: npt.NDArray[np.int64], table: pa.Table, dataset: str
) -> IdMatrix | None:
    """The second train asset of each copy, if the operator takes one; never of val or test, nor a copy's own."""
    taker = with_partner(operator)
    if taker is None:
        return None
    if PARTNER in table.column_names and not pa.types.is_string(table[PARTNER].type):
        advice = f"give it another name: `datapin update {dataset} --drop-column {PARTNER}`"
        raise StageRefused(STAGE, f"{dataset} has a column {PARTNER} of its own, which copies need", advice)
    try:
        return choose_partners(taker, ids_from_hex(parents["asset_id"]), copy, own_train_assets(table))
    except ValueError as error:
        advice = "add more train rows, or leave out the operators that mix two rows"
        raise StageRefused(STAGE, f"a copy mixes two train rows, seen {error} in train", advice) from None


def planned(table: pa.Table, params: AugmentParams) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which rows become parents, one entry per child, and the child's number, from 1. Only train rows are there."""
    is_train = pc.fill_null(pc.equal(one_array(table["split"]), TRAIN), False).to_numpy(zero_copy_only=False)
    counts = np.where(is_train, _copies_per_row(table, params), 0)
    row = np.repeat(np.arange(table.num_rows), counts)
    ends = np.cumsum(counts)
    copy = np.arange(len(row)) - np.repeat(ends - counts, counts) + 1
    return row, copy


def _copies_per_row(table: pa.Table, params: AugmentParams) -> npt.NDArray[np.int64]:
    if isinstance(params.copies, int):
        return np.full(table.num_rows, params.copies, dtype=np.int64)
    if "label" not in table.column_names or not pa.types.is_string(table["label"].type):
        raise StageRefused(STAGE, "copies are given per class, but the rows have no classes", "give one number instead")
    labels = one_array(table["label"]).dictionary_encode()
    known = [name for name in labels.dictionary.to_pylist() if name is not None]
    unknown = [name for name in params.copies if name not in known]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        advice = f"did you mean {close[0]!r}?" if close else f"classes: {listed(sorted(known))}"
        raise StageRefused(STAGE, f"copies names the class {unknown[0]!r}, which no row has", advice)
    per_class = np.array([params.copies.get(name, 0) for name in labels.dictionary.to_pylist()], dtype=np.int64)
    codes = labels.indices.fill_null(0).to_numpy()
    per_row = per_class[codes] if len(per_class) else np.zeros(table.num_rows, dtype=np.int64)
    return np.where(labels.is_valid().to_numpy(zero_copy_only=False), per_row, 0)


def _children(
    derived: pa.Table, parents: pa.Table, copy: npt.NDArray[np.int64], fingerprint: str, kind: DataKind
) -> pa.Table:
    """Rows of the copies: what they do not have of their own, they inherit."""
    stems = pc.replace_substring_regex(one_array(parents["key"]), rf"(?i)\.({kind.endings})$", "")
    numbers = pa.array(copy).cast(pa.string())
    lineage = {
        "key": pc.binary_join_element_wise(stems, "~", numbers, kind.ending, ""),
        "parent": parents["key"],
        "parent_id": parents["asset_id"],
        "operator": pa.array([fingerprint]).take(pa.array(np.zeros(len(copy), dtype=np.int64))),
    }
    return with_columns(derived, lineage)


def _same_types(children: pa.Table, table: pa.Table) -> pa.Schema:
    """The children's schema with the types of the rows they join."""
    return pa.schema([table.schema.field(f.name) if f.name in table.column_names else f for f in children.schema])


def _refuse_broken(parents: pa.Table, problems: pa.Array) -> None:
    broken = problems.is_valid()
    if pc.any(broken).as_py():
        keys, texts = parents["key"].filter(broken).to_pylist(), problems.filter(broken).to_pylist()
        named = dict(zip(keys, texts, strict=True))
        raise StageRefused(
            STAGE,
            f"{len(named)} train row(s) cannot be augmented: {listed([f'{k} ({t})' for k, t in named.items()], 5)}",
            "let prepare drop them (on_broken: drop and a resize or mode), or set copies: 0",
        )


def _refuse_collisions(table: pa.Table, children: pa.Table, dataset: str) -> None:
    keys = one_array(children["key"])
    taken = pc.is_in(keys, value_set=one_array(table["key"]))
    counts = keys.value_counts()
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    names = sorted({*keys.filter(taken).to_pylist(), *twice.to_pylist()})
    if names:
        raise StageRefused(
            STAGE,
            f"{len(names)} key(s) of copies are taken already: {listed(names, 5)}",
            f"rename these rows of {dataset}, or the assets that differ only in their ending",
        )


def _nothing_to_do(params: AugmentParams) -> Finding:
    message = "no copies were asked for, or no row is in the split train"
    return Finding("warning", "nothing-augmented", params.output, message, "check copies in params.yaml")
