"""Power loss, by the trace: what a put acknowledges was fsynced, file before name, pack before index.

A killed process does not show a forgotten fsync, since the kernel writes its pages anyway. So the calls are recorded,
and each rule of the publish order is checked on the recording; dropping any one fsync breaks one of them.
"""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datapin.backends.local import LocalBackend
from datapin.base.settings import StoreSettings
from datapin.store.store import FileBatch, Store

SETTINGS = StoreSettings(large_asset=8192, pack_size=5000)
NOISE = random.Random(5)
CONTENTS = [NOISE.randbytes(900) for _ in range(20)] + [NOISE.randbytes(10_000)]


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Every fsync, rename, link and mkdir from here on, in order, with real paths."""
    calls: list[tuple[str, ...]] = []
    real = {name: getattr(os, name) for name in ("fsync", "rename", "replace", "link", "mkdir")}

    def fsync(number: int) -> None:
        real["fsync"](number)
        calls.append(("fsync", os.readlink(f"/proc/self/fd/{number}")))

    def named(name: str, source: str | Path, target: str | Path) -> None:
        real[name](source, target)
        calls.append(("name", str(source), str(target)))

    def mkdir(path: str | Path, mode: int = 0o777) -> None:
        real["mkdir"](path, mode)
        calls.append(("mkdir", str(path)))

    monkeypatch.setattr(os, "fsync", fsync)
    for name in ("rename", "replace", "link"):
        monkeypatch.setattr(os, name, lambda source, target, name=name: named(name, source, target))
    monkeypatch.setattr(os, "mkdir", mkdir)
    return calls


def check_every_name_is_durable(calls: list[tuple[str, ...]], root: Path) -> None:
    """A file is fsynced before it gets its name, its folder after; a new folder's parent after its mkdir."""
    named = [(place, call) for place, call in enumerate(calls) if call[0] == "name" and call[2].startswith(str(root))]
    assert named
    for place, (_, source, target) in named:
        assert ("fsync", source) in calls[:place], f"{target} got its name before its bytes were durable"
        assert ("fsync", os.path.dirname(target)) in calls[place:], f"the name of {target} is not durable"
    for place, call in enumerate(calls):
        if call[0] == "mkdir" and not os.path.basename(call[1]).startswith(".tmp-"):
            assert ("fsync", os.path.dirname(call[1])) in calls[place:], f"the name of {call[1]} is not durable"


def check_packs_are_durable_before_the_index(calls: list[tuple[str, ...]], root: Path) -> None:
    index = [n for n, call in enumerate(calls) if call[0] == "name" and call[2].startswith(f"{root}/index/")]
    packs = [
        (n, call[2])
        for n, call in enumerate(calls)
        if call[0] == "name" and call[2].startswith((f"{root}/packs/", f"{root}/assets/"))
    ]
    assert len(index) == 1
    assert len(packs) > 3
    for place, target in packs:
        assert ("fsync", os.path.dirname(target)) in calls[place : index[0]], f"the index came before {target}"
    for place, call in enumerate(calls[: index[0]]):
        if call[0] == "mkdir" and call[1].startswith((f"{root}/packs/", f"{root}/assets/")):
            assert ("fsync", os.path.dirname(call[1])) in calls[place : index[0]]


@pytest.mark.parametrize("what", ["files", "filling"])
def test_a_put_is_durable_when_it_returns_and_packs_before_their_index(
    what: str, tmp_path: Path, trace: list[tuple[str, ...]]
) -> None:
    root = tmp_path / "store"
    store = Store.create(root, SETTINGS)
    check_every_name_is_durable(trace, root)
    trace.clear()
    if what == "filling":
        with store.filling() as filling:
            for data in CONTENTS:
                filling.put(data)
    else:
        paths = []
        for number, data in enumerate(CONTENTS):
            paths.append(str(tmp_path / f"{number}"))
            Path(paths[-1]).write_bytes(data)
        store.put_files(FileBatch(paths, paths, np.array([len(data) for data in CONTENTS])), jobs=1)
    check_every_name_is_durable(trace, root)
    check_packs_are_durable_before_the_index(trace, root)


def test_a_merged_index_is_durable_before_the_old_ones_go(
    tmp_path: Path, trace: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.create(tmp_path / "store", SETTINGS)
    real = os.unlink

    def unlink(path: str | Path, **options: Any) -> None:
        real(path, **options)
        trace.append(("unlink", str(path)))

    monkeypatch.setattr(os, "unlink", unlink)
    for number in range(8):
        trace.clear()
        store.put(b"%d" % number)
    gone = [n for n, call in enumerate(trace) if call[0] == "unlink" and call[1].endswith(".parquet")]
    named = [n for n, call in enumerate(trace) if call[0] == "name" and call[2].endswith(".parquet")]
    assert len(gone) == 8
    assert len(named) == 2  # the eighth publish, then the merged one
    assert ("fsync", f"{tmp_path}/store/index") in trace[named[1] : gone[0]]
    check_every_name_is_durable(trace, tmp_path / "store")


def test_a_copied_file_is_durable_when_it_returns(tmp_path: Path, trace: list[tuple[str, ...]]) -> None:
    store = Store.create(tmp_path / "store", SETTINGS)
    asset_id = store.put(CONTENTS[0])
    trace.clear()
    store.copy_to(asset_id, tmp_path / "out")
    check_every_name_is_durable(trace, tmp_path / "out")


@pytest.mark.parametrize("source", ["bytes", "file"])
def test_an_object_put_on_a_directory_remote_is_durable_when_it_returns(
    source: str, tmp_path: Path, trace: list[tuple[str, ...]]
) -> None:
    (tmp_path / "source").write_bytes(CONTENTS[0])
    backend = LocalBackend(tmp_path / "remote" / "datapin")
    backend.put_if_absent("packs/ab/x.pack", CONTENTS[0] if source == "bytes" else tmp_path / "source")
    check_every_name_is_durable(trace, tmp_path / "remote")


def test_a_failed_fsync_condemns_the_file_and_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datapin.base.errors import StorageFailed

    store = Store.create(tmp_path / "store", SETTINGS)
    real = os.fsync
    failed: list[str] = []

    def fsync(number: int) -> None:
        path = os.readlink(f"/proc/self/fd/{number}")
        if "/.tmp-" in path and not failed:
            failed.append(path)
            raise OSError(5, "Input/output error")
        assert path not in failed
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageFailed, match="Input/output error"):
        store.put(CONTENTS[0])
    assert failed
    assert not os.path.exists(failed[0])
    assert store.read(store.put(CONTENTS[0])) == CONTENTS[0]
    assert hashlib.sha256(CONTENTS[0]).digest() == store.index.entries.ids[0].tobytes()
