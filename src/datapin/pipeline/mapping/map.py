"""The incremental map: an operator over rows, computing only what the memo does not hold.

Results are published in the order pack, index, memo, every few seconds: a killed stage finds them again. Rows travel
in chunks, so memory is bounded by the chunk and the engine's window, not by the dataset.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base import failpoints, log
from datapin.base.errors import AssetsMissing, DamagedAsset
from datapin.base.id_columns import IdMatrix
from datapin.base.ids import RAW_ID_BYTES
from datapin.base.progress import Bar
from datapin.manifest.columns.columns import one_array
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.engines.engine import Computation, Engine
from datapin.pipeline.mapping.memo import OperatorMemo, mixed_keys
from datapin.pipeline.mapping.work import AssetBatch, located
from datapin.pipeline.operators.operator import Derived, Vectors
from datapin.pipeline.operators.partners import pair_ids
from datapin.store.store import Filling

IntColumn = npt.NDArray[np.int64]

CHUNK_ROWS = 4096
BATCH_ASSETS = 128
BATCH_BYTES = 4 << 20
FIRST_FLUSH_S = 5.0
LAST_FLUSH_S = 60.0
FLUSH_BYTES = 128 << 20

RESULT = np.dtype(
    [("id", "u1", (RAW_ID_BYTES,)), ("size", "<i8"), ("has_pixels", "?"), ("is_moved", "?"), ("pixels", "u1", (32,))]
)
"""The memo's value for an operator that makes assets."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to map: what they are called, which asset and which copy of it, and its size for planning."""

    keys: pa.Array
    ids: IdMatrix
    copies: IntColumn
    sizes: IntColumn
    partners: IdMatrix | None = None  # for each copy the asset that enters it beside its own

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def memo_ids(self) -> IdMatrix:
        """What the memo calls them, but for the copy: the asset, or asset and partner."""
        return self.ids if self.partners is None else pair_ids(self.ids, self.partners)

    def part(self, start: int, count: int) -> Rows:
        """Some of them."""
        end = start + count
        partners = None if self.partners is None else self.partners[start:end]
        keys = self.keys.slice(start, count)
        return Rows(keys, self.ids[start:end], self.copies[start:end], self.sizes[start:end], partners)

    def chunks(self, count: int = CHUNK_ROWS) -> Iterator[Rows]:
        """All of them, `count` at a time."""
        for start in range(0, len(self), count):
            yield self.part(start, min(count, len(self) - start))


@dataclass(frozen=True, slots=True)
class Mapped:
    """One chunk of rows with its results. A row has a value or a problem; beside a value there may be a note."""

    rows: Rows
    values: pa.Array  # binary: a RESULT, or a vector of little-endian float32
    problems: pa.Array  # string
    notes: pa.Array  # string: what was odd about the asset
    computed: int
    reused: int


@dataclass(slots=True)
class _Chunk:
    rows: Rows
    memo_ids: IdMatrix
    first: IntColumn  # the row that stands for each distinct (asset, copy)
    number: IntColumn  # for each row, which distinct one it is
    remembered: pa.Table  # `problem` and `value` of the distinct ones the memo knows
    place: IntColumn  # for each distinct one, its row in `remembered` followed by `values`
    computed_rows: int
    values: list[bytes | None] = field(default_factory=list)
    problems: list[str | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Mark:
    chunk: _Chunk
    wanted: IntColumn | None  # distinct numbers that the item computes; None: the chunk is complete


@dataclass(slots=True)
class _Fresh:
    """Results that the memo does not hold yet."""

    ids: list[IdMatrix] = field(default_factory=list)
    copies: list[IntColumn] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    problems: list[str | None] = field(default_factory=list)
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class MapPlan:
    """What to compute, and where its results are remembered."""

    computation: Computation
    memo_key: str
    makes_assets: bool
    title: str
    batch_assets: int = BATCH_ASSETS


def map_rows(
    chunks: Iterable[Rows], plan: MapPlan, context: StageContext, engine: Engine, *, total: int
) -> Iterator[Mapped]:
    """The chunks with their results, in order; the same whatever the engine, the batches or the memo.

    A problem with an asset is a result. Raises AssetsMissing and DamagedAsset naming rows, StorageFailed, WorkersLost.
    """
    with _filling(plan, context) as filling, context.progress.bar(plan.title, total, "row") as bar:
        run = _Run(plan, context, filling, bar)
        for mark, result in engine.run(plan.computation, run.items(chunks)):
            if mark.wanted is not None:
                run.accept(mark.chunk, mark.wanted, result)
                continue
            yield run.finished(mark.chunk)
        run.flush()


def _filling(plan: MapPlan, context: StageContext) -> AbstractContextManager[Filling | None]:
    return context.store.filling() if plan.makes_assets else nullcontext()


class _Run:
    def __init__(self, plan: MapPlan, context: StageContext, filling: Filling | None, bar: Bar) -> None:
        self._plan = plan
        self._store = context.store
        self._memo: OperatorMemo = context.memo.of(plan.memo_key)
        self._filling = filling
        self._bar = bar
        self._fresh = _Fresh()
        self._began_s = self._flushed_s = time.monotonic()

    def items(self, chunks: Iterable[Rows]) -> Iterator[tuple[_Mark, AssetBatch | None]]:
        """What has to be computed, chunk by chunk; the mark that ends a chunk carries no work."""
        for rows in chunks:
            chunk, wanted = self._looked_up(rows)
            for batch in _batches(chunk, wanted, self._plan.batch_assets):
                picked = chunk.first[batch]
                partners = None if rows.partners is None else rows.partners[picked]
                found = located(self._store, rows.ids[picked], rows.copies[picked].tolist(), partners)
                yield _Mark(chunk, batch), found
            yield _Mark(chunk, None), None

    def accept(self, chunk: _Chunk, wanted: IntColumn, result: list[Derived | str] | Vectors) -> None:
        """Take one batch's results: into the store, into the chunk, and to be remembered."""
        picked = chunk.first[wanted]
        if isinstance(result, Vectors):
            values = list(result.values)
            problems = [problem or note for problem, note in zip_longest(result.problems, result.notes)]
        else:
            values, problems = self._stored(chunk.rows, picked, result)
        chunk.values.extend(values)
        chunk.problems.extend(problems)
        fresh = self._fresh
        fresh.size_bytes += sum(len(value) for value in values if value is not None)
        fresh.ids.append(chunk.memo_ids[picked])
        fresh.copies.append(chunk.rows.copies[picked])
        fresh.values.extend(values)
        fresh.problems.extend(problems)
        self._bar.advance(len(wanted))
        failpoints.hit("map.accepted")
        now_s = time.monotonic()
        # The pause grows with the run: a long one must not leave thousands of small packs and segments.
        pause_s = min(LAST_FLUSH_S, max(FIRST_FLUSH_S, (now_s - self._began_s) / 10))
        if now_s - self._flushed_s >= pause_s or fresh.size_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Make what was computed durable: first the assets, then the memo that names them."""
        fresh = self._fresh
        if not fresh.values:
            return
        if self._filling is not None:
            self._filling.publish()
            failpoints.hit("map.published")
        self._memo.append(np.concatenate(fresh.ids), np.concatenate(fresh.copies), fresh.problems, fresh.values)
        self._fresh = _Fresh()
        self._flushed_s = time.monotonic()
        failpoints.hit("map.flushed")

    def finished(self, chunk: _Chunk) -> Mapped:
        """The chunk's results, one per row."""
        computed = pa.table(
            {"problem": pa.array(chunk.problems, pa.string()), "value": pa.array(chunk.values, pa.binary())}
        )
        whole = pa.concat_tables([chunk.remembered, computed])
        table = whole.take(pa.array(chunk.place[chunk.number])).combine_chunks()
        values, told = one_array(table["value"]), one_array(table["problem"])
        has_value = values.is_valid()
        return Mapped(
            chunk.rows,
            values,
            pc.if_else(has_value, None, told),
            pc.if_else(has_value, told, None),
            chunk.computed_rows,
            len(chunk.rows) - chunk.computed_rows,
        )

    def _looked_up(self, rows: Rows) -> tuple[_Chunk, IntColumn]:
        """The chunk with what the memo knows, and the distinct numbers it does not know."""
        memo_ids = rows.memo_ids
        first, number = distinct(memo_ids, rows.copies)
        hits = self._memo.find(memo_ids[first], rows.copies[first])
        known = np.flatnonzero(hits.found)
        remembered = self._memo.read(hits.only(known))
        if self._plan.makes_assets and len(known):
            gone = self._gone(remembered)
            known, remembered = known[~gone], remembered.filter(pa.array(~gone))
        is_wanted = np.ones(len(first), dtype=bool)
        is_wanted[known] = False
        wanted = np.flatnonzero(is_wanted)
        place = np.empty(len(first), dtype=np.int64)
        place[known] = np.arange(len(known))
        place[wanted] = len(known) + np.arange(len(wanted))
        self._check_present(rows, first[wanted])
        self._bar.advance(len(rows) - len(wanted))
        title = self._plan.title
        log.step("run", "%s: %d rows, %d remembered, %d to compute", title, len(rows), len(known), len(wanted))
        return _Chunk(rows, memo_ids, first, number, remembered, place, int(is_wanted[number].sum())), wanted

    def _gone(self, remembered: pa.Table) -> npt.NDArray[np.bool_]:
        """Which remembered results name an asset that the store does not have any more."""
        gone = np.zeros(remembered.num_rows, dtype=bool)
        has_value = np.flatnonzero(one_array(remembered["value"]).is_valid().to_numpy(zero_copy_only=False))
        results = decode_results(one_array(remembered["value"]).drop_null())
        gone[has_value] = self._store.missing(np.ascontiguousarray(results["id"]))
        return gone

    def _check_present(self, rows: Rows, needed: IntColumn) -> None:
        missing = needed[self._store.missing(rows.ids[needed])] if len(needed) else needed
        if rows.partners is not None and len(needed) and not len(missing):
            missing = needed[self._store.missing(rows.partners[needed])]
        if len(missing):
            names = tuple(rows.keys.take(pa.array(missing[:20])).to_pylist())
            raise AssetsMissing(names=names, count=len(missing))

    def _stored(
        self, rows: Rows, picked: IntColumn, results: list[Derived | str]
    ) -> tuple[list[bytes | None], list[str | None]]:
        assert self._filling is not None
        records = np.zeros(len(results), dtype=RESULT)
        records["id"], records["size"] = rows.ids[picked], rows.sizes[picked]
        for record, result in zip(records, results, strict=True):
            if isinstance(result, str):
                continue
            if result.data is not None:
                record["id"] = np.frombuffer(bytes.fromhex(self._filling.put(result.data)), dtype=np.uint8)
                record["size"] = len(result.data)
            record["is_moved"] = result.is_moved
            if result.pixels is not None:
                record["has_pixels"] = True
                record["pixels"] = np.frombuffer(result.pixels, dtype=np.uint8)
        problems = [result if isinstance(result, str) else result.note for result in results]
        values = [
            None if isinstance(result, str) else record.tobytes()
            for result, record in zip(results, records, strict=True)
        ]
        return values, problems


def name_damaged_row(error: DamagedAsset, keys: pa.Array, hex_ids: pa.Array) -> DamagedAsset:
    """The same error, naming the first row that needs the asset."""
    row = hex_ids.index(error.asset_id).as_py()
    if row < 0:
        return error
    return DamagedAsset(error.asset_id, error.where, f"{error.problem}; row {keys[row].as_py()} needs it")


def decode_results(values: pa.Array, kind: np.dtype[np.void] = RESULT) -> npt.NDArray[Any]:
    """A binary column of records of this kind as a structured array; all zero for a null."""
    results = np.zeros(len(values), dtype=kind)
    given = values.drop_null()
    if len(given):
        offsets = np.frombuffer(given.buffers()[1], dtype=np.int32)[given.offset : given.offset + len(given) + 1]
        records = np.frombuffer(given.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]].view(kind)
        results[values.is_valid().to_numpy(zero_copy_only=False)] = records
    return results


def distinct(ids: IdMatrix, copies: IntColumn) -> tuple[IntColumn, IntColumn]:
    """The first row of each distinct (asset, copy), in row order, and for each row the number of its distinct one."""
    count = len(ids)
    if not count:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    keys = mixed_keys(ids, copies)
    order = np.argsort(keys, kind="stable")
    starts = np.ones(count, dtype=bool)
    # Equal neighbours are compared in full; rows whose mixed keys collide by chance may count as distinct twice.
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    here, before = order[same + 1], order[same]
    starts[same + 1] = (copies[here] != copies[before]) | (ids[here] != ids[before]).any(axis=1)
    first = order[starts]
    rank = np.empty(len(first), dtype=np.int64)
    in_row_order = np.argsort(first, kind="stable")
    rank[in_row_order] = np.arange(len(first))
    number = np.empty(count, dtype=np.int64)
    number[order] = rank[np.cumsum(starts) - 1]
    return first[in_row_order], number


def _batches(chunk: _Chunk, wanted: IntColumn, most_assets: int) -> Iterator[IntColumn]:
    sizes = chunk.rows.sizes[chunk.first[wanted]].tolist()
    start, total_bytes = 0, 0
    for place, size in enumerate(sizes):
        if place > start and (place - start >= most_assets or total_bytes + size > BATCH_BYTES):
            yield wanted[start:place]
            start, total_bytes = place, 0
        total_bytes += size
    if start < len(wanted):
        yield wanted[start:]
