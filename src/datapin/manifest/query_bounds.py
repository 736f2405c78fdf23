"""What a query of the user's may cost: time, memory, the size of its answer; Ctrl-C ends it as it ends any command."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from datapin.base.errors import BadQuery
from datapin.manifest.sql import first_line

if TYPE_CHECKING:
    import duckdb

TIME_VARIABLE = "DATAPIN_QUERY_TIMEOUT_S"
TIME_S = 60.0
ANSWER_BYTES = 1 << 30
_MOST_MEMORY_BYTES = 4 << 30
_ROWS_AT_ONCE = 1 << 15
_INTERRUPTED = "interrupted"
_AGAIN_S = 0.05
_LONGEST_WAIT_S = 3600.0
_OVER = b"\0"  # no signal has this number


def memory_bytes() -> int:
    """What DuckDB may take: 4 GiB, or half of what the machine has."""
    return min(_MOST_MEMORY_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)


@contextmanager
def refusals(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[None]:
    """Turn DuckDB's errors into ours, and end what takes too long. Raises BadQuery, KeyboardInterrupt."""
    import duckdb

    most_s = _seconds(sql)
    try:
        with _ended_in_time(connection, most_s) as expired:
            yield
    except (duckdb.Error, pa.ArrowException, RuntimeError) as error:
        if expired.is_set():
            allowed = f"ended after {most_s:g} s; {TIME_VARIABLE} in the environment allows more"
            raise BadQuery(sql[:200], allowed) from None
        if _INTERRUPTED in str(error).lower():
            raise KeyboardInterrupt from None
        if not isinstance(error, duckdb.Error | pa.ArrowException):
            raise
        raise BadQuery(sql, first_line(str(error))) from None
    except MemoryError:
        raise BadQuery(sql[:200], "needs more memory than there is") from None


@contextmanager
def _ended_in_time(connection: duckdb.DuckDBPyConnection, most_s: float) -> Iterator[threading.Event]:
    """Interrupt what runs in `connection` after `most_s` (then the event is set), or when the user presses Ctrl-C.

    Python tells a signal to its main thread only, and that may wait for an answer in DuckDB or Arrow, neither of which
    always asks. So the signal wakes a thread, which interrupts until the block has ended: one interrupt that comes just
    before a statement begins is lost.
    """
    expired = threading.Event()
    awake, wake = os.pipe()
    os.set_blocking(wake, False)
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False) if is_main else -1

    def watch() -> None:
        ends_at, is_ending = time.monotonic() + most_s, False
        while True:
            left_s = _AGAIN_S if is_ending else max(0.0, ends_at - time.monotonic())
            ready, _, _ = select.select([awake], [], [], min(left_s, _LONGEST_WAIT_S))
            told = os.read(awake, 64) if ready else b""
            if _OVER in told:
                return
            if not is_ending and time.monotonic() >= ends_at:
                expired.set()
            is_ending = is_ending or expired.is_set() or bytes([signal.SIGINT]) in told
            if is_ending:
                connection.interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield expired
    finally:
        if is_main:
            signal.set_wakeup_fd(before)
        os.set_blocking(wake, True)
        os.write(wake, _OVER)
        watcher.join()
        os.close(wake)
        os.close(awake)


def bounded_table(relation: duckdb.DuckDBPyRelation, sql: str) -> pa.Table:
    """The whole answer. Raises BadQuery if it is larger than anybody reads."""
    batches, size = [], 0
    try:
        with relation.to_arrow_reader(_ROWS_AT_ONCE) as reader:
            schema = reader.schema
            for batch in reader:
                size += batch.nbytes
                if size > ANSWER_BYTES:
                    problem = f"answers with more than {ANSWER_BYTES >> 20} MiB; ask for fewer rows or columns"
                    raise BadQuery(sql[:200], problem)
                batches.append(batch)
    except OSError as error:  # as which Arrow hands on what DuckDB says in mid-stream
        raise pa.ArrowInvalid(str(error)) from None
    return pa.Table.from_batches(batches, schema)


def _seconds(sql: str) -> float:
    said = os.environ.get(TIME_VARIABLE, "")
    try:
        most_s = float(said) if said else TIME_S
    except ValueError:
        most_s = 0.0
    if not 0 < most_s < threading.TIMEOUT_MAX:
        raise BadQuery(sql[:200], f"{TIME_VARIABLE} is {said!r}, expected a number of seconds")
    return most_s
