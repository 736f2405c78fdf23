"""Whether rows are in the splits that prepare's rule gives them: an edit between two stages does not stay unseen."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.manifest.columns.columns import flags, one_array
from datapin.pipeline.params.stages import PrepareParams
from datapin.pipeline.splits.splitting import IntColumn, keep_given, split_by_hash, units_of

SOURCE_COLUMNS = ("key", "asset_id", "split")


def rows_off_rule(prepared: pa.Table, source: pa.Table, params: PrepareParams) -> IntColumn:
    """Rows of `prepared` (all of them, in key order) whose split is not the one that prepare gives them.

    Both tables have those of SOURCE_COLUMNS that there are, `prepared` also `group`. Rows whose key `source` does not
    have are passed over, and so are all if a split column that prepare keeps is not there.
    """
    assets = one_array(prepared["asset_id"])
    place = pc.index_in(one_array(prepared["key"]), value_set=one_array(source["key"]))
    source_ids = pc.coalesce(one_array(source["asset_id"]).take(place), assets)
    groups = one_array(prepared["group"]) if "group" in prepared.column_names else None
    units = units_of(groups, source_ids, assets)
    expected = split_by_hash(units, params.split, params.seed)
    if params.keep_split:
        if "split" not in source.column_names:
            return np.zeros(0, dtype=np.int64)
        expected = keep_given(units, one_array(source["split"]).take(place), expected)
    split = one_array(prepared["split"])
    is_right = flags(pc.fill_null(pc.equal(split, expected), False))
    return np.flatnonzero(~is_right & flags(place.is_valid()))
