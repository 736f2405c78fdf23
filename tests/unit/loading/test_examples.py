"""The training scripts under examples/ run as they stand, as stages of a user's pipeline."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from clones import Clone
from datapin import Repo
from datapin.pipeline.record.record import read_record

EXAMPLES = Path(__file__).parents[3] / "examples"
PARAMS = """
prepare: {split: {train: 0.6, val: 0.2, test: 0.2}}
augment: {copies: 1, operators: {shift: {fraction: 0.1}}}
featurize: {extract: [{use: pixels}]}
train: {seed: 3, epochs: 15}
"""

BEFORE = """
stages:
  prepare: {cmd: datapin run prepare, deps: [data/raw], params: [prepare], outs: [data/prepared]}
  augment: {cmd: datapin run augment, deps: [data/prepared], params: [augment], outs: [data/augmented]}
"""
FEATURES = """
  featurize: {cmd: datapin run featurize, deps: [data/augmented], params: [featurize], outs: [data/features]}
"""


@pytest.fixture(scope="module")
def digits(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred digits, prepared and augmented."""
    path = tmp_path_factory.mktemp("examples") / "repo"
    shutil.copytree(blank, path, symlinks=True)
    data = load_digits()
    for number in range(200):
        file = path / "photos" / str(data.target[number]) / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((data.images[number] * 15).astype("uint8")).save(file)
    (path / ".gitignore").write_text("/photos\n")
    (path / "params.yaml").write_text(PARAMS)
    repo = Repo.find(path)
    repo.add(path / "photos", to="data/raw", label="parent")
    (path / "dvc.yaml").write_text(BEFORE)
    Clone(path).dvc("repro", "-q")
    return path


def trained(digits: Path, path: Path, example: str, **environment: str) -> Path:
    """A copy of the repository in which the example ran as the stage that its docstring shows."""
    shutil.copytree(digits, path, symlinks=True)
    text = (EXAMPLES / example / "train.py").read_text()
    (path / "train.py").write_text(text)
    stage = re.search(r"^    train:\n(?:^      .*\n)+", text, re.MULTILINE)
    assert stage is not None
    features = FEATURES if "data/features" in stage[0] else ""
    (path / "dvc.yaml").write_text(BEFORE + features + "\n".join(line[2:] for line in stage[0].splitlines()) + "\n")
    Clone(path).run("dvc", "repro", "-q", env=environment)
    return path


def test_partial_fit_streams_from_packs(digits: Path, tmp_path: Path) -> None:
    root = trained(digits, tmp_path / "one", "partial_fit")
    metrics = json.loads((root / "reports/metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.7
    assert read_record(root / "reports/run.json")["model"]["path"] == "models/model.skops"
    Clone(root).commit("trained")
    report = Repo.find(root).verify("HEAD", checks=["pins", "repro.outputs"])
    assert report.ok, report.findings


@pytest.mark.skipif(not os.environ.get("DATAPIN_REAL_TORCH"), reason="make torch runs it, with the real PyTorch")
def test_pytorch_gives_the_same_weights_for_any_number_of_workers(digits: Path, tmp_path: Path) -> None:
    roots = [trained(digits, tmp_path / count, "pytorch", WORKERS=count) for count in ("0", "1", "2")]
    assert len({(root / "models/model.pt").read_bytes() for root in roots}) == 1
    metrics = json.loads((roots[0] / "reports/metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.7


@pytest.mark.skipif(not os.environ.get("DATAPIN_REAL_LIGHTGBM"), reason="make examples runs it, with LightGBM")
def test_lightgbm_stops_by_another_split_and_gives_the_same_bytes_again(digits: Path, tmp_path: Path) -> None:
    root = trained(digits, tmp_path / "one", "lightgbm")
    metrics = json.loads((root / "reports/metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.7
    history = (root / "reports/plots/history.csv").read_text().splitlines()
    assert history[0] == "round,val_loss"
    assert 1 <= metrics["rounds"] < len(history)
    Clone(root).commit("trained")
    report = Repo.find(root).verify("HEAD", checks=["pins", "repro.outputs"])
    assert report.ok, report.findings
