"""Splits by hash: which split a row is in depends on its group or asset alone, so new rows move no old ones.

Rows that share a group or an asset are one unit and stay together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.manifest.columns.columns import one_array

IntColumn = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Units:
    """Rows that must stay together: for each row the number of its unit, and for each unit its name."""

    number: IntColumn
    names: list[str]
    bridged: int  # groups that share an asset with another group


def units_of(groups: pa.Array | None, *ids: pa.Array) -> Units:
    """Units of rows: by group where there is one, else by the first of `ids`; all `ids` keep their rows together.

    `ids` are columns of asset ids as text: what the row is made from, and what was made of it.
    """
    assets = pc.binary_join_element_wise("asset", ids[0], ":")
    if groups is None:
        names = assets
    else:
        texts = groups.cast(pa.string())
        names = pc.coalesce(pc.binary_join_element_wise("group", texts, ":"), assets)
    encoded = names.dictionary_encode()
    number = encoded.indices.to_numpy().astype(np.int64)
    parents = np.arange(len(encoded.dictionary))
    joined = 0
    for column in ids:
        for one, other in _shared(column, number):
            joined += _join(parents, one, other, encoded.dictionary)
    if not joined:
        return Units(number, encoded.dictionary.to_pylist(), 0)
    roots = np.array([_root(parents, unit) for unit in range(len(parents))])
    # Two files that become one image join units, too; without groups, none is to blame.
    is_group = pc.starts_with(encoded.dictionary, "group:").to_numpy(zero_copy_only=False)
    together = np.bincount(roots[is_group])
    bridged = int(np.maximum(together - 1, 0).sum())
    return Units(roots[number], encoded.dictionary.to_pylist(), bridged)


def split_by_hash(units: Units, fractions: Mapping[str, float], seed: int) -> pa.Array:
    """The split of each row: SHA-256 over seed and unit, as a fraction of its range, against the summed fractions."""
    ends = np.cumsum(list(fractions.values()))
    prefix = f"split/1\0{seed}\0".encode()
    heads = b"".join(hashlib.sha256(prefix + name.encode()).digest()[:8] for name in units.names)
    places = np.frombuffer(heads, dtype=">u8") / 2.0**64
    chosen = np.minimum(np.searchsorted(ends, places, side="right"), len(ends) - 1)
    return pa.array(list(fractions), pa.string()).take(pa.array(chosen[units.number]))


def keep_given(units: Units, given: pa.Array, otherwise: pa.Array) -> pa.Array:
    """The given splits; a row without one follows its unit, or takes `otherwise` if nothing of the unit has one."""
    has_one = given.is_valid().to_numpy(zero_copy_only=False)
    of_unit = np.full(len(units.names), -1, dtype=np.int64)
    rows = np.flatnonzero(has_one)[::-1]  # written backwards, so that the first row of a unit decides
    of_unit[units.number[rows]] = rows
    leader = pa.array(of_unit[units.number], mask=of_unit[units.number] < 0)
    return pc.coalesce(given, given.take(leader), otherwise)


def crossing_rows(units: Units, split: pa.Array) -> IntColumn:
    """Rows whose unit has rows in another split than its first row."""
    codes = one_array(split).dictionary_encode().indices.to_numpy()
    first = np.zeros(len(units.names), dtype=np.int64)
    first[units.number[::-1]] = codes[::-1]
    crossing: IntColumn = np.flatnonzero(codes != first[units.number])
    return crossing


def _shared(column: pa.Array, number: IntColumn) -> list[tuple[int, int]]:
    """Pairs of units that hold the same asset."""
    codes = column.dictionary_encode().indices.to_numpy().astype(np.int64)
    order = np.lexsort((number, codes))
    same = (codes[order][1:] == codes[order][:-1]) & (number[order][1:] != number[order][:-1])
    return list(zip(number[order][:-1][same].tolist(), number[order][1:][same].tolist(), strict=True))


def _root(parents: IntColumn, unit: int) -> int:
    while parents[unit] != unit:
        parents[unit] = parents[parents[unit]]
        unit = int(parents[unit])
    return unit


def _join(parents: IntColumn, one: int, other: int, names: pa.Array) -> int:
    """Make two units one, named by the smaller of their names; 1 if they were two."""
    first, second = _root(parents, one), _root(parents, other)
    if first == second:
        return 0
    if names[second].as_py() < names[first].as_py():
        first, second = second, first
    parents[second] = first
    return 1
