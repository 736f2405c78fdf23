"""What the page counts: rows per label and split in both versions, and which label became which."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.manifest.columns.columns import decoded, one_array
from datapin.manifest.manifest import Manifest
from datapin.manifest.select import rows_of

MOST_BARS = 40
MOST_MOVES = 20
_BINS = 20
_NO_VALUE = "(none)"


@dataclass(frozen=True, slots=True)
class CountBar:
    """Rows with one value, or in one range of numbers, in both versions."""

    name: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Rows per value of a column. Of more values than fit, those whose count changed most; `left_out` are the rest."""

    column: str
    bars: tuple[CountBar, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Move:
    """How many changed rows had one value and have another now."""

    before: str
    after: str
    rows: int


def histogram(before: Manifest | None, after: Manifest | None, column: str) -> Histogram | None:
    """Rows per value of `column` in both versions; None if neither has it."""
    old, new = _column(before, column), _column(after, column)
    if old is None and new is None:
        return None
    was, now = _counts(old), _counts(new)
    if len(was.keys() | now.keys()) > MOST_BARS and all(_is_number(side) for side in (old, new) if side is not None):
        return Histogram(column, _ranges(old, new), 0)
    names = sorted(was.keys() | now.keys(), key=_place)
    bars = [CountBar(_NO_VALUE if name is None else str(name), was.get(name, 0), now.get(name, 0)) for name in names]
    by_change = sorted(range(len(bars)), key=lambda n: (-abs(bars[n].after - bars[n].before), -bars[n].after, n))
    kept = sorted(by_change[:MOST_BARS])
    return Histogram(column, tuple(bars[n] for n in kept), len(bars) - len(kept))


def moves(before: Manifest | None, after: Manifest | None, changed: pa.Array, column: str) -> list[Move]:
    """Which values of `column` became which in these rows, the most frequent first, all of them."""
    if before is None or after is None or any(column not in side.schema.names for side in (before, after)):
        return []
    sides = {}
    for name, side in (("was", before), ("now", after)):
        values = decoded(one_array(rows_of(side, changed, side.schema, [column])[column]))
        sides[name] = pc.fill_null(values.cast(pa.string()), _NO_VALUE)
    pairs = pa.table(sides).filter(pc.not_equal(sides["was"], sides["now"]))
    counted = pairs.append_column("rows", pa.nulls(pairs.num_rows, pa.int64())).group_by(["was", "now"])
    found = counted.aggregate([("rows", "count", pc.CountOptions(mode="all"))])
    rows = zip(*(found[name].to_pylist() for name in ("was", "now", "rows_count")), strict=True)
    return sorted((Move(*row) for row in rows), key=lambda move: (-move.rows, _place(move.before), _place(move.after)))


def _column(manifest: Manifest | None, column: str) -> pa.Array | None:
    if manifest is None or column not in manifest.schema.names:
        return None
    return decoded(one_array(manifest.to_table(columns=[column])[column]))


def _counts(values: pa.Array | None) -> dict[Any, int]:
    if values is None:
        return {}
    counted = pc.value_counts(values)
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _is_number(values: pa.Array) -> bool:
    return bool(pa.types.is_floating(values.type) or pa.types.is_integer(values.type))


def _ranges(old: pa.Array | None, new: pa.Array | None) -> tuple[CountBar, ...]:
    """Numbers in ranges of equal width; what is no finite number comes last."""
    was, now = _numbers(old), _numbers(new)
    finite = [side[np.isfinite(side)] for side in (was, now)]
    edges = np.histogram_bin_edges(np.concatenate(finite), bins=_BINS)
    (before, _), (after, _) = (np.histogram(side, bins=edges) for side in finite)
    bars = [CountBar(f"{edges[n]:.4g} … {edges[n + 1]:.4g}", int(before[n]), int(after[n])) for n in range(len(before))]
    others = CountBar(_NO_VALUE, len(was) - len(finite[0]), len(now) - len(finite[1]))
    return (*bars, others) if others.before or others.after else tuple(bars)


def _numbers(values: pa.Array | None) -> npt.NDArray[np.float64]:
    if values is None:
        return np.empty(0, np.float64)
    column: npt.NDArray[np.float64] = pc.fill_null(values.cast(pa.float64()), float("nan")).to_numpy()
    return column


def _place(value: object) -> tuple[bool, float, list[tuple[bool, int, str]]]:
    """Order of values: numbers by size, text with the numbers in it by size, none last."""
    if isinstance(value, int | float):
        return False, float(value), []
    words = re.findall(r"[0-9]+|[^0-9]+", "" if value is None else str(value))
    return value is None, 0.0, [(not w.isdecimal(), int(w) if w.isdecimal() and len(w) < 20 else 0, w) for w in words]
