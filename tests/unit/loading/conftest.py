"""A dataset of sixty rows, here and on a remote; PyTorch, or what stands in for it."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from clones import Clone
from datapin import Repo
from workspaces import digits, labels_of

ROWS = 60
STAND_IN = Path(__file__).parents[2] / "stand_in"


@pytest.fixture(scope="module")
def torch() -> Iterator[Callable[..., Any]]:
    """`datapin.torch.loader`, with what stands in for PyTorch, which is gone afterwards: others look for it."""
    if os.environ.get("DATAPIN_REAL_TORCH"):
        yield importlib.import_module("datapin.torch").loader
        return
    sys.path.insert(0, str(STAND_IN))
    yield importlib.import_module("datapin.torch").loader
    sys.path.remove(str(STAND_IN))
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch" or name == "datapin.torch"]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def made_rows(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("rows")
    shutil.copytree(blank, top / "repo", symlinks=True)
    clone = Clone(top / "repo")
    clone.dvc("remote", "add", "-q", "-d", "lab", str(top / "lab"))
    repo = Repo.find(clone.path)
    ids = repo.put_all(b"row %03d" % number for number in range(ROWS))
    rows = {"key": [f"{number:03d}" for number in range(ROWS)], "asset_id": ids, "size": [7] * ROWS}
    labels = {"label": ["ab"[number % 2] for number in range(ROWS)], "number": list(range(ROWS))}
    repo.write("data/raw", pa.table({**rows, **labels}))
    clone.dvc("add", "-q", "data/raw")
    clone.commit("rows")
    Repo.find(clone.path).push()
    return clone.path


@pytest.fixture
def here(made_rows: Path) -> Repo:
    """To read from; nobody writes."""
    return Repo.find(made_rows)


@pytest.fixture
def elsewhere(made_rows: Path, tmp_path: Path) -> Repo:
    """A clone with the rows and none of the bytes."""
    clone = Clone(tmp_path / "clone")
    Clone(made_rows).git("clone", "-q", made_rows, clone.path)
    Repo.init(clone.path, hooks=False)
    repo = Repo.find(clone.path)
    repo.fetch("data/raw", where="false")
    return repo


@pytest.fixture(scope="session")
def online(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """data/augmented: twelve pictures, half of them train rows, and the recipe of copies that are not stored."""
    path = tmp_path_factory.mktemp("online") / "repo"
    shutil.copytree(blank, path, symlinks=True)
    pictures = digits(12)
    repo = Repo.find(path)
    ids = repo.put_all(pictures.values())
    splits = ["train", "val", "train", "test"] * 3
    rows = {"key": list(pictures), "asset_id": ids, "size": [len(one) for one in pictures.values()], "split": splits}
    repo.write("data/prepared", pa.table({**rows, "label": labels_of(pictures)}))
    Path(path, "params.yaml").write_text("augment: {mode: online, operators: {noise: {}}}\n")
    Clone(path).datapin("run", "augment", "-q")
    Clone(path).dvc("add", "-q", "data/augmented")
    return Repo.find(path)
