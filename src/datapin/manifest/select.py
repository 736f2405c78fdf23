"""Rows of a manifest by key, reading only the shards that can hold them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from datapin.manifest.columns.columns import one_array, without_rows
from datapin.manifest.manifest import Manifest


def rows_of(
    manifest: Manifest | None, keys: pa.Array, schema: pa.Schema, columns: Sequence[str] | None = None
) -> pa.Table:
    """The rows of `manifest` whose keys are in `keys` (sorted, distinct), in key order, with the columns of `schema`.

    Columns that the manifest lacks are null; keys that it lacks have no row. `columns` names some of `schema`'s.
    """
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    if manifest is None or not len(keys):
        return without_rows(wanted)
    present = [name for name in wanted.names if name in manifest.schema.names]
    first, last = keys[0].as_py(), keys[len(keys) - 1].as_py()
    parts = []
    for number, shard in enumerate(manifest.shards):
        if not shard.rows or shard.last_key < first or shard.first_key > last:
            continue
        between = pc.and_(pc.greater_equal(keys, shard.first_key), pc.less_equal(keys, shard.last_key))
        here = keys.filter(between)
        if not len(here):
            continue
        table = manifest.read_shard(number, list(dict.fromkeys(["key", *present])))
        parts.append(table.filter(pc.is_in(table["key"], value_set=here)))
    if not parts:
        return without_rows(wanted)
    found = pa.concat_tables(parts).combine_chunks()
    columns_found = [
        one_array(found[field.name]).cast(field.type) if field.name in present else pa.nulls(found.num_rows, field.type)
        for field in wanted
    ]
    return pa.Table.from_arrays(columns_found, schema=wanted)
