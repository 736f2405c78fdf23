"""prepare: which rows are fit for use, in what form, and which split they are in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import DamagedAsset, StageRefused, listed
from datapin.base.findings import Finding
from datapin.manifest.columns.columns import one_array
from datapin.pipeline.kinds.kind import DataKind, kind_named
from datapin.pipeline.mapping.context import StageContext, StageReport
from datapin.pipeline.mapping.derived import DerivedAssets, derive_assets, rows_of, with_assets, with_columns
from datapin.pipeline.mapping.map import name_damaged_row
from datapin.pipeline.mapping.output import open_input, output_place, previous_of, properties_from
from datapin.pipeline.operators.notes import note_findings, row_findings
from datapin.pipeline.params.params import read_params
from datapin.pipeline.params.stages import PrepareParams
from datapin.pipeline.splits.classes import CLASSES, check_classes, pinned_classes
from datapin.pipeline.splits.duplicates import settle_duplicates
from datapin.pipeline.splits.pixel_columns import settle_pixel_columns
from datapin.pipeline.splits.splitting import crossing_rows, keep_given, split_by_hash, units_of

STAGE = "prepare"

BoolColumn = npt.NDArray[np.bool_]


def run_prepare(context: StageContext, params_file: Path) -> StageReport:
    """Run the stage with its section of the params file. Raises BadSettings, StageRefused and what storage raises."""
    return prepare(context, read_params(params_file, STAGE, PrepareParams))


def prepare(context: StageContext, params: PrepareParams) -> StageReport:
    """Run the stage: the output manifest is swapped in whole, or nothing changes."""
    with output_place(context, STAGE, params.output, [params.input]) as place:
        source = open_input(context, STAGE, params.input)
        previous = previous_of(context, params.output)
        work = _Work(params, kind_named(params.kind), source.to_table(), [])
        work.settle_labels()
        computed, reused = work.settle_assets(context)
        work.table, findings = settle_duplicates(work.table, params.duplicates, params.input)
        work.findings += findings
        if not work.table.num_rows:
            raise StageRefused(
                STAGE, f"no row of {params.input} is left", "see what was dropped with `on_broken: refuse`"
            )
        work.settle_split()
        work.findings += work.kind.findings(work.table, params, context)
        classes = pinned_classes(work.table, params.classes, STAGE)
        properties = properties_from(source, params.input)
        properties.pop(CLASSES, None)
        if classes is not None:
            properties[CLASSES] = json.dumps(classes, ensure_ascii=False)
            work.findings += check_classes(work.table, classes, previous, params.output)
        written = place.write(work.table.drop_columns([_SOURCE_ID]), properties, previous)
    return StageReport(
        STAGE, written.rows, computed, reused, source.rows - written.rows, tuple(work.findings), written.digest
    )


_SOURCE_ID = "datapin source id"
"""A column that lives only here: the asset a row had in the input. Splits depend on it, not on the encoding."""


@dataclass(slots=True)
class _Work:
    """The rows on their way through the stage."""

    params: PrepareParams
    kind: DataKind
    table: pa.Table
    findings: list[Finding]

    def __post_init__(self) -> None:
        self.table = self.table.append_column(_SOURCE_ID, self.table["asset_id"])

    def settle_labels(self) -> None:
        """Rows without a label are dropped, kept, or a reason to refuse."""
        if "label" in self.table.column_names:
            label = one_array(self.table["label"])
            is_missing = label.is_null(nan_is_null=True)
            if pa.types.is_string(label.type):
                is_missing = pc.or_(is_missing, pc.fill_null(pc.equal(label, ""), False))
            missing = is_missing.to_numpy(zero_copy_only=False)
            self._set("label", pc.if_else(is_missing, None, label))  # an empty label is no label
        else:
            missing = np.ones(self.table.num_rows, dtype=bool)
        if not missing.any() or self.params.on_unlabelled == "keep":
            return
        keys = self._keys(missing)
        if self.params.on_unlabelled == "refuse":
            advice = "label them with `datapin update`, or set on_unlabelled: drop or keep in params.yaml"
            raise StageRefused(STAGE, f"{len(keys)} row(s) have no label: {listed(keys, 5)}", advice)
        self._report("unlabelled", keys, ["has no label"] * len(keys))
        self._keep(~missing)

    def settle_assets(self, context: StageContext) -> tuple[int, int]:
        """Assets that do not decode are dropped or refused; the others take the asked form. Rows computed, reused."""
        operator = self.kind.prepare(self.params)
        chosen = self._rows_to_map(context)
        if not chosen.any():
            return 0, 0
        part = self.table.filter(pa.array(chosen))
        try:
            derived = derive_assets(rows_of(part), operator, context, title=STAGE)
        except DamagedAsset as error:
            raise name_damaged_row(error, one_array(part["key"]), one_array(part["asset_id"])) from None
        broken = chosen.copy()
        broken[chosen] = derived.is_broken
        self.findings += note_findings(self.kind.name, one_array(part["key"]), derived.notes, self.params.input)
        if broken.any():
            self._settle_broken(broken, derived.problems.drop_null().to_pylist())
        if self.params.makes_assets:
            self._replace(derived, operator.fingerprint)
            if self.params.places is not None:
                moved, dataset = pa.array(derived.good["is_moved"]), self.params.input
                settled = settle_pixel_columns(self.table, moved, self.params.places, stage=STAGE, dataset=dataset)
                self.table = settled.table
                self.findings += settled.findings
        return derived.computed, derived.reused

    def settle_split(self) -> None:
        """Every row gets a split; rows that share a group or an asset get the same one, or the stage refuses."""
        names = self.table.column_names
        groups = one_array(self.table["group"]) if "group" in names else None
        units = units_of(groups, one_array(self.table[_SOURCE_ID]), one_array(self.table["asset_id"]))
        if units.bridged:
            message = f"{units.bridged} group(s) share assets with another group and were kept in its split"
            advice = "check the group column: the same asset belongs to two groups"
            self.findings.append(Finding("warning", "groups-share-assets", self.params.input, message, advice))
        split = split_by_hash(units, self.params.split, self.params.seed)
        if "split" in names and self.params.keep_split:
            split = keep_given(units, one_array(self.table["split"]), split)
            crossing = crossing_rows(units, split)
            if len(crossing):
                keys = one_array(self.table["key"]).take(pa.array(crossing[:20])).to_pylist()
                shared = "an asset" if groups is None else "an asset or group"
                raise StageRefused(
                    STAGE,
                    f"{len(crossing)} row(s) share {shared} with a row of another split: {listed(keys, 5)}",
                    "correct the split column with `datapin update`, or set keep_split: false in params.yaml",
                )
        elif self.params.keep_split:
            raise StageRefused(STAGE, f"keep_split is set, but {self.params.input} has no split column")
        elif "split" in names:
            message = "the split column was replaced by a split by hash"
            advice = "set keep_split: true in params.yaml to keep it"
            self.findings.append(Finding("warning", "split-replaced", self.params.input, message, advice))
        self._set("split", split)
        seen = set(split.unique().to_pylist())
        for name in self.params.split:
            if name not in seen:
                message = f"the split {name!r} has no rows"
                self.findings.append(Finding("warning", "empty-split", self.params.output, message))

    def _rows_to_map(self, context: StageContext) -> BoolColumn:
        if self.params.makes_assets:
            return np.ones(self.table.num_rows, dtype=bool)
        return self.kind.rows_to_decode(self.table, context)

    def _settle_broken(self, broken: BoolColumn, problems: Sequence[str]) -> None:
        keys = self._keys(broken)
        if self.params.on_broken == "refuse":
            named = [f"{key} ({problem})" for key, problem in zip(keys, problems, strict=True)]
            advice = "remove them with `datapin remove`, or set on_broken: drop in params.yaml"
            for setting, most in self.kind.limits.items():
                if any(setting in problem for problem in problems):
                    advice += f"; {setting} in params.yaml may be raised to {most}"
            raise StageRefused(STAGE, f"{len(keys)} broken {self.kind.noun}(s): {listed(named, 5)}", advice)
        self._report(f"broken-{self.kind.name}", keys, problems)
        self._keep(~broken)

    def _replace(self, derived: DerivedAssets, fingerprint: str) -> None:
        """Put the new assets in; a row whose asset changed names the one it came from."""
        before = self.table
        self.table = with_assets(self.table, derived, media_type=self.kind.media_type)
        changed = pc.not_equal(self.table["asset_id"], before["asset_id"])
        lineage = {"parent": before["key"], "parent_id": before["asset_id"], "operator": pa.scalar(fingerprint)}
        for name, value in lineage.items():
            old = before[name] if name in before.column_names else pa.scalar(None, pa.string())
            self._set(name, pc.if_else(changed, value, old))

    def _keys(self, chosen: BoolColumn) -> list[str]:
        keys: list[str] = self.table["key"].filter(pa.array(chosen)).to_pylist()
        return keys

    def _keep(self, chosen: BoolColumn) -> None:
        self.table = self.table.filter(pa.array(chosen))

    def _set(self, name: str, column: pa.Array | pa.ChunkedArray) -> None:
        self.table = with_columns(self.table, {name: column})

    def _report(self, check: str, keys: Sequence[str], problems: Sequence[str]) -> None:
        messages = [f"{problem}; the row was dropped" for problem in problems]
        self.findings += row_findings(check, keys, messages, self.params.input)
