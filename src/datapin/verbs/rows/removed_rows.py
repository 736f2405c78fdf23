"""Rows that were taken out of a dataset although their files lie there still: `add` leaves them out, and says so.

What was removed here is noted beside the caches; what was removed elsewhere is told by the versions of Git's history
that had the row, of which those are read that are here or can be fetched (0030).
"""

from __future__ import annotations

from bisect import bisect_left
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import DatapinError
from datapin.base.id_columns import IdMatrix, ids_from_hex
from datapin.base.state import slug_of
from datapin.git.ask import has_commit, resolve
from datapin.manifest.columns.columns import arrow_flags, flags
from datapin.manifest.manifest import Manifest
from datapin.pins.counts import VersionCounts
from datapin.pins.versions import VersionHistory
from datapin.trees.stat_records import StatRecords, read_stat_records, write_stat_records
from datapin.verbs.workspace.workspace import Workspace

_MOST_VERSIONS = 200

Mask = npt.NDArray[np.bool_]


def note_removed(workspace: Workspace, dataset: str, rows: pa.Table) -> None:
    """Note that these rows (key, asset_id) were removed by the user; what cannot be noted is told by history later."""
    path = removed_path(workspace, dataset)
    before = read_stat_records(path)
    keys = rows["key"].combine_chunks()
    kept = ~flags(pc.is_in(before.keys, value_set=keys))
    _write(
        path,
        pa.concat_arrays([before.keys.filter(arrow_flags(kept)), keys]),
        np.concatenate([before.ids[kept], ids_from_hex(rows["asset_id"])]),
    )


def forget_removed(workspace: Workspace, dataset: str, keys: pa.Array) -> None:
    """Rows of these keys are there again."""
    path = removed_path(workspace, dataset)
    before = read_stat_records(path)
    kept = ~flags(pc.is_in(before.keys, value_set=keys))
    if not kept.all():
        _write(path, before.keys.filter(arrow_flags(kept)), before.ids[kept])


def were_removed(
    workspace: Workspace, dataset: str, now: Manifest, keys: pa.Array, assets: pa.Array, *, fetch: bool
) -> Mask:
    """Of files (key, asset) without a row in the manifest `now`: which had one before, with the same bytes.

    Versions that are not here are brought if `fetch`; those that cannot be had tell nothing.
    """
    found = np.zeros(len(keys), np.bool_)
    if not len(keys):
        return found
    noted = read_stat_records(removed_path(workspace, dataset))
    if len(noted):
        place = noted.positions(keys)
        found |= (place >= 0) & (noted.ids[np.maximum(place, 0)] == ids_from_hex(assets)).all(axis=1)
    if found.all() or not has_commit(workspace.root):
        return found
    try:
        return found | _in_history(workspace, dataset, now, keys, assets, fetch=fetch)
    except DatapinError:
        return found


def _in_history(
    workspace: Workspace, dataset: str, now: Manifest, keys: pa.Array, assets: pa.Array, *, fetch: bool
) -> Mask:
    from datapin.verbs.workspace.bring import bring_versions  # late: what talks to remotes loads long (decision 0015)

    found = np.zeros(len(keys), np.bool_)
    history = VersionHistory(workspace.root, dataset, resolve(workspace.root, "HEAD"))
    pointers = [pointer for _, pointer in history.versions()][:_MOST_VERSIONS]
    if fetch:
        bring_versions(workspace, pointers)
    counts = VersionCounts(workspace.root, dataset)
    ordered = sorted(keys.to_pylist())
    seen = {shard.digest for shard in now.shards}
    for pointer in pointers:
        with suppress(DatapinError):
            manifest = counts.open(pointer)
            for number, shard in enumerate(manifest.shards):
                if not shard.rows or shard.digest in seen:
                    continue
                seen.add(shard.digest)
                first = bisect_left(ordered, shard.first_key)
                if first < len(ordered) and ordered[first] <= shard.last_key:
                    rows = manifest.read_shard(number, ["key", "asset_id"])
                    place = pc.index_in(keys, value_set=rows["key"])
                    same = pc.equal(rows["asset_id"].combine_chunks().take(place), assets)
                    found |= flags(pc.fill_null(same, False))
        if found.all():
            break
    return found


def _write(path: Path, keys: pa.StringArray, ids: IdMatrix) -> None:
    with suppress(OSError):
        stats = np.full((len(keys), 4), -1, np.int64)
        write_stat_records(path, StatRecords(keys, stats, ids, settled_before_ns=0))


def removed_path(workspace: Workspace, dataset: str) -> Path:
    """Where removed rows are noted."""
    return workspace.cache / "removed" / slug_of(dataset)
