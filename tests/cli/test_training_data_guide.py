"""The Python of the guide to training data runs as it stands, one block after the other, in a script of the user's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from clones import ENVIRONMENT, Clone
from guides import GUIDES

STAND_IN = Path(__file__).parents[1] / "stand_in"


def test_the_blocks_of_the_guide_run(filled: Clone) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (GUIDES / "training-data.md").read_text(encoding="utf-8"), flags=re.S)
    assert len(blocks) == 4
    script = filled.path / "train.py"
    checks = (
        "assert sorted(order.tolist()) == list(range(12)) and len(contents) == len(labels) == 8\n"
        "assert checkpoint['epoch'] == 1 and checkpoint['done'] == 12 and rest == []\n"
        "assert data == b'a0' * 50\n"
    )
    script.write_text("\n".join(blocks) + checks)
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(STAND_IN), *sys.path])}
    words = [sys.executable, str(script)]
    ended = subprocess.run(words, cwd=filled.path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
