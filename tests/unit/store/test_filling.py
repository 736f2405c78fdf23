"""Filling: assets from memory, visible when published, given up on an error."""

from __future__ import annotations

import os

import pytest

from datapin.base.errors import AssetsMissing
from datapin.store.store import Store

from .conftest import SMALL, file_names


def test_assets_become_visible_at_a_publish_and_at_the_end(store: Store) -> None:
    other = Store.open(store.root, SMALL)
    with store.filling() as filling:
        first = filling.put(b"first")
        with pytest.raises(AssetsMissing):
            other.read(first)
        filling.publish()
        assert other.read(first) == b"first"
        second = filling.put(b"second")
    assert other.read(second) == b"second"
    assert len(file_names(store.root, "packs")) == 2


def test_an_error_gives_up_what_was_not_published(store: Store) -> None:
    ids = []
    with pytest.raises(RuntimeError, match="stage broke"), store.filling() as filling:  # noqa: PT012
        ids.append(filling.put(b"published"))
        filling.publish()
        ids.append(filling.put(os.urandom(10_000)))
        ids.append(filling.put(b"given up"))
        raise RuntimeError("stage broke")
    assert store.read(ids[0]) == b"published"
    for asset_id in ids[1:]:
        with pytest.raises(AssetsMissing):
            store.read(asset_id)
    assert not [path for path in store.root.iterdir() if path.name.startswith(".tmp-")]


def test_the_callers_own_file_errors_pass_through(store: Store) -> None:
    with pytest.raises(FileNotFoundError), store.filling():
        open("/nowhere/at/all")  # noqa: SIM115


def test_equal_assets_are_written_once(store: Store) -> None:
    with store.filling() as filling:
        ids = [filling.put(b"same") for _ in range(100)]
        filling.publish()
        ids += [filling.put(b"same") for _ in range(100)]
    assert len(set(ids)) == 1
    state = store.index_state
    with store.filling() as filling:
        filling.put(b"same")
    assert store.index_state == state


def test_publishing_nothing_publishes_nothing(store: Store) -> None:
    with store.filling() as filling:
        filling.publish()
        filling.publish()
    assert file_names(store.root, "index") == []


def test_many_assets_fill_several_packs_and_all_read_back(store: Store) -> None:
    contents = [os.urandom(900) for _ in range(30)] + [b"", os.urandom(9000)]
    with store.filling() as filling:
        ids = [filling.put(data) for data in contents]
    assert [store.read(asset_id) for asset_id in ids] == contents
    assert len(file_names(store.root, "packs")) >= 4
    assert len(file_names(store.root, "assets")) == 1
