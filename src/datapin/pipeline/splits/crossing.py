"""Things that must lie in one split (assets, groups, ancestors), and rows of two splits that share one.

Columns become codes: one integer per row, equal where the values are, -1 where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base.id_columns import IdMatrix, numbers
from datapin.manifest.columns.columns import one_array

Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Crossings:
    """How many things lie in two splits or more, and two rows of different splits for the first of them."""

    things: int
    pairs: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class NamedCodes:
    """A text column as codes; `names[code]` is the value."""

    codes: Codes
    names: list[str]

    def at(self, row: int) -> str | None:
        """The value of one row."""
        code = int(self.codes[row])
        return None if code < 0 else self.names[code]


def named(column: pa.Array | pa.ChunkedArray) -> NamedCodes:
    """A text column as codes; a null has none."""
    encoded = one_array(column).dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = one_array(encoded)
    return NamedCodes(numbers(encoded.indices.fill_null(-1)).astype(np.int64), encoded.dictionary.to_pylist())


def id_codes(ids: IdMatrix) -> Codes:
    """One number per distinct id."""
    if not len(ids):
        return np.zeros(0, dtype=np.int64)
    words = np.ascontiguousarray(ids).view("<u8").reshape(len(ids), -1)
    order = np.argsort(words[:, 0])
    is_new = _differs(words, order)
    if is_new is None:  # two ids with the same first 8 bytes: nobody makes these but on purpose
        order = np.lexsort(words.T[::-1])
        is_new = (words[order][1:] != words[order][:-1]).any(axis=1)
    codes = np.empty(len(ids), dtype=np.int64)
    codes[order] = np.concatenate([[0], np.cumsum(is_new)])
    return codes


def _differs(words: npt.NDArray[np.uint64], order: Codes) -> Mask | None:
    """Where an id is another than the one before it, in this order of their first words; None if that is no order."""
    firsts = words[order, 0]
    is_new: Mask = firsts[1:] != firsts[:-1]
    places = np.flatnonzero(~is_new)
    same = words[order[places]] == words[order[places + 1]]
    return is_new if same.all() else None


def crossings(things: Codes, splits: Codes, fresh: Mask | None = None, *, most: int = 20) -> Crossings:
    """The things that rows of two splits share, in order of their first rows.

    With `fresh`, only things that a fresh row brought into another split than the rows that are not fresh.
    """
    rows = np.flatnonzero((things >= 0) & (splits >= 0))
    if not len(rows):
        return Crossings(0, [])
    width = int(splits.max()) + 1
    combined = things[rows] * width + splits[rows]
    order = np.argsort(combined, kind="stable")
    ordered = combined[order]
    starts = _starts(ordered)
    heads = rows[order[starts]]  # the first row of each thing in each split
    of_thing = _starts(ordered[starts] // width)
    splits_of = np.diff(np.append(of_thing, len(starts)))
    is_crossing = splits_of > 1
    if fresh is not None and is_crossing.any():
        is_fresh = np.logical_and.reduceat(fresh[rows[order]], starts)
        is_crossing &= np.logical_or.reduceat(is_fresh, of_thing)
    found = of_thing[is_crossing]
    if not len(found):
        return Crossings(0, [])
    pairs = np.sort(np.stack([heads[found], heads[found + 1]], axis=1), axis=1)
    listed = pairs[np.argsort(pairs[:, 0], kind="stable")[:most]]
    return Crossings(len(found), [(int(one), int(other)) for one, other in listed])


def _starts(ordered: Codes) -> Codes:
    """Where each run of equal numbers begins."""
    return np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])
