from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = "from datapin.base import failpoints as f\nfor i in range(3):\n    f.hit('a.b'); print(i, flush=True)"


def run(point: str, log: Path | None = None, code: str = CODE) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DATAPIN_FAILPOINT": point, "DATAPIN_FAILPOINT_LOG": str(log or "")}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


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


def test_threads_that_pass_a_point_together_are_counted_one_by_one() -> None:
    code = """
import sys, threading
from datapin.base import failpoints as f
sys.setswitchinterval(1e-6)
acted = []
def pass_often():
    for _ in range(5000):
        try:
            f.hit('a.b')
        except OSError as error:
            acted.append(error.errno)
threads = [threading.Thread(target=pass_often) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(acted)
"""
    assert run("a.b:20000:oserror=28", code=code).stdout == "[28]\n"
    assert run("a.b:20001:oserror=28", code=code).stdout == "[]\n"
