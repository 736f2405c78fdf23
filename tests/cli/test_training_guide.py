"""The guide to training scripts: its script runs as a stage, and its session with experiments works."""

from __future__ import annotations

import json
import re

from clones import Clone
from guides import GUIDES, session
from workspaces import picture


def test_the_script_of_the_guide_runs_as_the_stage_of_the_guide(repo: Clone) -> None:
    guide = (GUIDES / "training.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", guide, flags=re.S)
    (stage,) = re.findall(r"```yaml\n(.*?)```", guide, flags=re.S)
    for number in range(40):
        file = repo.path / "photos" / "ab"[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(number))
    (repo.path / ".gitignore").write_text("/photos\n")
    (repo.path / "params.yaml").write_text("prepare: {split: {train: 0.6, val: 0.2, test: 0.2}}\ntrain: {seed: 0}\n")
    (repo.path / "train.py").write_text(script)
    prepare = "{cmd: datapin run prepare, deps: [data/raw], params: [prepare], outs: [data/prepared]}"
    (repo.path / "dvc.yaml").write_text(f"stages:\n  prepare: {prepare}\n{stage}")
    repo.datapin("add", "photos", "--to", "data/raw", "--label", "parent", "-q")
    repo.dvc("repro", "-q")
    repo.commit("trained")
    assert json.loads((repo.path / "reports/metrics.json").read_text())["classes"] == 2
    assert repo.json("trace", "models/model.bin")["nodes"][0]["kind"] == "output"
    repo.datapin("verify", "HEAD", "-q")
    part = guide[guide.index("## Many parameter sets") :]
    assert session(repo, part) == part
    experiments = repo.dvc("exp", "list", "--name-only").stdout.split()
    assert {"seed-1", "seed-2"} <= set(experiments)
