"""`datapin://` through fsspec: found by name, walked like folders, read and never written."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pytest

from clones import ENVIRONMENT, Clone
from datapin import Repo
from datapin.filesystem import DatapinFileSystem, url_of

KEYS = ["a/x.csv", "a/y.csv", "a/deep/z.csv", "a.b", "b@v1/q#?.csv", "ö/ü.csv"]


@pytest.fixture(scope="module")
def root(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/raw with v1 and one row more, and data/raw/../other beside it."""
    path = tmp_path_factory.mktemp("fs") / "repo"
    shutil.copytree(blank, path, symlinks=True)
    clone, repo = Clone(path), Repo.find(path)

    def write(dataset: str, keys: list[str]) -> None:
        contents = [f"n\n{key}\n".encode() for key in keys]
        ids = repo.put_all(contents)
        repo.write(dataset, pa.table({"key": keys, "asset_id": ids, "size": [len(one) for one in contents]}))
        clone.dvc("add", "-q", dataset)
        clone.commit(dataset)

    write("data/raw", KEYS)
    clone.git("branch", "feature/x")
    write("data/raw", [*KEYS, "new.csv"])
    write("data/rawer", ["k"])
    return path


@pytest.fixture
def files(root: Path) -> DatapinFileSystem:
    return DatapinFileSystem(str(root))


def test_a_url_names_repository_dataset_version_and_key(root: Path) -> None:
    for key in KEYS:
        for version in (None, "HEAD", "feature/x"):
            with fsspec.open(url_of(root, "data/raw", key, version=version)) as file:
                assert file.read() == f"n\n{key}\n".encode()
    with pytest.raises(FileNotFoundError):
        fsspec.open(url_of(root, "data/raw", "new.csv", version="feature/x")).open()


def test_folders_are_walked(files: DatapinFileSystem) -> None:
    assert files.ls("data/raw", detail=False) == [f"data/raw/{name}" for name in ("a.b", "a", "b@v1", "new.csv", "ö")]
    assert [one["type"] for one in files.ls("data/raw/a")] == ["directory", "file", "file"]
    assert files.find("data/raw@HEAD/a") == [f"data/raw@HEAD/a/{name}" for name in ("deep/z.csv", "x.csv", "y.csv")]
    assert files.glob("data/raw/**/*.csv") == sorted(f"data/raw/{key}" for key in [*KEYS, "new.csv"] if key != "a.b")
    assert files.ls("!", detail=False) == ["!data/raw", "!data/rawer"]
    assert files.ls("data/raw/a.b", detail=False) == ["data/raw/a.b"]
    assert files.isdir("data/raw/a")
    assert files.isfile("data/raw/a.b")
    assert files.cat("data/rawer/k") == b"n\nk\n"


def test_a_file_knows_its_size_and_id(files: DatapinFileSystem) -> None:
    info = files.info("data/raw/a/x.csv")
    content = b"n\na/x.csv\n"
    assert info == {
        "name": "data/raw/a/x.csv", "size": len(content), "type": "file",
        "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    assert files.ukey("data/raw/a/x.csv") == info["sha256"]
    assert files.cat_ranges(["data/raw/a/x.csv"] * 2, [0, 2], [2, None]) == [b"n\n", b"a/x.csv\n"]
    assert files.cat_file("data/raw/a/x.csv", 2, 4) == b"a/"


@pytest.mark.parametrize("path", ["data/raw/none", "data/ra", "data/none@v1/x", "data/raw@v9/a.b", "none"])
def test_what_is_not_there_is_not_found(files: DatapinFileSystem, path: str) -> None:
    assert not files.exists(path)
    for call in (files.info, files.ls, files.cat_file):
        with pytest.raises(FileNotFoundError):
            call(path)


def test_nothing_can_be_written(files: DatapinFileSystem) -> None:
    for call in (
        lambda: files.open("data/raw/new", "wb"), lambda: files.rm("data/raw/a.b"), lambda: files.mkdir("data/raw/q"),
        lambda: files.cp_file("data/raw/a.b", "data/raw/c"), lambda: files.makedirs("x"), lambda: files.rmdir("data"),
        lambda: files.pipe_file("data/raw/x", b""),
    ):  # fmt: skip
        with pytest.raises(PermissionError):
            call()
    with pytest.raises(IsADirectoryError):
        files.cat_file("data/raw/a")


def test_it_travels_to_processes_that_lost_the_folder(root: Path, files: DatapinFileSystem) -> None:
    assert pickle.loads(pickle.dumps(files)).cat_file("data/raw/a.b") == b"n\na.b\n"
    code = "import fsspec, sys; print(fsspec.open(sys.argv[1]).open().read())"
    url = url_of(root, "data/raw", "a.b", version="HEAD")
    ended = subprocess.run([sys.executable, "-c", code, url], cwd="/", env=ENVIRONMENT, capture_output=True, text=True)
    assert ended.stdout == "b'n\\na.b\\n'\n", ended.stderr


def test_libraries_read_through_it(root: Path, files: DatapinFileSystem) -> None:
    assert pd.read_csv(url_of(root, "data/raw", "a/x.csv"))["n"].tolist() == ["a/x.csv"]
    arrow = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(files))
    table = ds.dataset("data/raw/a", filesystem=arrow, format="csv").to_table()
    assert sorted(table["n"].to_pylist()) == ["a/deep/z.csv", "a/x.csv", "a/y.csv"]


def test_a_repository_is_found_by_its_whole_path_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some libraries take a URL for a path, and make one slash of three."""
    monkeypatch.chdir(root)
    url = url_of(root, "data/raw", "a.b")
    for fitting in (
        url,
        url.replace(":///", "://"),
        "datapin://.!data/raw/a.b",
        f"datapin://../{root.name}!data/raw/a.b",
    ):
        assert fsspec.open(fitting).open().read() == b"n\na.b\n"
    for wrong in (
        f"datapin://{root.name}!data/raw/a.b",
        "datapin://./none!data/raw/a.b",
        "datapin:///none!data/raw/a.b",
    ):
        with pytest.raises(FileNotFoundError):
            fsspec.open(wrong).open()
