"""The train stage of the shipped dvc.yaml under stock DVC: run cache, metrics, plots."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from clones import BIN, Clone
from datapin.manifest.write import write_manifest
from datapin.pipeline.record.environment_file import environment_of

ROOT = Path(__file__).parents[2]
KEPT_BY_GIT = ("metrics.json", "run.json", "plots/confusion_matrix.csv", "plots/roc.csv", "plots/calibration.csv")


_HERE = "from datapin.pipeline.record.environment import environment_here; print(environment_here())"


def _set_trees(clone: Clone, trees: int) -> None:
    (clone.path / "params.yaml").write_text(
        f"prepare: {{}}\naugment: {{}}\nfeaturize: {{}}\ntrain: {{estimator_params: {{n_estimators: {trees}}}}}\n"
    )


@pytest.fixture(scope="module")
def once(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with features, the shipped train stage alone, and one `dvc repro` behind it."""
    repo = Clone(tmp_path_factory.mktemp("trained") / "repo")
    shutil.copytree(blank, repo.path, symlinks=True)
    rng = np.random.default_rng(0)
    keys = [f"{'ab'[i % 2]}/{i:03d}" for i in range(80)]
    points = rng.normal(size=(80, 3)).astype(np.float32) + 2.0 * (np.arange(80)[:, None] % 2).astype(np.float32)
    table = pa.table(
        {
            "key": keys,
            "asset_id": [hashlib.sha256(key.encode()).hexdigest() for key in keys],
            "size": pa.array([1] * 80, pa.int64()),
            "media_type": ["image/png"] * 80,
            "label": [key[0] for key in keys],
            "split": [("train", "train", "val", "test")[i // 2 % 4] for i in range(80)],
            "features": pa.FixedSizeListArray.from_arrays(pa.array(points.reshape(-1)), 3),
        }
    )
    (repo.path / "data").mkdir()
    write_manifest(table, repo.path / "data/features")
    yaml = YAML(typ="safe", pure=True)
    stages = yaml.load((ROOT / "dvc.yaml").read_text())["stages"]
    with (repo.path / "dvc.yaml").open("w") as file:
        yaml.dump({"stages": {"train": stages["train"]}}, file)
    _set_trees(repo, 5)
    repo.dvc("repro")
    return repo.path


@pytest.fixture
def trained(once: Path, tmp_path: Path) -> Clone:
    shutil.copytree(once, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def test_the_run_cache_restores_model_and_record_together(trained: Clone) -> None:
    first = {name: (trained.path / "reports" / name).read_bytes() for name in KEPT_BY_GIT}
    model = (trained.path / "models/model.skops").read_bytes()
    _set_trees(trained, 6)
    trained.dvc("repro")
    assert (trained.path / "models/model.skops").read_bytes() != model
    _set_trees(trained, 5)
    said = trained.dvc("repro").stdout
    assert "is cached - skipping run, checking out outputs" in said
    assert (trained.path / "models/model.skops").read_bytes() == model
    assert {name: (trained.path / "reports" / name).read_bytes() for name in KEPT_BY_GIT} == first
    told = (trained.path / "reports/environment.json").read_bytes()  # DVC brings it not back: it tells of both
    assert environment_of(json.loads(first["run.json"])["runs"][0], told) is not None
    note = json.loads((trained.path / "reports/run.git.json").read_bytes())
    assert note["record_sha256"] != hashlib.sha256(first["run.json"]).hexdigest()  # stale, and it can be seen


def test_another_machine_that_makes_the_same_bytes_leaves_the_tree_clean(trained: Clone) -> None:
    (trained.path / "reports/.gitignore").write_text("/run.git.json\n/predictions.parquet\n")
    trained.commit("v1")
    before = (trained.path / "reports/environment.json").read_bytes()
    assert trained.git("ls-files", "reports/environment.json").strip()
    other = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4", "TZ": "Asia/Tokyo"}
    seen = trained.run(BIN / "python", "-c", _HERE, env=other).stdout
    assert seen != trained.run(BIN / "python", "-c", _HERE).stdout  # it does look like another machine
    trained.run(BIN / "dvc", "repro", "--force", env=other)
    assert trained.git("status", "--porcelain") == ""
    _set_trees(trained, 6)
    trained.run(BIN / "dvc", "repro", env=other)
    told = json.loads((trained.path / "reports/environment.json").read_bytes())["made"]
    assert [len(one["outputs"]) for one in told] == [1, 1]
    assert told[0] == json.loads(before)["made"][0]
    assert "Nehalem" in json.dumps(told[1]["environment"])


def test_dvc_shows_the_metrics_and_draws_every_plot_once(trained: Clone) -> None:
    shown = json.loads(trained.dvc("metrics", "show", "--json").stdout)[""]["data"]
    assert set(shown["reports/metrics.json"]["data"]) == {"val", "test"}
    assert set(shown["reports/metrics.json"]["data"]["test"]) == {"accuracy", "f1_macro", "log_loss", "rows"}
    assert shown["reports/run.json"]["data"] == {}
    plots = json.loads(trained.dvc("plots", "show", "--json").stdout)
    assert not plots.get("errors")
    assert set(plots["data"]) == {
        f"reports/plots/{name}.csv" for name in ("confusion_matrix", "roc", "calibration", "class_distribution")
    }
    for drawn in plots["data"].values():
        assert len(drawn) == 1
        assert drawn[0]["content"]["data"]["values"]


def test_git_keeps_the_reports_and_neither_the_model_nor_the_note(trained: Clone) -> None:
    (trained.path / "reports/.gitignore").write_text("/run.git.json\n/predictions.parquet\n")
    listed = trained.git("ls-files", "--others", "--exclude-standard").split()
    assert {f"reports/{name}" for name in KEPT_BY_GIT} <= set(listed)
    assert not {"models/model.skops", "reports/predictions.parquet", "reports/run.git.json"} & set(listed)
