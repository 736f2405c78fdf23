"""Two clones and one remote: one adds, repros, commits and pushes; the other takes over from the commit alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import datapin
from clones import Clone
from remotes import Place, bucket_place, directory_place
from workspaces import picture

ROOT = Path(__file__).parents[2]
DATASET = "data/raw"
IMAGES, CLASSES = 60, 10
PARAMS = """\
prepare: {split: {train: 0.6, val: 0.2, test: 0.2}}
augment: {copies: 1, operators: {rotate: {degrees: 10}}}
featurize: {extract: [{use: hog, resize: 16, cell: 4}]}
train: {estimator_params: {n_estimators: 3}}
"""


@pytest.fixture(scope="module")
def made(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A's clone before it knows any remote: images, a pipeline that ran once, one commit."""
    clone = Clone(tmp_path_factory.mktemp("handoff") / "a")
    shutil.copytree(blank, clone.path, symlinks=True)
    for number in range(IMAGES):
        image = clone.path / "img" / str(number % CLASSES) / f"{number:03}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(picture(number))
    (clone.path / ".gitignore").write_text("/img\n")
    shutil.copy(ROOT / "dvc.yaml", clone.path)
    (clone.path / "params.yaml").write_text(PARAMS)
    clone.datapin("add", "img", "--to", DATASET, "--label", "parent", "-q")
    clone.dvc("repro", "-q")
    clone.commit("data, model")
    return clone


@pytest.fixture(params=["directory", "moto", "radosgw"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "directory":
        return directory_place(tmp_path / "remote")
    return bucket_place(request.getfixturevalue(f"{request.param}_server"))


def log_in(clone: Clone, place: Place) -> None:
    """As a user does it: credentials go where Git never sees them."""
    for name, value in place.secrets.items():
        clone.dvc("remote", "modify", "-q", "--local", "shared", name, value)


def test_a_colleague_takes_over_from_the_commit_alone(made: Clone, place: Place, tmp_path: Path) -> None:
    a = Clone(tmp_path / "a")
    shutil.copytree(made.path, a.path, symlinks=True)
    place.configure(a.path)
    handed_over = a.commit("remote")
    sent = a.json("push")
    assert sent["assets"] >= IMAGES
    a.dvc("push", "-q", "--run-cache")
    (a.path / "README.md").write_text("later work\n")
    a.commit("later")

    b = Clone(tmp_path / "b")
    a.git("clone", "-q", a.path, b.path)
    b.git("checkout", "-q", handed_over)
    log_in(b, place)
    some = b.json("fetch", DATASET, "--where", "label = '7'")
    assert some["assets"] == IMAGES // CLASSES
    assert some["bytes"] < sent["bytes"] / 4
    dataset = datapin.open(DATASET, where="label = '7'", repo=b.path)
    contents = {dataset[number].key: dataset[number].read() for number in range(len(dataset))}
    folder = a.path / "img"
    assert contents == {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted((folder / "7").iterdir())}

    if place.secrets:
        b.dvc("fetch", "-q", "--run-cache")
        assert "skipping run, checking out outputs" in b.dvc("repro").stdout
    else:
        b.datapin("fetch", "-q")
        assert "Running stage 'train'" in b.dvc("repro", "--no-run-cache").stdout
    b.git("diff", "--exit-code", "--", "dvc.lock")
    assert (b.path / "models/model.skops").read_bytes() == (a.path / "models/model.skops").read_bytes()
    for clone in (a, b):
        told = [name for name, data in clone.files().items() for secret in secrets(place) if secret in data]
        assert set(told) <= {".dvc/config.local"}


def secrets(place: Place) -> list[bytes]:
    return [value.encode() for name, value in place.secrets.items() if name == "secret_access_key"]
