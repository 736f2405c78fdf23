"""A pipeline of images, run again in a clean clone: the same everywhere, and caught where it is not."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from checks.planted import Planted
from checks.repro_repos import repro, stage, state, write
from clones import BIN, Clone
from datapin.base.findings import Finding
from datapin.checks.repro.sample import fewer_than
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest
from datapin.verbs.verify.verify import VerifyReport
from workspaces import picture

TRAIN = ["model.skops", "reports/predictions.parquet", "reports/metrics.json", "reports/run.json", "reports/plots"]
EXTRACTORS = """
import os, random
import numpy as np

def steady(assets):
    return [[len(data), sum(data) % 251] for data in assets]

def by_chance(assets):
    return [[random.random(), len(data)] for data in assets]

def by_set(assets):
    return [[float("".join([*{f"{n}" for n in range(99)}][:3])), len(data)] for data in assets]

def by_threads(assets):
    return [[float(os.environ["OMP_NUM_THREADS"]), len(data)] for data in assets]

def by_cores(assets):
    return [[float(os.environ.get("PYTHON_CPU_COUNT") or os.cpu_count()), len(data)] for data in assets]

def by_place(assets):
    return [[len(os.getcwd()), len(data)] for data in assets]

"""
FAULTY = {
    "by_chance": "a feature is drawn without a seed",
    "by_set": "a feature depends on the order of a set",
    "by_cores": "a feature depends on the number of cores",
    "by_place": "a feature depends on the folder's name",
}
SURROUNDINGS = {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
PARAMS = {
    "prepare": {"resize": 8, "mode": "L", "split": {"train": 0.5, "val": 0.25, "test": 0.25}},
    "augment": {"copies": 1},
    "featurize": {"extract": ["pixels", {"use": "extractors:steady"}, {"use": "extractors:by_threads"}]},
    "train": {"estimator_params": {"n_estimators": 3}, "model": "model.skops"},
}


def ours(name: str, source: str, target: str, *deps: str) -> dict[str, object]:
    return stage(f"datapin run {name}", [target], [source, *deps], params=[name])


STAGES = {
    "prepare": ours("prepare", "data/raw", "data/prepared"),
    "augment": ours("augment", "data/prepared", "data/augmented"),
    "featurize": ours("featurize", "data/augmented", "data/features", "extractors.py"),
    "train": stage("datapin run train", TRAIN, ["data/features"], params=list(PARAMS)),
    "count": stage(
        "wc -c < weights.bin > size.txt; ls notes | wc -l >> size.txt", ["size.txt"], ["weights.bin", "notes"]
    ),
}


@pytest.fixture(scope="module")
def once(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen images through all four stages, with a function of the user's; a file and a folder that DVC keeps."""
    clone = Clone(tmp_path_factory.mktemp("images") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    write(clone, {f"img/{'ab'[number % 2]}/{number:02}.png": picture(number, side=9) for number in range(16)})
    write(clone, {"weights.bin": b"\x00\x01" * 99, "notes/a.txt": "a", "notes/b/c.txt": "c", ".gitignore": "/img\n"})
    write(clone, {"extractors.py": EXTRACTORS, "params.yaml": PARAMS, "dvc.yaml": {"stages": STAGES}})
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.dvc("add", "-q", "weights.bin", "notes")
    write(clone, {".datapin/config.local.toml": "jobs = 1\n"})
    clone.run(BIN / "dvc", "repro", "-q", env=SURROUNDINGS)
    (clone.path / ".datapin/config.local.toml").unlink()
    clone.commit("healthy")
    return clone.path


@pytest.fixture
def repo(once: Path, tmp_path: Path) -> Clone:
    shutil.copytree(once, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def outputs(report: VerifyReport, check: str = "repro.outputs") -> list[Finding]:
    return [one for one in report.findings if one.check == check]


def test_a_healthy_pipeline_of_images_has_no_findings_and_nothing_of_it_is_touched(once: Path) -> None:
    places = [once / name for name in (".dvc", ".datapin", "data")]
    before = [state(place) for place in places]
    report = repro(Clone(once))
    assert report.findings == []
    assert "5 stage(s) ran again" in report.notes[0]
    assert "9 of 9 outputs have identical bytes" in report.notes[0]
    after = [state(place) for place in places]
    for one, other in zip(before, after, strict=True):
        assert {name: seen for name, seen in other.items() if not name.startswith("cache/")} == {
            name: seen for name, seen in one.items() if not name.startswith("cache/")
        }


def test_two_runs_in_other_surroundings_give_the_same_lock(once: Path, tmp_path: Path) -> None:
    """Other than those of the first: workers, hash seed, time zone, locale, threads, and the folder's name."""
    shutil.copytree(once, tmp_path / "another name", symlinks=True)
    clone = Clone(tmp_path / "another name")
    shutil.rmtree(clone.path / ".git/datapin/memo")
    write(clone, {".datapin/config.local.toml": "jobs = 3\n"})
    others = {"PYTHONHASHSEED": "77", "TZ": "NPT-5:45", "LC_ALL": "C", "OMP_NUM_THREADS": "2"}
    clone.run(BIN / "dvc", "repro", "-q", "--force", "--no-run-cache", env=others)
    assert (clone.path / "dvc.lock").read_bytes() == (once / "dvc.lock").read_bytes()


# --- extractors that are not deterministic, all in one rerun


@pytest.fixture(scope="module")
def faulty(once: Path, tmp_path_factory: pytest.TempPathFactory) -> VerifyReport:
    clone = Clone(tmp_path_factory.mktemp("faulty") / "repo")
    shutil.copytree(once, clone.path, symlinks=True)
    stages: dict[str, object] = {}
    for name in FAULTY:
        params = {
            "featurize": {"input": "data/raw", "output": f"data/{name}", "extract": [{"use": f"extractors:{name}"}]}
        }
        write(clone, {f"{name}.yaml": params})
        run = f"datapin run featurize --params {name}.yaml"
        stages[name] = stage(
            run, [f"data/{name}"], ["data/raw", "extractors.py"], params=[{f"{name}.yaml": ["featurize"]}]
        )
    write(clone, {"dvc.yaml": {"stages": stages}, "dvc.lock": {"schema": "2.0", "stages": {}}})
    clone.dvc("repro", "-q")
    clone.commit("extractors")
    return repro(clone, "HEAD", "repro.outputs")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.planted("repro.outputs", words)) for name, words in FAULTY.items()]
)
def test_an_extractor_that_is_not_deterministic_is_caught(faulty: VerifyReport, name: str, planted: Planted) -> None:
    (finding,) = planted.seen([one for one in faulty.findings if one.where == f"data/{name}"])
    assert "16 row(s) of 16 differ (16 changed), first 'a/00.png': features[0] " in finding.message
    assert re.search(r"largest difference [\d.e+]+ \(features\[0\] of [ab]/\d\d\.png\)", finding.message)


# --- outputs that were spoiled


def repin(repo: Clone, *stages: str) -> None:
    """Make `dvc.lock` pin what lies in the work tree."""
    repo.dvc("commit", "-q", "-f", *stages)
    repo.commit("pinned by hand")


def rewrite(repo: Clone, dataset: str, table: pa.Table) -> None:
    """Other rows in the place of a manifest, as our writer writes them."""
    manifest = Manifest.open(repo.path / dataset)
    write_manifest(table, repo.path / "staged", properties=manifest.properties)
    shutil.rmtree(repo.path / dataset)
    (repo.path / "staged").rename(repo.path / dataset)


def as_of_another_pyarrow(path: Path) -> None:
    """The same rows, and another name of the program that wrote them."""
    data, version = path.read_bytes(), pa.__version__
    path.unlink()
    path.write_bytes(data.replace(f"version {version}".encode(), f"version {'1' * len(version)}".encode()))


@pytest.fixture(scope="module")
def spoiled(once: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, VerifyReport]:
    """Pinned: another writer in data/prepared and the predictions, a label in data/augmented, other features."""
    clone = Clone(tmp_path_factory.mktemp("spoiled") / "repo")
    shutil.copytree(once, clone.path, symlinks=True)
    (shard,) = (clone.path / "data/prepared").iterdir()
    as_of_another_pyarrow(shard)
    as_of_another_pyarrow(clone.path / "reports/predictions.parquet")
    table = Manifest.open(clone.path / "data/augmented").to_table()
    labels = ["c" if number == 3 else label for number, label in enumerate(table["label"].to_pylist())]
    rewrite(clone, "data/augmented", table.set_column(table.column_names.index("label"), "label", pa.array(labels)))
    change_features(clone, {(5, 7): 0.5, (6, 2): -0.25})
    repin(clone, "prepare", "augment", "featurize", "train")
    return clone, repro(clone, "HEAD", "repro.outputs")


def change_features(clone: Clone, by: dict[tuple[int, int], float]) -> None:
    """Add to single numbers of the features, by row and place."""
    table = Manifest.open(clone.path / "data/features").to_table()
    vectors = np.stack(table["features"].to_numpy())
    for place, amount in by.items():
        vectors[place] += np.float32(amount)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    rewrite(clone, "data/features", table.set_column(table.column_names.index("features"), "features", column))


@pytest.mark.planted("repro.outputs", "a row of a pinned output has another label, another one other features")
def test_the_first_row_and_column_are_named_and_what_follows(
    spoiled: tuple[Clone, VerifyReport], planted: Planted
) -> None:
    clone, report = spoiled
    found = {one.where: one.message for one in planted.seen(outputs(report))}
    assert set(found) == {"data/augmented", "data/features"}
    keys = Manifest.open(clone.path / "data/features").to_table(["key"])["key"].to_pylist()
    text = f"1 row(s) of {len(keys)} differ (1 changed), first '{keys[3]}': label 'c' → '{keys[3][0]}'"
    assert text in found["data/augmented"]
    text = f"2 row(s) of {len(keys)} differ (2 changed), first '{keys[5]}': features[7] "
    assert text in found["data/features"]
    assert re.search(r"largest difference (0.5|0.49999\d) ", found["data/features"])
    assert f"(features[7] of {keys[5]}): it follows from data/augmented" in found["data/features"]


@pytest.mark.planted("repro.outputs", "Parquet files were written by another pyarrow", severity="note")
def test_equal_rows_in_other_bytes_are_no_error_and_the_writer_is_named(
    spoiled: tuple[Clone, VerifyReport], planted: Planted
) -> None:
    found = {one.where: one.message for one in planted.seen([o for o in spoiled[1].findings if o.severity == "note"])}
    assert set(found) == {"data/prepared", "reports/predictions.parquet"}
    for message in found.values():
        assert "the rows are equal, the bytes differ" in message
        assert f"version {'1' * len(pa.__version__)} wrote what is pinned" in message


def test_a_clone_that_has_only_the_sources_is_judged_by_them(repo: Clone, tmp_path: Path) -> None:
    repo.dvc("remote", "add", "-d", "-q", "far", str(tmp_path / "far"))
    repo.commit("a remote")
    repo.dvc("push", "-q", "weights.bin", "notes", "data/raw")
    repo.datapin("push", "-q")
    repo.git("clone", "-q", ".", tmp_path / "fresh")
    fresh = Clone(tmp_path / "fresh")
    assert outputs(repro(fresh, None, "repro.outputs")) == []


@pytest.mark.planted("repro.environment", "the run record tells of another machine", severity="note")
def test_another_environment_is_explained(repo: Clone, planted: Planted) -> None:
    told = repo.path / "reports/environment.json"
    told.write_text(re.sub(r'"pyarrow": "[^"]*"', '"pyarrow": "11.0.0"', told.read_text()))
    repo.commit("another machine")
    (finding,) = planted.seen(repro(repo, "HEAD", "repro.environment").findings)
    assert finding.where == "reports/environment.json"
    assert finding.message == (
        f"pyarrow is {pa.__version__} here, 11.0.0 in the run record, which matters: the bytes of Parquet files may "
        "differ, the digests of their rows do not"
    )
    said = repo.datapin("doctor", code=None).stdout
    assert f"pyarrow is {pa.__version__} here, 11.0.0 in the run record" in said


# --- a sample instead of everything


def test_a_sample_of_a_healthy_pipeline_states_its_bound(once: Path) -> None:
    report = repro(Clone(once), None, "repro.sample", sample=3)
    assert report.findings == []
    by_stage = {note.partition(":")[0]: note for note in report.notes}
    assert set(by_stage) >= {"prepare", "augment", "featurize"}
    for name in ("prepare", "augment", "featurize"):
        assert "3 of " in by_stage[name]
        assert "with 95 % confidence fewer than 63 % of the rows differ" in by_stage[name]
    assert report.notes == repro(Clone(once), "HEAD", "repro.sample", sample=3).notes
    whole = repro(Clone(once), None, "repro.sample", sample=1000)
    assert sum("all rows are equal" in note for note in whole.notes) == 3


@pytest.mark.planted("repro.sample", "derived images and features are not what their stages make")
def test_a_sample_finds_rows_that_were_spoiled(repo: Clone, planted: Planted) -> None:
    for dataset, column in (("data/prepared", "pixels"), ("data/augmented", "pixels")):
        table = Manifest.open(repo.path / dataset).to_table()
        other = pa.array([hashlib.sha256(key.encode()).hexdigest() for key in table["key"].to_pylist()])
        rewrite(repo, dataset, table.set_column(table.column_names.index(column), column, other))
    rows = Manifest.open(repo.path / "data/features").rows
    change_features(repo, {(row, 1): 0.25 for row in range(rows)})
    repin(repo, "prepare", "augment", "featurize")
    report = repro(repo, "HEAD", "repro.sample", sample=4)
    found = {one.where: one.message for one in planted.seen(outputs(report, "repro.sample"))}
    assert set(found) == {"stage prepare", "stage augment", "stage featurize"}
    assert all(message.startswith("4 of 4 row(s) computed again differ") for message in found.values())
    assert "largest difference 0.25" in found["stage featurize"]


@pytest.mark.planted("repro.sample", "features differ in their last bits under another processor", severity="warning")
def test_a_sample_with_other_last_bits_is_a_warning_on_another_machine(repo: Clone, planted: Planted) -> None:
    rows = Manifest.open(repo.path / "data/features").rows
    change_features(repo, {(row, 1): 1e-6 for row in range(rows)})
    told = repo.path / "reports/environment.json"
    told.write_text(re.sub(r'"cpu_features": \[[^]]*\]', '"cpu_features": ["ABACUS"]', told.read_text()))
    repin(repo, "featurize", "train")
    (finding,) = planted.seen(outputs(repro(repo, "HEAD", "repro.sample", sample=4), "repro.sample"))
    assert "likely for the processor is with " in finding.message
    assert "with ABACUS" in finding.message


@pytest.mark.planted("repro.sample", "params changed since the rows were made")
def test_a_sample_finds_that_params_are_not_those_of_the_rows(repo: Clone, planted: Planted) -> None:
    write(repo, {"params.yaml": {**PARAMS, "augment": {"copies": 1, "seed": 5}}})
    repo.commit("another seed")
    (finding,) = planted.seen(outputs(repro(repo, "HEAD", "repro.sample", sample=4), "repro.sample"))
    assert finding.where == "stage augment"


@pytest.mark.parametrize(("rows", "share"), [(1, 0.95), (10, 0.258866), (300, 0.009936), (1000, 0.002991)])
def test_the_bound_is_the_rule_of_three(rows: int, share: float) -> None:
    assert fewer_than(rows) == pytest.approx(share, rel=1e-3)
    assert (1 - fewer_than(rows)) ** rows == pytest.approx(0.05)
