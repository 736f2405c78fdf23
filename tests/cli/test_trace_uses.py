"""`trace` and `uses`: from a model down to its data, and from an asset up to what used it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from clones import Clone
from datapin.base.state import state_of

PIPELINE = """
stages:
  prepare:
    cmd: datapin run prepare
    deps: [data/raw]
    params: [prepare]
    outs: [data/prepared]
  augment:
    cmd: datapin run augment
    deps: [data/prepared]
    params: [augment]
    outs: [data/augmented]
  featurize:
    cmd: datapin run featurize
    deps: [data/augmented]
    params: [featurize]
    outs: [data/features]
  train:
    cmd: datapin run train
    deps: [data/features, code.py]
    params: [train]
    outs: [models/model.skops, reports/predictions.parquet]
    metrics:
      - reports/metrics.json: {cache: false}
      - reports/run.json: {cache: false}
    plots:
      - reports/plots/roc.csv: {cache: false}
"""
PARAMS = """
prepare: {split: {train: 0.6, val: 0.2, test: 0.2}, seed: 0}
augment: {copies: 1, operators: {shift: {fraction: 0.1}}, seed: 0}
featurize: {extract: [{use: pixels, resize: 4}]}
train: {estimator: sklearn.ensemble.ExtraTreesClassifier, estimator_params: {n_estimators: 3}, seed: 0}
"""


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Three commits: a first model; a new label and a second model; a row that is gone."""
    clone = Clone(tmp_path_factory.mktemp("traced"))
    clone.git("init", "-q", "-b", "main")
    clone.dvc("init", "-q")
    clone.datapin("init", "-q")
    data = load_digits()
    for number in [place for place, label in enumerate(data.target) if label < 2][::12]:
        to = clone.path / "photos" / str(data.target[number]) / f"{number:04d}.png"
        to.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((data.images[number] * 15.9375).astype("uint8")).save(to)
    (clone.path / ".gitignore").write_text("/photos\n")
    (clone.path / "dvc.yaml").write_text(PIPELINE)
    (clone.path / "params.yaml").write_text(PARAMS)
    (clone.path / "code.py").write_text("STEP = 1\n")
    clone.datapin("add", "photos", "--to", "data/raw", "--label", "parent")
    clone.dvc("repro", "-q")
    clone.commit("first model")
    clone.git("tag", "v1")
    clone.datapin("update", "data/raw", "--set", "label='1'", "--where", f"key = '{_train_key(clone)}'")
    clone.dvc("repro", "-q")
    clone.commit("second model")
    clone.datapin("remove", "data/raw", "--where", f"key = '{_keys(clone)[-1]}'")
    clone.commit("one is gone")
    return clone


def _keys(clone: Clone) -> list[str]:
    return [row["key"] for row in clone.json("ls", "data/raw", "--columns", "key")]


def _train_key(clone: Clone) -> str:
    rows = clone.json("ls", "data/prepared", "--where", "split = 'train'", "--columns", "key", "--limit", "1")
    return str(rows[0]["key"])


def test_a_model_is_traced_through_every_stage_to_the_tree_its_rows_came_from(repo: Clone) -> None:
    report = repo.json("trace", "models/model.skops@v1")
    nodes = {node["id"]: node for node in report["nodes"]}
    way, at = [], report["nodes"][0]
    while True:
        way.append(f"{at['kind']} {at['name']}")
        if not at["made_from"]:
            break
        at = nodes[at["made_from"][0]]
    assert way == [
        "output models/model.skops", "stage train", "dataset data/features", "stage featurize",
        "dataset data/augmented", "stage augment", "dataset data/prepared", "stage prepare",
        "dataset data/raw", "source photos",
    ]  # fmt: skip
    assert report["commit"] == repo.git("rev-parse", "v1").strip()
    assert not report["dirty"]
    train = next(node for node in report["nodes"] if node["name"] == "train")
    assert train["facts"]["params"]["params.yaml"]["train"]["estimator_params"] == {"n_estimators": 3}
    assert "code:code.py" in train["made_from"]
    for node in report["nodes"]:
        if node["kind"] == "dataset":
            shown = repo.json("show", f"{node['name']}@v1")
            assert (node["facts"]["digest"], node["facts"]["rows"]) == (shown["digest"], shown["rows"])
            assert node["facts"]["since"]["subject"] == "first model"
    record = json.loads(repo.git("show", "v1:reports/run.json"))["runs"][0]
    assert report["nodes"][0]["facts"]["sha256"] == record["model"]["sha256"]
    assert train["facts"]["run"]["inputs"] == record["inputs"]


def test_every_row_that_trained_a_model_is_traced_to_a_row_and_an_asset_of_the_source(repo: Clone) -> None:
    rows = repo.json("trace", "models/model.skops@v1", "--rows")["rows"]
    raw = {row["key"]: row["asset_id"] for row in repo.json("ls", "data/raw@v1")}
    assert len(rows) == repo.json("show", "data/features@v1")["rows"] > len(raw)
    for row in rows:
        assert row["source"] == "data/raw"
        assert row["source_key"] == re.sub(r"~\d+(?=\.png$)", "", row["key"])
        assert raw[row["source_key"]] == row["source_asset_id"]


def test_one_row_is_traced_alone(repo: Clone) -> None:
    key = _train_key(repo)
    copy = key.replace(".png", "~1.png")
    (row,) = repo.json("trace", f"data/features:{copy}@HEAD")["rows"]
    assert (row["key"], row["source_key"], row["split"]) == (copy, key, "train")
    assert row["asset_id"] != row["source_asset_id"]


def test_the_work_tree_says_that_it_is_not_what_is_committed(repo: Clone) -> None:
    code = repo.path / "code.py"
    text = code.read_text()
    try:
        code.write_text("STEP = 2\n")
        assert repo.json("trace", "models/model.skops")["dirty"]
        assert "not committed" in repo.datapin("trace", "models/model.skops").stdout
    finally:
        code.write_text(text)


def test_the_pictures_hold_every_thing_and_every_step(repo: Clone) -> None:
    report = repo.json("trace", "models/model.skops")
    steps = sum(len(node["made_from"]) for node in report["nodes"])
    mermaid = repo.datapin("trace", "models/model.skops", "--format", "mermaid").stdout.splitlines()
    assert mermaid[0] == "flowchart LR"
    assert sum("-->" in line for line in mermaid) == steps
    assert len(mermaid) == 1 + len(report["nodes"]) + steps
    dot = repo.datapin("trace", "models/model.skops", "--format", "dot").stdout.splitlines()
    assert (dot[0], dot[-1]) == ("digraph trace {", "}")
    assert sum(" -> " in line for line in dot) == steps


def test_what_no_stage_made_is_refused_with_what_there_is(repo: Clone) -> None:
    error, hint = repo.refusal("trace", "models/other.skops", code=10)
    assert "models/other.skops" in error
    assert "data/augmented" in error
    assert "dvc repro" in hint
    assert "no such revision" in repo.refusal("trace", "models/model.skops@nope", code=10)[0]
    assert "no version has a row" in repo.refusal("trace", "data/raw:nope.png", code=10)[0]


def test_uses_of_a_train_row_lead_to_its_copies_and_to_both_models(repo: Clone) -> None:
    key = _train_key(repo)
    report = repo.json("uses", f"data/raw:{key}")
    seen = {use["dataset"] for use in report["versions"]}
    assert seen == {"data/raw", "data/prepared", "data/augmented", "data/features"}
    copies = repo.json("ls", "data/augmented", "--where", f"parent = '{key}'")
    assert report["derived"] == sorted(row["asset_id"] for row in copies)
    rows = [row for use in report["versions"] if use["dataset"] == "data/augmented" for row in use["rows"]]
    assert {(row["key"], row["derived"]) for row in rows} == {(key, False), (copies[0]["key"], True)}
    models = [out for out in report["outputs"] if out["path"] == "models/model.skops"]
    assert [out["made_by"]["subject"] for out in models] == ["second model", "first model"]
    assert all(out["splits"] == ["train"] and out["stage"] == "train" for out in models)
    assert report["unread"] == []


def test_uses_counts_each_version_once_and_names_the_commit_that_made_it(repo: Clone) -> None:
    key = _train_key(repo)
    versions = [use for use in repo.json("uses", f"data/raw:{key}")["versions"] if use["dataset"] == "data/raw"]
    logged = repo.json("log", "data/raw")
    assert [use["digest"] for use in versions] == [entry["digest"] for entry in logged]
    assert [use["made_by"]["commit"] for use in versions] == [entry["commit"] for entry in logged]


def test_a_row_that_is_gone_is_found_by_its_key_and_by_the_first_digits_of_its_asset(repo: Clone) -> None:
    gone = repo.json("ls", "data/raw@v1")[-1]
    assert gone["key"] not in _keys(repo)
    by_key = repo.json("uses", f"data/raw:{gone['key']}")
    assert by_key == repo.json("uses", gone["asset_id"][:12]) == repo.json("uses", f"data/raw@v1:{gone['key']}")
    assert by_key["asset_id"] == gone["asset_id"]
    assert sum(use["dataset"] == "data/raw" for use in by_key["versions"]) == 2


def test_a_row_that_is_not_committed_yet_is_found_too(repo: Clone, tmp_path: Path) -> None:
    work = Clone(tmp_path / "copy")
    shutil.copytree(repo.path, work.path, symlinks=True)
    (work.path / "new").mkdir()
    (work.path / "new" / "n.bin").write_bytes(b"a new asset")
    work.datapin("add", "new", "--to", "data/raw")
    (use,) = work.json("uses", "data/raw:n.bin")["versions"]
    assert use["made_by"] is None
    assert "not committed yet" in work.datapin("uses", "data/raw:n.bin").stdout


def test_an_asset_that_nobody_has_and_a_row_that_never_was_are_refused(repo: Clone) -> None:
    assert "no dataset version" in repo.refusal("uses", "deadbeef00", code=10)[0]
    assert "nope.png" in repo.refusal("uses", "data/raw:nope.png", code=10)[0]
    assert "names no asset" in repo.refusal("uses", "data/raw", code=2)[0]


def test_versions_that_cannot_be_read_are_named_not_passed_over(repo: Clone, tmp_path: Path) -> None:
    work = Clone(tmp_path / "copy")
    shutil.copytree(repo.path, work.path, symlinks=True)
    md5 = re.findall(r"md5: (\w+)\.dir", work.git("show", "v1:data/raw.dvc"))[0]
    for place in (work.path / ".dvc" / "cache", state_of(work.path).objects):
        (place / "files" / "md5" / md5[:2] / f"{md5[2:]}.dir").unlink()
    report = work.json("uses", f"data/raw:{_train_key(work)}")
    assert len(report["unread"]) == 1
    assert "data/raw" in report["unread"][0]
