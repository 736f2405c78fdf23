"""The shipped digits, from a fresh clone of this repository: fetch, repro, change one image, repro again."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from clones import BIN, Clone

ROOT = Path(__file__).parents[2]
ANOTHER_PROCESSOR = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"}
_HERE = (
    "import json; from datapin.pipeline.record.environment import environment_here; "
    "print(json.dumps(environment_here()))"
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A fresh clone with its data fetched and its pipeline run once."""
    path = tmp_path_factory.mktemp("digits") / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, path], check=True)
    clone = Clone(path)
    clone.datapin("fetch")
    clone.run(BIN / "dvc", "repro", env=ANOTHER_PROCESSOR)
    return clone


def same_environment(clone: Clone) -> bool:
    """True with the libraries of the committed run: only then are model bytes promised to be equal."""
    (made,) = json.loads(clone.git("show", "HEAD:reports/environment.json"))["made"]
    here = json.loads(clone.run(BIN / "python", "-c", _HERE).stdout)
    return all(made["environment"][name] == here[name] for name in ("libraries", "zlib", "machine"))


def test_a_fresh_clone_reproduces_the_committed_lock_whatever_the_processor(digits: Clone) -> None:
    lock = (digits.path / "dvc.lock").read_text()
    committed = digits.git("show", "HEAD:dvc.lock")
    if same_environment(digits):
        assert lock == committed
        assert digits.git("status", "--porcelain") == ""
    else:
        # Another set of libraries: the rows are the same, the model may be another one.
        assert lock.split("  train:")[0] == committed.split("  train:")[0]


def test_the_model_is_good_and_its_record_names_the_exact_data(digits: Clone) -> None:
    metrics = json.loads((digits.path / "reports" / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] >= 0.97
    record = json.loads((digits.path / "reports" / "run.json").read_text())
    named = json.dumps(record)
    for dataset in ("data/raw", "data/prepared", "data/augmented", "data/features"):
        assert digits.json("show", dataset)["digest"] in named, dataset


def test_a_second_repro_only_checks(digits: Clone) -> None:
    """That a forced one gives the same lock is what the first one shows, and `datapin verify --repro`."""
    said = digits.dvc("repro").stdout
    assert said.count("didn't change, skipping") >= 4
    assert "Running stage" not in said
    digits.dvc("status", "-q")


def test_splits_hold_no_asset_twice_and_augmented_rows_stay_in_train(digits: Clone) -> None:
    sql = "SELECT asset_id FROM 'data/prepared' GROUP BY asset_id HAVING count(DISTINCT split) > 1"
    assert digits.json("query", sql) == []
    sql = "SELECT count(*) AS n FROM 'data/augmented' WHERE parent IS NOT NULL AND split <> 'train'"
    assert digits.json("query", sql) == [{"n": 0}]
    sql = (
        "SELECT count(*) AS n FROM 'data/augmented' c JOIN 'data/augmented' p ON c.parent = p.key "
        "WHERE c.split <> p.split OR c.label <> p.label OR c.parent_id <> p.asset_id"
    )
    assert digits.json("query", sql) == [{"n": 0}]


def test_after_one_changed_image_only_that_one_is_computed(digits: Clone) -> None:
    digits.datapin("checkout", "data/raw", "--into", "digits")
    from PIL import Image

    changed = sorted((digits.path / "digits").rglob("*.png"))[0]
    with Image.open(changed) as image:
        edited = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    edited.save(changed)
    report = digits.json("add", "digits", "--to", "data/raw", "--label", "parent")
    assert (report["changed"], report["unchanged"]) == (1, 1796)
    said = digits.dvc("repro").stdout
    found = re.findall(r"(\w+): (\d+) rows, computed (\d+), reused (\d+)", said)
    counts = {stage: (int(computed), int(reused)) for stage, _, computed, reused in found}
    assert counts["prepare"] == (1, 1796)
    assert counts["augment"][0] <= 10
    assert counts["featurize"][0] <= 11
    digits.git("checkout", "-q", "--", ".")
    digits.dvc("checkout", "-q", "--force")


def test_one_worker_and_two_give_the_same_bytes(digits: Clone) -> None:
    before = digits.files("data", "augmented")
    for jobs in ("1", "2"):
        digits.run("rm", "-rf", ".git/datapin/memo")
        digits.run(BIN / "datapin", "run", "augment", "-j", jobs, "-q")
        assert digits.files("data", "augmented") == before
