"""Where outputs were made, in the file that Git tracks and no pin covers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from datapin.pipeline.record.environment_file import (
    environment_of,
    environment_path,
    read_environments,
    with_environment,
)

HERE, THERE = {"python": "3.11.7", "zlib": "1.2.13"}, {"python": "3.12.1", "zlib": "1.3"}


def outputs(number: int) -> dict[str, str]:
    return {"models/model.skops": f"{number:064x}", "reports/metrics.json": "0" * 64}


def test_known_outputs_leave_the_file_alone_wherever_they_are_made_again() -> None:
    first = with_environment(None, outputs(1), HERE)
    assert first is not None
    assert with_environment(first, outputs(1), HERE) is None
    assert with_environment(first, outputs(1), THERE) is None
    assert environment_of({"outputs": outputs(1)}, first) == HERE


def test_each_set_of_outputs_keeps_its_own_environment() -> None:
    data = None
    for number, where in enumerate([HERE, HERE, THERE, HERE]):
        data = with_environment(data, outputs(number), where) or data
    told = [environment_of({"outputs": outputs(number)}, data) for number in range(5)]
    assert told == [HERE, HERE, THERE, HERE, None]
    assert json.dumps(json.loads(data or b"")).count('"python"') == 2  # each environment stands there once


def test_the_oldest_are_forgotten_and_the_newest_never() -> None:
    data = None
    for number in range(120):
        data = with_environment(data, outputs(number), {"python": f"3.{number // 15}"}) or data
    known = [number for number in range(120) if environment_of({"outputs": outputs(number)}, data)]
    assert known == list(range(70, 120))


def test_a_record_of_the_first_versions_tells_it_itself() -> None:
    beside = with_environment(None, outputs(1), THERE)
    old = {"outputs": outputs(2), "environment": HERE}
    assert environment_of(old, None) == HERE
    assert environment_of(old, beside) == HERE
    assert environment_of({"outputs": outputs(2)}, beside) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<<<<<<< ours\n{}\n=======\n",
        b"null",
        b"[]",
        b'{"format": 2, "made": []}',
        b'{"format": 1, "made": 3}',
        b'{"format": 1, "made": [3, {"environment": 1, "outputs": []}, {"environment": {}, "outputs": {}}]}',
        b"[" * 200_000,
        b"\xff\xfe",
        b" " * (2 << 20),
    ],
)
def test_what_is_no_such_file_tells_nothing_and_is_written_anew(data: bytes) -> None:
    assert environment_of({"outputs": outputs(1)}, data) is None
    again = with_environment(data, outputs(1), HERE)
    assert environment_of({"outputs": outputs(1)}, again) == HERE


def test_a_pipe_or_a_folder_in_its_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_environments(tmp_path / "pipe") is None
    assert read_environments(tmp_path) is None
    assert read_environments(tmp_path / "absent") is None
    assert environment_path("reports/run.json") == "reports/environment.json"
    assert environment_path("run.json") == "environment.json"
