"""Stores, a remote in a directory, and versions to push to it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.base.id_columns import IdMatrix
from datapin.base.settings import StoreSettings
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.push import Manifests, PushVersion, push_versions
from datapin.transfer.report import TransferReport

SETTINGS = StoreSettings(large_asset=8192, pack_size=6000)
NOISE = random.Random(11)
CONTENTS = [NOISE.randbytes(300 + 10 * number) for number in range(60)]
CONTENTS += [b"", b"text that compresses " * 90, NOISE.randbytes(9000), NOISE.randbytes(20_000)]

NO_MANIFESTS = Manifests(lambda md5s: {}, lambda md5s: md5s)  # nobody looks at them here


def ids_of(contents: Sequence[bytes]) -> IdMatrix:
    raw = b"".join(hashlib.sha256(data).digest() for data in contents)
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, 32)


def fill(store: Store, contents: Sequence[bytes]) -> Store:
    with store.filling() as filling:
        for data in contents:
            filling.put(data)
    return store


def remote_at(place: Path, cache: Path | None = None) -> RemoteStore:
    return RemoteStore(CountingBackend(LocalBackend(place)), cache)


def version_of(contents: Sequence[bytes], dataset: str = "data/raw") -> PushVersion:
    """A version with these assets, whose manifest nobody looks at here."""
    name = hashlib.sha256(ids_of(contents).tobytes()).hexdigest()
    return PushVersion(dataset, f"sha256:{name}", f"{name[:32]}.dir", lambda: ids_of(contents))


def push(store: Store, remote: RemoteStore, contents: Sequence[bytes], dry_run: bool = False) -> TransferReport:
    report = push_versions(store, remote, [version_of(contents)], NO_MANIFESTS, jobs=2, dry_run=dry_run)
    for failure in report.failures:
        raise failure.error
    return report


def files_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def mine(tmp_path: Path) -> Store:
    return fill(Store.create(tmp_path / "mine", SETTINGS), CONTENTS)


@pytest.fixture
def yours(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "yours", SETTINGS)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "lab" / "datapin"


@pytest.fixture
def remote(place: Path) -> RemoteStore:
    return remote_at(place)


def check_holds(store: Store, contents: Sequence[bytes]) -> None:
    reader = store.reader(ids_of(contents))
    assert [reader.read(number) for number in range(len(contents))] == contents
    assert store.check() == []


def harm(path: Path, place: int = 30) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
