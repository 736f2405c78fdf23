"""The dvc.yaml and params.yaml that ship, here and in the template: they fit the stages and each other."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from sklearn.datasets import load_digits

import datapin
from datapin.pipeline.params.params import read_params
from datapin.pipeline.params.stages import AugmentParams, FeaturizeParams, PrepareParams
from datapin.pipeline.params.train_params import TrainParams
from datapin.pipeline.training.estimators import build_pipeline

ROOT = Path(__file__).parents[3]
TEMPLATES = Path(datapin.__file__).parent / "verbs/setup/templates"
FOLDERS = pytest.mark.parametrize(
    "folder", [ROOT, *(TEMPLATES / kind for kind in ("image", "audio", "text"))], ids=lambda path: path.name
)


def _stages(folder: Path) -> dict[str, Any]:
    folder = TEMPLATES / "every" if folder.parent == TEMPLATES else folder
    stages: dict[str, Any] = YAML(typ="safe", pure=True).load((folder / "dvc.yaml").read_text())["stages"]
    return stages


def _paths(entries: list[Any]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


@FOLDERS
def test_every_stage_accepts_its_params(folder: Path) -> None:
    params = folder / "params.yaml"
    prepare = read_params(params, "prepare", PrepareParams)
    augment = read_params(params, "augment", AugmentParams)
    featurize = read_params(params, "featurize", FeaturizeParams)
    train = read_params(params, "train", TrainParams)
    build_pipeline(train, "params.yaml")
    assert (augment.input, featurize.input, train.input) == (prepare.output, augment.output, featurize.output)


@FOLDERS
def test_dvc_knows_what_each_stage_reads_and_writes(folder: Path) -> None:
    stages, params = _stages(folder), folder / "params.yaml"
    models: dict[str, type[PrepareParams | AugmentParams | FeaturizeParams]] = {
        "prepare": PrepareParams,
        "augment": AugmentParams,
        "featurize": FeaturizeParams,
    }
    for name, model in models.items():
        section = read_params(params, name, model)
        assert stages[name]["cmd"] == f"datapin run {name}"
        assert stages[name]["deps"] == [section.input]
        assert stages[name]["outs"] == [section.output]
        assert stages[name]["params"] == [name]


@FOLDERS
def test_dvc_knows_every_file_of_train_and_every_section_its_record_holds(folder: Path) -> None:
    train = _stages(folder)["train"]
    assert train["params"] == ["prepare", "augment", "featurize", "train"]
    declared = _paths(train["outs"]) + _paths(train["metrics"]) + _paths(train["plots"])
    assert sorted(declared) == [
        "models/model.skops",
        "reports/metrics.json",
        "reports/plots/calibration.csv",
        "reports/plots/class_distribution.csv",
        "reports/plots/confusion_matrix.csv",
        "reports/plots/roc.csv",
        "reports/predictions.parquet",
        "reports/run.json",
    ]


@FOLDERS
def test_what_git_keeps_is_declared_as_metrics_or_plots_or_the_run_cache_would_be_off(folder: Path) -> None:
    for stage in _stages(folder).values():
        assert all(isinstance(entry, str) for entry in stage["outs"])


def test_the_template_is_the_pipeline_of_this_repository() -> None:
    assert (TEMPLATES / "every" / "dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()


def test_the_script_writes_every_digit_as_scikit_learn_has_it(tmp_path: Path) -> None:
    write_digits = runpy.run_path(str(ROOT / "data/make_digits.py"))["write_digits"]
    assert write_digits(tmp_path) == 1797
    digits = load_digits()
    files = sorted(tmp_path.rglob("*.png"), key=lambda path: path.name)
    assert len(files) == 1797
    for path in files[::50]:
        number = int(path.stem)
        assert path.parent.name == str(digits.target[number])
        ink = np.asarray(Image.open(path)).astype(float) / 255 * 16
        assert (ink.round() == digits.images[number]).all()
