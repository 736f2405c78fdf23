"""Whole tables through an operator that makes assets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import BadRows
from datapin.base.id_columns import IdMatrix, ids_from_hex, ids_to_hex
from datapin.manifest.columns.columns import one_array
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.map import CHUNK_ROWS, MapPlan, Rows, decode_results, map_rows
from datapin.pipeline.mapping.work import DeriveAssets
from datapin.pipeline.operators.operator import AssetOperator
from datapin.pipeline.record.fingerprint import memo_key

PIXELS = "pixels"
PNG = "image/png"


@dataclass(frozen=True, slots=True)
class DerivedAssets:
    """What became of each row's asset. Fields of broken rows are zero."""

    results: npt.NDArray[Any]  # of dtype RESULT
    problems: pa.Array  # string, null where there is a result
    notes: pa.Array  # string, what was odd about assets that have a result
    computed: int
    reused: int

    @property
    def is_broken(self) -> npt.NDArray[np.bool_]:
        """Which rows have a problem."""
        broken: npt.NDArray[np.bool_] = self.problems.is_valid().to_numpy(zero_copy_only=False)
        return broken

    @property
    def good(self) -> npt.NDArray[Any]:
        """The results of rows without a problem, in order."""
        return self.results[~self.is_broken]


def rows_of(table: pa.Table, copies: npt.NDArray[np.int64] | None = None, partners: IdMatrix | None = None) -> Rows:
    """The rows of a manifest, to be mapped; copy 0 unless `copies` says otherwise."""
    count = table.num_rows
    return Rows(
        one_array(table["key"]),
        ids_from_hex(table["asset_id"]),
        np.zeros(count, dtype=np.int64) if copies is None else copies,
        one_array(table["size"]).to_numpy(),
        partners,
    )


def derive_assets(rows: Rows, operator: AssetOperator, context: StageContext, *, title: str) -> DerivedAssets:
    """The operator on every row's asset. Raises AssetsMissing, DamagedAsset, StorageFailed, WorkersLost."""
    key = memo_key(operator.fingerprint, operator.environment)
    plan = MapPlan(DeriveAssets(operator, context.store.root), key, makes_assets=True, title=title)
    results, problems, notes = [], [], []
    computed = reused = 0
    for mapped in map_rows(rows.chunks(CHUNK_ROWS), plan, context, context.engine(), total=len(rows)):
        results.append(decode_results(mapped.values))
        problems.append(mapped.problems)
        notes.append(mapped.notes)
        computed += mapped.computed
        reused += mapped.reused
    if not results:
        nothing = pa.array([], pa.string())
        return DerivedAssets(decode_results(pa.array([], pa.binary())), nothing, nothing, 0, 0)
    return DerivedAssets(np.concatenate(results), pa.concat_arrays(problems), pa.concat_arrays(notes), computed, reused)


def with_assets(table: pa.Table, derived: DerivedAssets, *, media_type: str = PNG) -> pa.Table:
    """The rows with the assets that were made of theirs; `derived` must have one good result per row."""
    good = derived.good
    columns = {
        "asset_id": ids_to_hex(np.ascontiguousarray(good["id"])),
        "size": pa.array(good["size"].astype(np.int64)),
        "media_type": pa.array([media_type]).take(pa.array(np.zeros(len(good), dtype=np.int64))),
        PIXELS: pc.if_else(pa.array(good["has_pixels"]), ids_to_hex(np.ascontiguousarray(good["pixels"])), None),
    }
    if PIXELS in table.column_names and table[PIXELS].type != pa.string():
        raise BadRows(PIXELS, f"this column takes hashes of pixels; seen {table[PIXELS].type}, expected to be free")
    return with_columns(table, columns)


def with_columns(table: pa.Table, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    """The table with these columns in the place of those of the same name, or behind the others."""
    for name, column in columns.items():
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    return table
