"""The guide to tables is a session: its commands run in order and print what it says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from clones import ENVIRONMENT, Clone

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "tables.md").read_text(encoding="utf-8")


def test_the_guide_to_tables_says_what_is_printed(repo: Clone) -> None:
    for number, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")):
        path = repo.path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {number}")
    (table,) = re.findall(r"```\n(Filename.*?)```", GUIDE, re.DOTALL)
    (repo.path / "table.csv").write_text(table)
    (reviews,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    (repo.path / "reviews.jsonl").write_text(reviews)
    sessions = re.findall(r"```console\n\$ (.*?)\n(.*?)```", GUIDE, re.DOTALL)
    assert len(sessions) == 8
    for command, printed in sessions:
        ended = subprocess.run(
            command, shell=True, cwd=repo.path, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        said = ended.stdout + ended.stderr
        assert said.startswith(printed), f"{command}\n{said}"
    assert repo.json("show", "data/raw")["columns"][-1] == {"name": "score", "type": "double"}
