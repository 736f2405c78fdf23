"""Stores and source files for the tests of this room."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from datapin.base.settings import StoreSettings
from datapin.store.store import FileBatch, Store

SMALL = StoreSettings(large_asset=8192, pack_size=5000)  # bytes, so that a few files make several packs


def batch_of(folder: Path) -> FileBatch:
    """All files below `folder`, in key order."""
    paths = sorted(str(path) for path in folder.rglob("*") if not path.is_dir())
    sizes = np.array([os.lstat(path).st_size for path in paths], dtype=np.int64)
    return FileBatch(paths, [os.path.relpath(path, folder) for path in paths], sizes)


def matrix_of(contents: Iterable[bytes]) -> np.ndarray:
    """The ids of these bytes."""
    raw = b"".join(hashlib.sha256(data).digest() for data in contents)
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, 32)


def file_names(root: Path, folder: str) -> list[str]:
    """Names of all files below a folder of the store."""
    return sorted(path.name for path in (root / folder).rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", SMALL)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with files of many sizes, some equal, one empty, two large."""
    folder = tmp_path / "source"
    for number in range(40):
        path = folder / f"class{number % 4}" / f"{number:03d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * (number * 37) + os.urandom(number * 20))
    (folder / "same.bin").write_bytes((folder / "class1" / "021.bin").read_bytes())
    (folder / "large.bin").write_bytes(os.urandom(50_000))
    (folder / "large_again.bin").write_bytes((folder / "large.bin").read_bytes())
    return folder
