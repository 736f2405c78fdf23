from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from computations import Extraction
from datapin.base import log
from datapin.base.progress import Bar
from datapin.base.settings import StoreSettings
from datapin.pipeline.mapping.engines.local import LocalEngine
from datapin.pipeline.operators.user_code import UserFunction
from datapin.store.adding.put import FileBatch
from datapin.store.store import Store
from datapin.trees.intake.hashing import hash_files


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file to which all is told."""
    file = tmp_path / "log.txt"
    monkeypatch.setenv("DATAPIN_LOG", str(file))
    assert log.start() is None
    yield file
    monkeypatch.delenv("DATAPIN_LOG")
    logger = logging.getLogger("datapin")
    for handler in [one for one in logger.handlers if getattr(one, "is_datapin", False)]:
        logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    "text",
    [
        "git clone https://ann:S3CRET@example.com/x.git", "fatal: https://S3CRET@example.com/x.git not found",
        "s3://key:S3CRET@host/bucket", "ssh://ann:S3CRET@host:22/x", "webdavs://a%40b:S3CRET@host/x", "https://:S3CRET@host",
        "GET /x?X-Amz-Signature=S3CRET&a=1", "https://a.blob.example.com/x?sv=1&sig=S3CRET&se=2",
        "https://example.com/?access_token=S3CRET", "password = S3CRET", "{'secret_access_key': 'S3CRET', 'x': 1}",
        "--set password='S3CRET'", 'token: "S3CRET"', "Authorization: Bearer S3CRETS3CRET",
        "AWS_SECRET_ACCESS_KEY=S3CRET",
        "connection_string=AccountKey=S3CRET", "X-Api-Key: S3CRET", "header Bearer S3CRETS3CRET x",
        "ghp_S3CRETS3CRETS3CRETS3CRET", "AKIAS3CRETS3CRETS3CR", "it is hidden-S3CRET, from the environment",
    ],
)  # fmt: skip
def test_secrets_are_taken_out(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "hidden-S3CRET")
    shown = log.redacted(text)
    assert "S3CRET" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "git -C /data/repo rev-parse HEAD", "ssh://git@host/x", "s3://bucket/key", "label = 'x' AND split = 'val'",
        "https://example.com:8080/path@v1", "tokens 12", "data/raw@v1:a/00.bin", "the password is wrong",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert log.redacted(text) == text


def test_off_costs_no_import_and_tells_nothing() -> None:
    code = (
        "import sys; from datapin.base import log; log.step('x', 'y'); log.detail('x', '%s', 1); "
        "log.start(); print('logging' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("False\n", "")


def test_programs_listen_by_logging(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="datapin"):
        log.step("store", "wrote %d", 3)
        log.detail("store", "unseen")
    assert [(one.name, one.getMessage()) for one in caplog.records] == [("datapin.store", "wrote 3")]


def test_processes_that_are_started_are_told(listening: Path) -> None:
    subprocess.run([sys.executable, "-c", "", "https://ann:S3CRET@example.com/"], check=True)
    text = listening.read_text()
    assert "process: " in text
    assert f"{sys.executable} -c '' https://***@example.com/" in text
    assert listening.stat().st_mode & 0o077 == 0


BROKEN = """
def broken(assets):
    secret = 1
    return deeper(assets)

def deeper(assets):
    raise KeyError("no such pixel")
"""


def test_a_users_operator_tells_its_traceback_once_also_from_a_worker(listening: Path, tmp_path: Path) -> None:
    (tmp_path / "mine_broken.py").write_text(BROKEN)
    function = UserFunction(str(tmp_path), "mine_broken", "broken", "{}", "{}")
    try:
        found = function.extract([b"x", b"y"])
    finally:
        del sys.modules["mine_broken"]
    assert [problem is not None for problem in found.problems] == [True, True]
    text = listening.read_text()
    assert text.count("Traceback") == 1
    assert "in deeper" in text
    assert "KeyError: 'no such pixel'" in text
    os.truncate(listening, 0)
    results = list(LocalEngine(1, alone_s=None).run(Extraction(function), [(0, [b"x"])]))
    assert results[0][1].problems == found.problems[:1]
    assert "in deeper" in listening.read_text()


class _Counted:
    """A progress that adds up."""

    def __init__(self) -> None:
        self.bars: list[tuple[str, int | None, str]] = []
        self.steps: list[int] = []

    def bar(self, title: str, total: int | None, unit: str) -> _Counted:
        self.bars.append((title, total, unit))
        return self

    def note(self, message: str) -> None:
        raise AssertionError(message)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *ended: object) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        self.steps.append(amount)


@pytest.mark.parametrize("jobs", [1, 2])
def test_adding_tells_its_progress_by_bytes_within_a_file_too(tmp_path: Path, jobs: int) -> None:
    sizes = [20 << 20, 100, 50 << 20, 3000]
    paths = [tmp_path / f"{number}.bin" for number in range(len(sizes))]
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        path.write_bytes(bytes([number]) * size)
    store = Store.create(tmp_path / "store", StoreSettings())
    files = FileBatch([str(path) for path in paths], [path.name for path in paths], np.array(sizes))
    for _ in range(2):  # the second time they are there, and are only hashed and compared
        progress = _Counted()
        store.put_files(files, jobs=jobs, progress=progress)
        assert progress.bars == [("adding files", sum(sizes), "B")]
        assert sum(progress.steps) == sum(sizes)
        assert max(progress.steps) <= 8 << 20, "a large file is told while it is read"
    progress = _Counted()
    hash_files(files.paths, jobs=jobs, progress=progress)
    assert sum(progress.steps) == sum(sizes)
