"""Files of the source trees against the rows, as `add` would take them: `status` loads this when they differ."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.documents import keep_sealed, read_sealed
from datapin.base.id_columns import IdMatrix, ids_to_hex
from datapin.git.ask import has_commit, resolve
from datapin.manifest.columns.columns import arrow_flags, flags
from datapin.manifest.manifest import Manifest
from datapin.verbs.rows.add_moves import find_moves, gone_from
from datapin.verbs.rows.removed_rows import removed_path, were_removed
from datapin.verbs.workspace.reports import RowCounts
from datapin.verbs.workspace.workspace import Workspace


def tree_changes(
    workspace: Workspace, dataset: str, sources: list[str], keys: pa.Array, ids: IdMatrix, manifest: Manifest
) -> tuple[RowCounts, int]:
    """What `add` of these files would change, and how many of them it would leave out: their rows were removed."""
    rows = manifest.to_table(columns=["key", "asset_id"])
    assets = ids_to_hex(ids)
    position = pc.index_in(keys, value_set=rows["key"])
    is_known = flags(pc.is_valid(position))
    before = rows["asset_id"].combine_chunks().take(position)
    changed = pc.sum(pc.not_equal(before, assets)).as_py() or 0
    removed, moved = manifest.rows - int(is_known.sum()), 0
    is_new = ~is_known
    if removed and is_new.any():
        pairs = find_moves(rows, keys, assets, gone_from(workspace.root, sources, None))
        moved = len(pairs)
        is_new &= ~flags(pc.is_in(keys, value_set=pa.array([new for _, new in pairs], pa.string())))
    new = arrow_flags(is_new)
    left_out = int(_left_out(workspace, dataset, manifest, keys.filter(new), assets.filter(new)).sum())
    return RowCounts(int(is_new.sum()) - left_out, changed + moved, removed - moved), left_out


def _left_out(
    workspace: Workspace, dataset: str, manifest: Manifest, keys: pa.Array, assets: pa.Array
) -> npt.NDArray[np.bool_]:
    """As `were_removed`; the answer is kept for as long as the question and the history are the same."""
    if not len(keys):
        return np.zeros(0, np.bool_)
    head = resolve(workspace.root, "HEAD") if has_commit(workspace.root) else ""
    asked = hashlib.sha256("\n".join([*keys.to_pylist(), *assets.to_pylist()]).encode()).hexdigest()
    noted = removed_path(workspace, dataset)
    note = noted.with_suffix(".seen")
    state = [head, manifest.digest, asked, noted.stat().st_mtime_ns if noted.exists() else 0]
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = read_sealed(note)
        if kept["state"] == state:
            bits = np.frombuffer(base64.b64decode(kept["mask"]), np.uint8)
            return np.unpackbits(bits, count=len(keys)).astype(np.bool_)
    mask = were_removed(workspace, dataset, manifest, keys, assets, fetch=False)
    keep_sealed(note, {"state": state, "mask": base64.b64encode(np.packbits(mask).tobytes()).decode()})
    return mask
