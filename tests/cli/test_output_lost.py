"""Output that nobody reads, or that cannot be written: said in a line where it can be, and the exit code is true."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from clones import BIN, ENVIRONMENT, Clone

# Python passes on each write, or gathers them until the end.
BUFFERED = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONUNBUFFERED"}
UNBUFFERED = {**BUFFERED, "PYTHONUNBUFFERED": "1"}

Ending = Callable[..., tuple[int, str]]


@pytest.fixture(params=[BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
def written_to(request: pytest.FixtureRequest, filled: Clone) -> Ending:
    """Run a command whose output goes to this descriptor: its exit code, and what it told on the other stream."""

    def run(output: int, *words: str, errors: int = subprocess.PIPE) -> tuple[int, str]:
        ended = subprocess.run(
            [BIN / "datapin", *words], cwd=filled.path, env=request.param, stdout=output, stderr=errors, text=True
        )
        return ended.returncode, ended.stderr or ""

    return run


@pytest.fixture
def gone() -> int:
    """A pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.fixture
def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize(
    "words",
    [("show", "data/raw"), ("ls", "data/raw", "--json"), ("--help",), ("--version",), ("status", "--help")],
    ids=" ".join,
)
def test_a_reader_that_went_away_is_no_error(written_to: Ending, gone: int, words: tuple[str, ...]) -> None:
    assert written_to(gone, *words) == (0, "")


def test_notes_and_results_may_go_to_the_same_closed_pipe(written_to: Ending, gone: int) -> None:
    assert written_to(gone, "add", "img", "--to", "data/raw", errors=gone) == (0, "")


@pytest.mark.parametrize(
    "words", [("show", "data/raw"), ("show", "data/raw", "--json"), ("ls", "data/raw"), ("--help",)], ids=" ".join
)
def test_output_that_cannot_be_written_is_told(written_to: Ending, full: int, words: tuple[str, ...]) -> None:
    code, told = written_to(full, *words)
    assert code == 30
    assert told.splitlines()[0] == "error: cannot write the output: No space left on device"
    assert "stays done" in told.splitlines()[1]
    assert len(told.splitlines()) == 2


def test_an_error_that_cannot_be_told_keeps_its_code(written_to: Ending, full: int, gone: int) -> None:
    for closed in (full, gone):
        assert written_to(closed, "show", "data/nope", "--json")[0] == 10
        assert written_to(subprocess.DEVNULL, "show", "data/nope", errors=closed)[0] == 10


def test_another_broken_pipe_is_an_error(filled: Clone) -> None:
    program = (
        "import click, datapin.cli.main as main\n"
        "def broken(context):\n    raise BrokenPipeError(32, 'Broken pipe')\n"
        "main.root.invoke = broken\nmain.main(['status'])"
    )
    ended = filled.run(BIN / "python", "-c", program, code=30)
    assert ended.stderr.splitlines()[0] == "error: cannot use a file: Broken pipe"
