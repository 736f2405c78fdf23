"""The store against a dict: whatever is done in whatever order, it holds exactly what was put."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from datapin.base.errors import AssetsMissing
from datapin.base.settings import StoreSettings
from datapin.store.store import FileBatch, Store
from stored import asset_id_of
from sweeps import times

SETTINGS = StoreSettings(large_asset=4096, pack_size=4096)

# Few distinct assets, so that repeats are common; some compress, some are large.
assets = st.builds(
    lambda seed, length: (hashlib.sha256(bytes([seed])).digest() * (length // 32 + 1))[:length],
    st.integers(0, 5),
    st.sampled_from([0, 1, 31, 32, 700, 4095, 4096, 9000]),
)


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.store = Store.create(self.folder / "store", SETTINGS)
        self.held: dict[str, bytes] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def hold(self, contents: list[bytes]) -> None:
        for data in contents:
            self.held[hashlib.sha256(data).hexdigest()] = data

    @rule(data=assets)
    def put(self, data: bytes) -> None:
        assert self.store.put(data) == hashlib.sha256(data).hexdigest()
        self.hold([data])

    @rule(contents=st.lists(assets, max_size=12))
    def put_files(self, contents: list[bytes]) -> None:
        paths = []
        for number, data in enumerate(contents):
            paths.append(str(self.folder / f"{number}"))
            Path(paths[-1]).write_bytes(data)
        sizes = np.array([len(data) for data in contents], dtype=np.int64)
        result = self.store.put_files(FileBatch(paths, paths, sizes), jobs=1)
        new = {hashlib.sha256(data).hexdigest(): data for data in contents}
        assert [row.tobytes().hex() for row in result.ids] == [hashlib.sha256(data).hexdigest() for data in contents]
        assert result.new_assets == len(new.keys() - self.held.keys())
        assert result.new_bytes == sum(len(data) for asset_id, data in new.items() if asset_id not in self.held)
        self.hold(contents)

    @rule(published=st.lists(assets, max_size=4), given_up=st.lists(assets, max_size=4))
    def fill_and_break(self, published: list[bytes], given_up: list[bytes]) -> None:
        with pytest.raises(RuntimeError), self.store.filling() as filling:  # noqa: PT012
            for data in published:
                filling.put(data)
            filling.publish()
            for data in given_up:
                filling.put(data)
            raise RuntimeError
        self.hold(published)

    @rule()
    def rebuild(self) -> None:
        assert self.store.rebuild_index().assets == len(self.held)

    @rule()
    def open_again(self) -> None:
        self.store = Store.open(self.folder / "store", SETTINGS)

    @rule(data=assets)
    def ask(self, data: bytes) -> None:
        asset_id = asset_id_of(data)
        if asset_id in self.held:
            assert self.store.read(asset_id) == data
        else:
            with pytest.raises(AssetsMissing):
                self.store.read(asset_id)

    @invariant()
    def everything_held_reads_back(self) -> None:
        raw = b"".join(bytes.fromhex(asset_id) for asset_id in self.held)
        ids = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 32)
        assert not self.store.missing(ids).any()
        reader = self.store.reader(ids)
        contents = list(self.held.values())
        assert reader.read_batch(range(len(contents))) == contents
        assert self.store.check() == []


StoreMachine.TestCase.settings = settings(max_examples=times(60, 30), stateful_step_count=15, deadline=None)
TestStoreAgainstADict = StoreMachine.TestCase
