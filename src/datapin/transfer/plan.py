"""What has to move, and how: pure, no I/O.

A pack moves whole where that is worth it; else the wanted assets are taken out of it. Both directions use the same
plan: `source` is the index to take from, `target` the one that lacks assets.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datapin.base.id_columns import IdMatrix
from datapin.store.index import IN_LOOSE_FILE, Entries, Index

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """Rows of the source's index, by the way they move.

    `whole` are packs (numbers) that move as they are, `wanted_in_whole` the asked rows in them. `pieces` are rows
    whose assets are taken out of their packs; `loose` are rows of loose assets; rows are distinct and sorted by
    place. `present` of the asked assets are there already; `absent` are positions in the question of those that the
    source lacks. `assets` and `bytes` (as stored) count what moves.
    """

    whole: tuple[int, ...]
    wanted_in_whole: Rows
    pieces: Rows
    loose: Rows
    assets: int
    bytes: int
    present: int
    absent: Rows


def plan_transfer(
    ids: IdMatrix, source: Index, target: Index, *, never_whole: Set[bytes] = frozenset()
) -> TransferPlan:
    """How to bring the assets `ids` (repeats allowed) from `source` to `target`.

    A pack moves whole if more than half of its bytes is wanted, `target` holds none of its assets, and it is not
    among `never_whole` (raw ids).
    """
    has, target_rows = target.find(ids)
    asked = np.flatnonzero(~has)
    found, rows = source.find(ids[asked])
    entries = source.entries
    wanted = np.unique(rows[found])
    wanted = wanted[np.lexsort((entries.offset[wanted], entries.pack[wanted]))]
    is_packed = entries.pack[wanted] != IN_LOOSE_FILE
    packed, loose = wanted[is_packed], wanted[~is_packed]
    whole = np.array(
        [number for number in _whole_packs(packed, entries, target) if entries.packs[number] not in never_whole],
        dtype=np.intp,
    )
    is_whole = np.zeros(len(entries.packs) + 1, dtype=bool)  # the last place is for loose assets, whose pack is -1
    is_whole[whole] = True
    is_in_whole = is_whole[entries.pack[packed]]
    pieces = packed[~is_in_whole]
    moved = np.concatenate((np.flatnonzero(is_whole[entries.pack]), pieces, loose))
    return TransferPlan(
        whole=tuple(int(number) for number in whole),
        wanted_in_whole=packed[is_in_whole],
        pieces=pieces,
        loose=loose,
        assets=len(moved),
        bytes=int(entries.length[moved].sum()),
        present=len(np.unique(target_rows[has])),
        absent=asked[~found],
    )


def _whole_packs(packed: Rows, entries: Entries, target: Index) -> npt.NDArray[np.intp]:
    """Packs of which more than half the bytes is wanted and nothing is in `target`."""
    count = len(entries.packs)
    if not count or not len(packed):
        return np.empty(0, dtype=np.intp)
    in_pack = entries.pack != IN_LOOSE_FILE
    total = np.bincount(entries.pack[in_pack], weights=entries.length[in_pack], minlength=count)
    wanted = np.bincount(entries.pack[packed], weights=entries.length[packed], minlength=count)
    chosen = (wanted * 2 > total) & (wanted > 0)
    if not len(target):
        return np.flatnonzero(chosen)
    # Only the packs in question are looked at: a push of a few assets must not ask about the whole store.
    candidates = np.flatnonzero(in_pack & chosen[entries.pack])
    has, _ = target.find(entries.ids[candidates])
    chosen[np.unique(entries.pack[candidates[has]])] = False
    return np.flatnonzero(chosen)
