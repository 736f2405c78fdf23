"""A train that is killed leaves old files or new ones, and a record only where every file it names is there."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datapin.base.settings import StoreSettings
from datapin.manifest.write import write_manifest
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.memo import Memo
from datapin.pipeline.record.record import read_record
from datapin.pipeline.stages.train import run_train
from datapin.pipeline.training.model_file import load_model
from datapin.store.store import Store

_RUN = """
import sys
from pathlib import Path
from datapin.base.settings import StoreSettings
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.memo import Memo
from datapin.pipeline.stages.train import run_train
from datapin.store.store import Store
root = Path(sys.argv[1])
store = Store.create(root / ".datapin/store", StoreSettings())
run_train(StageContext(root=root, store=store, memo=Memo(root / ".datapin/memo")), root / "params.yaml")
"""
KILLED = 137
OUTPUTS = 9


def _make(root: Path) -> None:
    rng = np.random.default_rng(0)
    keys = [f"{'ab'[i % 2]}/{i:03d}" for i in range(40)]
    points = rng.normal(size=(40, 3)).astype(np.float32) + np.arange(40)[:, None] % 2
    table = pa.table(
        {
            "key": keys,
            "asset_id": [hashlib.sha256(key.encode()).hexdigest() for key in keys],
            "size": pa.array([1] * 40, pa.int64()),
            "media_type": ["image/png"] * 40,
            "label": [key[0] for key in keys],
            "split": [("train", "train", "val", "test")[i // 2 % 4] for i in range(40)],
            "features": pa.FixedSizeListArray.from_arrays(pa.array(points.reshape(-1)), 3),
        }
    )
    (root / "data").mkdir(parents=True)
    write_manifest(table, root / "data/features")
    _set_seed(root, 0)


def _set_seed(root: Path, seed: int) -> None:
    (root / "params.yaml").write_text(f"train: {{seed: {seed}, estimator_params: {{n_estimators: 3}}}}\n")


def _train(root: Path, **environment: str) -> int:
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", _RUN, str(root)], env=env, capture_output=True, check=False).returncode


def _train_here(root: Path) -> None:
    store = Store.create(root / ".datapin/store", StoreSettings())
    run_train(StageContext(root=root, store=store, memo=Memo(root / ".datapin/memo")), root / "params.yaml")


def _files(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("models", "reports")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


@dataclass(frozen=True)
class CleanRuns:
    """A trained repository, its files with seed 0 and then with seed 1, and the failpoints that a run passes."""

    root: Path
    old: dict[str, str]
    new: dict[str, str]
    points: list[str]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> CleanRuns:
    root, other = tmp_path_factory.mktemp("old"), tmp_path_factory.mktemp("new")
    _make(root)
    assert _train(root, DATAPIN_FAILPOINT_LOG=str(root / "log")) == 0
    points = [line for line in (root / "log").read_text().splitlines() if line.startswith("train.")]
    shutil.copytree(root, other, dirs_exist_ok=True)
    _set_seed(other, 1)
    _train_here(other)
    return CleanRuns(root, _files(root), _files(other), points)


@pytest.fixture
def root(clean: CleanRuns, tmp_path: Path) -> Path:
    """A copy of the repository trained with seed 0, whose next train has seed 1."""
    shutil.copytree(clean.root, tmp_path, dirs_exist_ok=True)
    _set_seed(tmp_path, 1)
    return tmp_path


def test_a_run_passes_a_failpoint_before_and_after_every_file_it_places(clean: CleanRuns) -> None:
    assert clean.points.count("train.staged") == 1
    assert clean.points.count("train.publish.synced") == clean.points.count("train.publish.renamed") == OUTPUTS
    assert clean.old != clean.new


@pytest.mark.parametrize(
    "armed",
    ["train.staged:1", "train.publish.synced:1", "train.publish.renamed:4", f"train.publish.renamed:{OUTPUTS - 1}"],
)
def test_killed_anywhere_old_or_new_files_remain_and_a_second_run_finishes(
    armed: str, clean: CleanRuns, root: Path
) -> None:
    assert _train(root, DATAPIN_FAILPOINT=f"{armed}:exit") == KILLED
    left = _files(root)
    assert all(digest in (clean.old[path], clean.new[path]) for path, digest in left.items())
    load_model(root / "models/model.skops")
    if (root / "reports/run.json").exists():
        named = read_record(root / "reports/run.json")["outputs"]
        assert {path: left[path] for path in named} == named
    _train_here(root)
    assert _files(root) == clean.new


def test_a_full_disk_ends_in_one_error_and_a_second_run_finishes(clean: CleanRuns, root: Path) -> None:
    env = {**os.environ, "DATAPIN_FAILPOINT": "train.publish.synced:3:oserror=28"}
    done = subprocess.run([sys.executable, "-c", _RUN, str(root)], env=env, capture_output=True, text=True, check=False)
    assert "StorageFailed: cannot write" in done.stderr
    assert all(digest in (clean.old[path], clean.new[path]) for path, digest in _files(root).items())
    assert not list((root / ".datapin/tmp").glob(".tmp-*"))
    _train_here(root)
    assert _files(root) == clean.new
