"""Queries that never end, take all memory, or answer with more than anybody reads."""

from __future__ import annotations

import os
import signal
import threading

import pyarrow as pa
import pytest

from datapin.base.errors import BadQuery
from datapin.manifest import query_bounds
from datapin.manifest.query import evaluate, run_query, select_rows
from datapin.manifest.query_bounds import TIME_VARIABLE

ROWS = pa.table({"key": [str(number) for number in range(500)], "n": pa.array(range(500))})
ENDLESS = "(SELECT count(*) FROM rows a, rows b, rows c, rows d, rows e)"


def _ask(sql: str) -> pa.Table:
    return run_query(sql, lambda name: ROWS)


def test_where_set_and_query_end_after_the_time_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIME_VARIABLE, "0.3")
    with pytest.raises(BadQuery, match=r"ended after 0\.3 s; DATAPIN_QUERY_TIMEOUT_S"):
        select_rows(ROWS, f"n < {ENDLESS}")
    with pytest.raises(BadQuery, match="ended after"):
        evaluate(ROWS, {"n": ENDLESS})
    with pytest.raises(BadQuery, match="ended after"):
        _ask("WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r")
    monkeypatch.setenv(TIME_VARIABLE, "long")
    with pytest.raises(BadQuery, match="expected a number of seconds"):
        _ask("SELECT 1")
    monkeypatch.delenv(TIME_VARIABLE)
    assert _ask("SELECT count(*) AS n FROM x").to_pylist() == [{"n": 500}]


def test_an_answer_too_large_and_a_query_too_greedy_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_bounds, "ANSWER_BYTES", 1 << 20)
    with pytest.raises(BadQuery, match="answers with more than 1 MiB"):
        _ask("SELECT * FROM range(2000000000)")
    monkeypatch.setattr("datapin.manifest.query.memory_bytes", lambda: 64 << 20)
    with pytest.raises(BadQuery, match=r"[Mm]emory"):
        _ask("SELECT max(len(l)) FROM (SELECT list(range) AS l FROM range(100000000))")


def test_ctrl_c_ends_a_query_as_it_ends_any_command() -> None:
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        select_rows(ROWS, f"n < {ENDLESS}")
    timer.join()
