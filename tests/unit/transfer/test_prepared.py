"""Who knows a remote's index from before fetches in one round trip; and is not misled by it when it has become old."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.base.errors import AssetsMissing, RemoteUnreachable, StoreFormat
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.lazy import Lazy
from datapin.transfer.lazy_reader import LazyReader
from tapped_backend import TappedBackend

from .conftest import CONTENTS, SETTINGS, check_holds, fill, harm, ids_of, push, remote_at


def reads_of(store: Store, place: Path, cache: Path) -> tuple[LazyReader, TappedBackend]:
    tapped = TappedBackend(LocalBackend(place))
    remote = RemoteStore(CountingBackend(tapped), cache)
    sizes = np.array([len(data) for data in CONTENTS], dtype=np.int64)
    return LazyReader(store, ids_of(CONTENTS), lambda: sizes, Lazy(store, lambda: remote, jobs=2)), tapped


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def prepared(mine: Store, yours: Store, place: Path, cache: Path) -> Store:
    """An empty store on whose machine somebody has read the index of the remote, which has everything."""
    push(mine, remote_at(place), CONTENTS)
    reads, tapped = reads_of(yours, place, cache)
    reads.prepare()
    assert {name for name, _ in tapped.calls} == {"get", "iter_objects"}
    return yours


def test_a_worker_fetches_its_first_batch_in_one_round_trip(prepared: Store, place: Path, cache: Path) -> None:
    reads, tapped = reads_of(prepared, place, cache)
    order = np.arange(0, len(CONTENTS), 3)
    ahead = reads.ahead(order)
    assert reads.read_many(order[:8], ahead=ahead, end=8) == [CONTENTS[row] for row in order[:8]]
    assert ahead is not None
    ahead.close()
    kinds = [name for name, _ in tapped.calls]
    keys = [key for _, key in tapped.calls]
    assert set(kinds) <= {"get_ranges", "iter_chunks"}
    assert len(keys) == len(set(keys)), "one call for each pack, at once"


def test_one_asset_comes_in_one_round_trip(prepared: Store, place: Path, cache: Path) -> None:
    reads, tapped = reads_of(prepared, place, cache)
    assert reads.read(7) == CONTENTS[7]
    assert [name for name, _ in tapped.calls] == ["get_ranges"]


def test_where_everything_is_here_nobody_is_asked(mine: Store, place: Path, cache: Path) -> None:
    reads, tapped = reads_of(mine, place, cache)
    reads.prepare()
    assert tapped.calls == []


def repacked(tmp_path: Path, place: Path) -> None:
    """The remote has the same assets in other packs."""
    shutil.rmtree(place)
    mixed = random.Random(1).sample(CONTENTS, len(CONTENTS))
    push(fill(Store.create(tmp_path / "other", SETTINGS), mixed), remote_at(place), mixed)


def test_packs_that_were_replaced_are_looked_for_again(
    prepared: Store, place: Path, cache: Path, tmp_path: Path
) -> None:
    repacked(tmp_path, place)
    reads, _ = reads_of(prepared, place, cache)
    assert [reads.read(number) for number in (5, 50)] == [CONTENTS[5], CONTENTS[50]]
    assert reads.read_many(np.arange(len(CONTENTS))) == CONTENTS
    check_holds(prepared, CONTENTS)


def test_a_kept_index_that_is_damaged_is_read_anew(prepared: Store, place: Path, cache: Path) -> None:
    for kept in (cache / "index").iterdir():
        harm(kept)
    reads, _ = reads_of(prepared, place, cache)
    assert reads.read_many(np.arange(9)) == CONTENTS[:9]


def test_a_store_that_is_of_another_format_by_now_is_refused(prepared: Store, place: Path, cache: Path) -> None:
    shutil.rmtree(place / "packs")
    shutil.rmtree(place / "assets", ignore_errors=True)
    (place / "format.json").write_text('{"format": 99}')
    reads, _ = reads_of(prepared, place, cache)
    with pytest.raises(StoreFormat):
        reads.read_many(np.arange(9))


def test_a_remote_that_does_not_answer_is_said_before_workers_start(yours: Store, place: Path, cache: Path) -> None:
    reads, tapped = reads_of(yours, place, cache)

    def silent(name: str, key: str) -> None:
        raise RemoteUnreachable("lab", "does not answer")

    tapped.before = silent
    with pytest.raises(AssetsMissing, match="does not answer"):
        reads.prepare()
