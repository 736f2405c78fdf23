"""What augment would do to a few rows, for people to look at: nothing is stored, no dataset changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base.id_columns import IdMatrix, ids_from_hex, ids_to_hex
from datapin.base.ids import AssetId
from datapin.manifest.columns.columns import one_array
from datapin.pipeline.kinds.kind import kind_named
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.output import open_input
from datapin.pipeline.operators.look import Appearance
from datapin.pipeline.operators.operator import AssetBroken, CopyOperator, Derived
from datapin.pipeline.operators.partners import with_partner
from datapin.pipeline.params.stages import AugmentParams
from datapin.pipeline.stages.augment import STAGE, partners_of, planned, refuse_unfit


@dataclass(frozen=True, slots=True)
class PreviewedRow:
    """A row, and one copy of it; of what cannot be copied the look says why."""

    key: str
    label: str | None
    copy: int
    before: Appearance
    after: Appearance


def preview(
    context: StageContext, params: AugmentParams, count: int, bring: Callable[[IdMatrix], None]
) -> list[PreviewedRow]:
    """The first copies of `count` rows, spread evenly over those that augment would copy, in key order.

    They are what the stage would store, bit for bit. `bring` gets the ids of the assets that are read. Raises what
    the stage raises, and AssetsMissing.
    """
    params = _as_stored(params)
    source = open_input(context, STAGE, params.input)
    table = source.to_table()
    refuse_unfit(params, table)
    kind = kind_named(params.kind)
    operator = kind.copy(params, context.root)
    row, copy = _first_copies(table, params, count)
    chosen = table.take(pa.array(row))
    partners = partners_of(operator, chosen, copy, table, params.input) if len(row) else None
    ids = ids_from_hex(chosen["asset_id"])
    bring(ids if partners is None else np.concatenate([ids, partners]))
    hex_ids = one_array(chosen["asset_id"]).to_pylist()
    partner_ids = [None] * len(row) if partners is None else ids_to_hex(partners).to_pylist()
    labels = one_array(chosen["label"]).to_pylist() if "label" in chosen.column_names else [None] * len(row)
    shown = []
    for key, label, number, one, other in zip(
        one_array(chosen["key"]).to_pylist(), labels, copy.tolist(), hex_ids, partner_ids, strict=True
    ):
        data = context.store.read(AssetId(one))
        try:
            made = _derived(context, operator, data, one, other, number)
            looks = kind.looks(data, data if made.data is None else made.data)
        except AssetBroken as error:
            looks = Appearance(str(error)), Appearance("no copy")
        shown.append(PreviewedRow(key, None if label is None else str(label), number, *looks))
    return shown


def _as_stored(params: AugmentParams) -> AugmentParams:
    """Online copies are looked at as stored ones: the first epoch's."""
    return params if params.mode == "offline" else params.model_copy(update={"mode": "offline", "copies": 1})


def _first_copies(
    table: pa.Table, params: AugmentParams, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    row, copy = planned(table, params)
    first = np.flatnonzero(copy == 1)
    spread = np.linspace(0, max(0, len(first) - 1), min(count, len(first))).astype(np.int64)
    places = first[np.unique(spread)]
    return row[places], copy[places]


def _derived(
    context: StageContext, operator: CopyOperator, data: bytes, asset_id: str, partner_id: str | None, copy: int
) -> Derived:
    taker = with_partner(operator)
    if taker is None or partner_id is None:
        return operator.derive(data, asset_id, copy)
    return taker.derive_pair(data, context.store.read(AssetId(partner_id)), asset_id, partner_id, copy)
