"""Augmented copies made once more, only to be compared: is each what its operator makes of the parent it names?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datapin.base.id_columns import IdMatrix
from datapin.base.ids import RAW_ID_BYTES
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.map import MapPlan, Rows, decode_results, map_rows
from datapin.pipeline.mapping.work import AssetBatch, AssetSource, derived_of
from datapin.pipeline.operators.operator import AssetOperator, Vectors
from datapin.pipeline.record.fingerprint import fingerprint_of

MADE = np.dtype([("id", "u1", (32,)), ("samples", "u1", (32,))])


@dataclass(frozen=True, slots=True)
class _MakeAgain:
    """Computation: AssetBatch to the MADE of each asset's copy; nothing is stored."""

    operator: AssetOperator
    store_root: Path

    def begin(self) -> Callable[[AssetBatch], Vectors]:
        """Nothing is opened before the first batch."""
        source, operator = AssetSource(self.store_root), self.operator

        def make(batch: AssetBatch) -> Vectors:
            values: list[bytes | None] = []
            problems: list[str | None] = []
            for derived in derived_of(operator, source, batch):
                if isinstance(derived, str):
                    values.append(None)
                    problems.append(derived)
                    continue
                assert derived.data is not None
                values.append(hashlib.sha256(derived.data).digest() + (derived.pixels or bytes(RAW_ID_BYTES)))
                problems.append(None)
            return Vectors(values, problems)

        return make


def make_again(rows: Rows, operator: AssetOperator, context: StageContext, *, title: str) -> tuple[IdMatrix, IdMatrix]:
    """Asset ids and hashes of the samples, each uint8 [n, 32], that copy `rows.copies` of each parent `rows.ids` has.

    Zeros where the parent is broken, and for samples of what is no image.

    Raises AssetsMissing, DamagedAsset, StorageFailed, WorkersLost.
    """
    key = fingerprint_of({"again": operator.fingerprint, "environment": dict(operator.environment)})
    plan = MapPlan(_MakeAgain(operator, context.store.root), key, makes_assets=False, title=title)
    made = np.zeros(len(rows), dtype=MADE)
    start = 0
    for mapped in map_rows(rows.chunks(), plan, context, context.engine(), total=len(rows)):
        made[start : start + len(mapped.rows)] = decode_results(mapped.values, MADE)
        start += len(mapped.rows)
    return made["id"].copy(), made["samples"].copy()
