"""Columns of shards that were read and may be asked for again, as many as fit into a number of bytes."""

from __future__ import annotations

from threading import Lock

import pyarrow as pa

MOST_KEPT_BYTES = 64 << 20  # about 500,000 rows without vectors


class KeptColumns:
    """Checked columns by number of the shard; the shard that was put first goes first. Threads may share it."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._columns: dict[int, dict[str, pa.ChunkedArray]] = {}
        self._bytes: dict[int, int] = {}
        self._lock = Lock()

    def of(self, number: int) -> dict[str, pa.ChunkedArray]:
        """What is kept of this shard."""
        with self._lock:
            return dict(self._columns.get(number, {}))

    def put(self, number: int, read: pa.Table) -> None:
        """Keep these columns of the shard, if they fit at all."""
        with self._lock:
            self._columns.setdefault(number, {}).update(zip(read.column_names, read.columns, strict=True))
            self._bytes[number] = self._bytes.get(number, 0) + read.nbytes
            while sum(self._bytes.values()) > self._most_bytes:
                first = next(iter(self._columns))
                del self._columns[first], self._bytes[first]
