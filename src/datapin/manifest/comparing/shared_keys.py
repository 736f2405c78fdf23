"""Which keys of two sorted columns are on both sides: one walk over both, run by run, where few keys differ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.manifest.columns.columns import Mask, flags, numbers, text_bytes

_WINDOW_ROWS = 2048
_ROWS_PER_STEP = 512  # a join of as many keys takes as long as a step of the walk
_FREE_STEPS = 32


def shared_keys(old: pa.StringArray, new: pa.StringArray) -> tuple[Mask, Mask]:
    """Where the keys of `old` are in `new`, and those of `new` in `old`; both ascend, without nulls."""
    masks = np.zeros(len(old), dtype=bool), np.zeros(len(new), dtype=bool)
    if not _walk(_Keys(old), _Keys(new), *masks):
        return _join(old, new)
    return masks


def _walk(old: _Keys, new: _Keys, is_old: Mask, is_new: Mask) -> bool:
    """Mark the keys that both have; False, the masks unfinished, if so many differ that a join is faster."""
    i = j = steps = 0
    while i < old.count and j < new.count:
        steps += 1
        if steps > _FREE_STEPS + (i + j) // _ROWS_PER_STEP:
            return False
        run, window = _equal_run(old, i, new, j)
        is_old[i : i + run] = True
        is_new[j : j + run] = True
        i, j = i + run, j + run
        if run == window:
            continue
        mine, theirs = old.at(i), new.at(j)
        if mine < theirs:
            i = old.first_from(theirs, i + 1)
        else:
            j = new.first_from(mine, j + 1)
    return True


class _Keys:
    """The bytes of a column of keys."""

    def __init__(self, keys: pa.StringArray) -> None:
        self.count = len(keys)
        self.offsets, self._text = text_bytes(keys)
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(self._text, dtype=np.uint8)

    def at(self, row: int) -> bytes:
        return bytes(self._text[self.offsets[row] : self.offsets[row + 1]])

    def first_from(self, key: bytes, row: int) -> int:
        """The first row from `row` on whose key is not less than `key`; fast if it is near."""
        step = 1
        while row + step <= self.count and self.at(row + step - 1) < key:
            row, step = row + step, step * 2
        end = min(row + step - 1, self.count)
        while row < end:
            middle = (row + end) // 2
            row, end = (middle + 1, end) if self.at(middle) < key else (row, middle)
        return row


def _equal_run(old: _Keys, i: int, new: _Keys, j: int) -> tuple[int, int]:
    """How many keys from rows `i` and `j` on are the same, and how many were looked at."""
    window = min(_WINDOW_ROWS, old.count - i, new.count - j)
    ends, others = old.offsets[i : i + window + 1], new.offsets[j : j + window + 1]
    shift = others[0] - ends[0]
    moved = ends + shift != others
    run = int(moved.argmax()) - 1 if moved.any() else window
    same = slice(int(ends[0]), int(ends[run])), slice(int(others[0]), int(others[run]))
    differs = old.bytes[same[0]] != new.bytes[same[1]]
    place = int(differs.argmax()) if len(differs) else 0
    if len(differs) and differs[place]:
        run = int(np.searchsorted(ends[: run + 1], ends[0] + place, side="right")) - 1
    return run, window


def _join(old: pa.StringArray, new: pa.StringArray) -> tuple[Mask, Mask]:
    places = pc.index_in(new, value_set=old)
    is_old = np.zeros(len(old), dtype=bool)
    is_old[numbers(places.drop_null())] = True
    return is_old, flags(pc.is_valid(places))
