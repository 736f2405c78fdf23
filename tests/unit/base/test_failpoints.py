from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = "from datapin.base import failpoints as f\nfor i in range(3):\n    f.hit('a.b'); print(i, flush=True)"


def run(point: str, log: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DATAPIN_FAILPOINT": point, "DATAPIN_FAILPOINT_LOG": str(log or "")}
    return subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=False)


def test_an_unarmed_point_does_nothing() -> None:
    assert run("").stdout == "0\n1\n2\n"
    assert run("a.c:1:exit").stdout == "0\n1\n2\n"


def test_a_point_acts_at_its_count() -> None:
    died = run("a.b:2:exit")
    assert (died.returncode, died.stdout) == (137, "0\n")


def test_a_point_can_raise_an_errno() -> None:
    failed = run("a.b:1:oserror=28")
    assert "No space left on device" in failed.stderr


def test_the_log_lists_what_was_passed(tmp_path: Path) -> None:
    run("", tmp_path / "log")
    assert (tmp_path / "log").read_text() == "a.b\n" * 3
