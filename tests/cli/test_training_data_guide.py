"""The Python of the guide to training data runs as it stands, one block after the other, in a script of the user's."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clones import ENVIRONMENT, Clone
from guides import GUIDES
from workspaces import picture

STAND_IN = Path(__file__).parents[1] / "stand_in"


def blocks(*headings: str) -> list[str]:
    """The Python of these sections."""
    sections = re.split(r"^## ", (GUIDES / "training-data.md").read_text(encoding="utf-8"), flags=re.M)
    fitting = [section for section in sections if section.partition("\n")[0] in headings]
    assert len(fitting) == len(headings)
    return [block for section in fitting for block in re.findall(r"```python\n(.*?)```", section, flags=re.S)]


def run(clone: Clone, code: list[str], checks: str) -> None:
    script = clone.path / "train.py"
    script.write_text("\n".join([*code, checks]))
    stand_in = [] if os.environ.get("DATAPIN_REAL_TORCH") else [str(STAND_IN)]
    more = {"PYTHONPATH": os.pathsep.join([*stand_in, *sys.path]), "HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    words = [sys.executable, str(script)]
    ended = subprocess.run(words, cwd=clone.path, env={**ENVIRONMENT, **more}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_the_blocks_of_the_guide_run(filled: Clone) -> None:
    code = blocks("From Python", "PyTorch", "Every library that opens URLs")
    assert len(code) == 4
    checks = (
        "assert sorted(order.tolist()) == list(range(12)) and len(contents) == len(labels) == 8\n"
        "assert checkpoint['epoch'] == 1 and checkpoint['done'] == 12 and rest == []\n"
        "assert data == b'a0' * 50\n"
    )
    run(filled, code, checks)


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="datasets is not installed: make torch")
def test_the_block_for_hugging_face_runs(repo: Clone) -> None:
    for number in range(6):
        path = repo.path / "img" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    repo.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    repo.commit("v1")
    checks = (
        "assert side == 12 and pictures.column_names == ['key', 'label', 'image']\n"
        "assert first['key'] == rows[int(rows.order(7, 3)[0])].key and first['image'].size == (12, 12)\n"
    )
    run(repo, blocks("Hugging Face datasets"), checks)


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed: make torch")
def test_the_block_for_tensorflow_runs(filled: Clone) -> None:
    checks = (
        "found = [(data, label) for b in ds.as_numpy_iterator() for data, label in zip(*b)]\n"
        "assert [data for data, _ in found] == rows.read_many(rows.order(7, 0))\n"
        "assert sorted(label for _, label in found) == [b'a'] * 6 + [b'b'] * 6\n"
    )
    run(filled, blocks("TensorFlow"), checks)
