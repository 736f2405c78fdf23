"""The memo: operator X on copy n of asset Y gave this result. A cache: losing it costs time, never data.

One folder per operator, in it write-once Parquet segments with page checksums; a segment that does not read back is
dropped. Keys are (asset id, copy), values are bytes whose meaning is the caller's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from datapin.base import failpoints
from datapin.base.errors import Locked
from datapin.base.files import lock, make_directory, publish_bytes, sweep_temporaries
from datapin.base.id_columns import IdMatrix, id_prefixes
from datapin.base.ids import RAW_ID_BYTES

BoolColumn = npt.NDArray[np.bool_]
IntColumn = npt.NDArray[np.int64]

MOST_SMALL_SEGMENTS = 16
SMALL_BYTES = 16 << 20
MERGED_BYTES = 64 << 20
ROWS_PER_GROUP = 4096
SUFFIX = ".parquet"

SCHEMA = pa.schema(
    [
        pa.field("asset_id", pa.binary(RAW_ID_BYTES), nullable=False),
        pa.field("copy", pa.int64(), nullable=False),
        pa.field("problem", pa.string()),  # why there is no result; beside a value, what was odd about the asset
        pa.field("value", pa.binary()),
    ]
)

_COPY_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: spreads the copies of one asset
_WRITE = {"compression": "zstd", "compression_level": 1, "use_dictionary": False, "write_page_checksum": True}


def mixed_keys(ids: IdMatrix, copies: IntColumn) -> npt.NDArray[np.uint64]:
    """One number per (asset id, copy), for sorting and searching; equal numbers must still be compared in full."""
    return id_prefixes(ids) + copies.astype(np.uint64) * _COPY_MIX


@dataclass(frozen=True, slots=True)
class _Segment:
    path: Path
    size_bytes: int
    file: pq.ParquetFile  # kept open: another process may compact the folder meanwhile
    sorted_keys: npt.NDArray[np.uint64]
    order: IntColumn  # rows of the file in the order of `sorted_keys`
    ids: IdMatrix
    copies: IntColumn

    def find(self, keys: npt.NDArray[np.uint64], ids: IdMatrix, copies: IntColumn) -> IntColumn:
        """The row in this segment for each wanted key, -1 where there is none."""
        place = np.searchsorted(self.sorted_keys, keys)
        inside = np.minimum(place, len(self.sorted_keys) - 1)
        rows = self.order[inside]
        same = (self.sorted_keys[inside] == keys) & (self.copies[rows] == copies)
        maybe = np.flatnonzero(same)
        same[maybe] = (self.ids[rows[maybe]] == ids[maybe]).all(axis=1)
        return np.where(same, rows, -1)


@dataclass(frozen=True, slots=True)
class MemoHits:
    """Where the results of some keys are. `segment` is -1 where there is none."""

    segment: IntColumn
    row: IntColumn

    @property
    def found(self) -> BoolColumn:
        return self.segment >= 0

    def only(self, places: IntColumn) -> MemoHits:
        """Some of them."""
        return MemoHits(self.segment[places], self.row[places])


class OperatorMemo:
    """The results of one operator. Not for threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._segments: list[_Segment] = []
        if directory.is_dir():
            sweep_temporaries(directory)
            self._load()

    def __len__(self) -> int:
        return sum(len(segment.order) for segment in self._segments)

    def find(self, ids: IdMatrix, copies: IntColumn) -> MemoHits:
        """Where the results for these keys are. Vectorised; reads no values."""
        hits = MemoHits(np.full(len(ids), -1, dtype=np.int64), np.full(len(ids), -1, dtype=np.int64))
        keys = mixed_keys(ids, copies)
        for number, segment in enumerate(self._segments):
            left = np.flatnonzero(hits.segment < 0)
            if not len(left):
                break
            rows = segment.find(keys[left], ids[left], copies[left])
            hits.segment[left] = np.where(rows >= 0, number, -1)
            hits.row[left] = rows
        return hits

    def read(self, hits: MemoHits) -> pa.Table:
        """`problem` and `value` of hits that were all found, in their order."""
        tables: list[pa.Table] = []
        places: list[IntColumn] = []
        for number in np.unique(hits.segment):
            where = np.flatnonzero(hits.segment == number)
            tables.append(_take(self._segments[number].file, hits.row[where]))
            places.append(where)
        if not tables:
            return SCHEMA.empty_table().select(["problem", "value"])
        back = np.empty(len(hits.row), dtype=np.int64)
        back[np.concatenate(places)] = np.arange(len(hits.row))
        return pa.concat_tables(tables).take(pa.array(back)).combine_chunks()

    def append(
        self, ids: IdMatrix, copies: IntColumn, problems: Sequence[str | None], values: Sequence[bytes | None]
    ) -> None:
        """Add results, durably. Every asset they name must be durable in the store already."""
        if not len(ids):
            return
        raw = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(RAW_ID_BYTES), len(ids), [None, pa.py_buffer(np.ascontiguousarray(ids))]
        )
        columns = [raw, pa.array(copies, pa.int64()), pa.array(problems, pa.string()), pa.array(values, pa.binary())]
        path = self._publish(pa.Table.from_arrays(columns, schema=SCHEMA))
        failpoints.hit("memo.appended")
        segment = _open_segment(path)
        if segment is not None:
            self._segments.append(segment)

    def _load(self) -> None:
        paths = sorted(path for path in self._directory.iterdir() if path.suffix == SUFFIX)
        for path in paths:
            segment = _open_segment(path)
            if segment is not None:
                self._segments.append(segment)
        if sum(segment.size_bytes < SMALL_BYTES for segment in self._segments) > MOST_SMALL_SEGMENTS:
            # Somebody else compacting is no reason to wait: it is only housekeeping.
            with suppress(Locked), lock(self._directory / "lock", what="the memo", timeout_s=0):
                self._compact()

    def _compact(self) -> None:
        """Merge small segments; a process that holds the old files open keeps reading them."""
        kept = [segment for segment in self._segments if segment.size_bytes >= SMALL_BYTES]
        waiting: list[_Segment] = []
        for segment in [segment for segment in self._segments if segment.size_bytes < SMALL_BYTES]:
            waiting.append(segment)
            if sum(one.size_bytes for one in waiting) >= MERGED_BYTES:
                kept.extend(self._merge(waiting))
                waiting = []
        self._segments = [*kept, *(self._merge(waiting) if waiting else [])]

    def _merge(self, segments: list[_Segment]) -> list[_Segment]:
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, SCHEMA, **_WRITE) as writer:
            for segment in segments:
                for batch in segment.file.iter_batches(batch_size=ROWS_PER_GROUP):
                    writer.write_batch(batch)
        path = self._publish_buffer(sink.getvalue())
        failpoints.hit("memo.compacted")
        merged = _open_segment(path)
        if merged is None:
            return segments
        for segment in segments:
            if segment.path != path:
                segment.path.unlink(missing_ok=True)
        return [merged]

    def _publish(self, table: pa.Table) -> Path:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, row_group_size=ROWS_PER_GROUP, **_WRITE)
        return self._publish_buffer(sink.getvalue())

    def _publish_buffer(self, data: pa.Buffer) -> Path:
        make_directory(self._directory)
        path = self._directory / _segment_name(hashlib.sha256(data).hexdigest())
        publish_bytes(path, memoryview(data), failpoint="memo.segment")  # type: ignore[arg-type]  # any buffer will do
        return path


class Memo:
    """All operators' results, below one folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def of(self, operator_key: str) -> OperatorMemo:
        """The results of the operator with this key (64 hex)."""
        return OperatorMemo(self._directory / operator_key[:2] / operator_key)


def _open_segment(path: Path) -> _Segment | None:
    try:
        if not _is_whole(path):
            path.unlink(missing_ok=True)
            return None
        file = pq.ParquetFile(path, page_checksum_verification=True)
        table = file.read(columns=["asset_id", "copy"])
    except (pa.ArrowException, OSError, KeyError):
        return None  # it may not be read, or is of another version: nobody's to delete
    if not table.num_rows:
        return None
    raw = table.column("asset_id").combine_chunks()
    buffer = raw.buffers()[1].slice(raw.offset * RAW_ID_BYTES, len(raw) * RAW_ID_BYTES)
    ids = np.frombuffer(buffer, dtype=np.uint8).reshape(-1, RAW_ID_BYTES)
    copies = table.column("copy").to_numpy()
    keys = mixed_keys(ids, copies)
    order = np.argsort(keys, kind="stable")
    return _Segment(path, path.stat().st_size, file, keys[order], order, ids, copies)


def _is_whole(path: Path) -> bool:
    """Whether the bytes are those that the name was made of: page checksums leave out what describes the pages."""
    with path.open("rb", buffering=0) as file:
        return _segment_name(hashlib.file_digest(file, "sha256").hexdigest()) == path.name


def _segment_name(sha256: str) -> str:
    return f"{sha256[:32]}{SUFFIX}"


def _take(file: pq.ParquetFile, rows: IntColumn) -> pa.Table:
    """Rows of one segment, in the order asked; only the row groups that hold them are read."""
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    groups = np.unique(np.searchsorted(starts, rows, side="right") - 1)
    table = file.read_row_groups(groups.tolist(), columns=["problem", "value"])
    before = np.zeros(len(sizes) + 1, dtype=np.int64)  # rows that lie before each group in `table`
    before[groups + 1] = np.asarray(sizes)[groups]
    before = np.cumsum(before)
    group = np.searchsorted(starts, rows, side="right") - 1
    return table.take(pa.array(before[group] + rows - starts[group]))
