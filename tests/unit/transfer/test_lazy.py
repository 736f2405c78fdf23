"""Lazy reads: what is missing comes when it is read, or ahead of its reader; where nothing is, nothing happens."""

from __future__ import annotations

import gc
import os
import pickle
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.base.errors import AssetsMissing, BadSettings, DamagedAsset, RemoteUnreachable
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer import lazy as lazy_module
from datapin.transfer.lazy import Lazy
from datapin.transfer.lazy_reader import LazyReader

from .conftest import CONTENTS, SETTINGS, check_holds, fill, harm, ids_of, push, remote_at

NOISE = random.Random(3)
MANY = [NOISE.randbytes(100) for _ in range(2000)]
THREAD = "datapin-ahead"
PATIENCE_S = 600


def reads_of(store: Store, remote: RemoteStore | None, contents: Sequence[bytes]) -> tuple[LazyReader, list[int]]:
    sizes = np.array([len(data) for data in contents], dtype=np.int64)
    opened = []

    def opener() -> RemoteStore:
        opened.append(1)
        assert remote is not None
        return remote

    return LazyReader(store, ids_of(contents), lambda: sizes, Lazy(store, opener, jobs=2)), opened


@pytest.fixture
def readers_ahead() -> Callable[[], list[threading.Thread]]:
    """Gives the threads that read ahead; those of other tests do not count."""
    others = threading.enumerate()
    return lambda: [one for one in threading.enumerate() if one.name == THREAD and one not in others]


@pytest.fixture(autouse=True)
def on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow it is, chunks grow, and who leaves sees the thread end."""
    monkeypatch.setattr(lazy_module, "_CHUNK_S", PATIENCE_S)
    monkeypatch.setattr(lazy_module, "_LEAVE_S", PATIENCE_S)


@pytest.fixture
def pushed(tmp_path: Path, place: Path) -> Path:
    push(fill(Store.create(tmp_path / "all", SETTINGS), MANY), remote_at(place), MANY)
    return place


class Gate(LocalBackend):
    """A directory that holds back ranges until it is opened, or breaks; `reached` when somebody asks for some."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.open = threading.Event()
        self.reached = threading.Event()
        self.was_open = True
        self.broken = False

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.reached.set()
        if not self.open.wait(PATIENCE_S):
            self.was_open = False
        if self.broken:
            raise RemoteUnreachable("lab", "does not answer")
        return super().get_ranges(key, ranges)


@pytest.fixture
def gate(pushed: Path) -> Iterator[Gate]:
    """A gate before the remote `pushed`; at the end it lets everybody through."""
    gate = Gate(pushed)
    yield gate
    gate.open.set()


def test_one_read_fetches_one_asset(mine: Store, yours: Store, remote: RemoteStore) -> None:
    push(mine, remote, CONTENTS)
    reads, _ = reads_of(yours, remote, CONTENTS)
    for number in (7, 63, 30, -2):
        assert reads.read(number) == CONTENTS[number]
    assert (~yours.missing(ids_of(CONTENTS))).sum() == 4
    check_holds(yours, [CONTENTS[number] for number in (7, 63, 30, -2)])


def test_what_is_here_needs_no_remote_and_no_thread(
    mine: Store, readers_ahead: Callable[[], list[threading.Thread]]
) -> None:
    reads, opened = reads_of(mine, None, CONTENTS)
    order = np.arange(len(CONTENTS))
    ahead = reads.ahead(order)
    assert reads.read_many(order[:9], ahead=ahead, end=9) == CONTENTS[:9]
    assert reads.read(3, verify=False) == CONTENTS[3]
    assert not opened
    assert not readers_ahead()


def test_reads_are_fast_again_once_everything_is_here(mine: Store, yours: Store, remote: RemoteStore) -> None:
    push(mine, remote, CONTENTS)
    reads, _ = reads_of(yours, remote, CONTENTS)
    assert reads.read(1) == CONTENTS[1]
    assert reads.read_many(np.arange(len(CONTENTS))) == CONTENTS
    reads.ahead(np.arange(len(CONTENTS)))
    assert reads.read(2) == CONTENTS[2]
    assert reads._whole


def test_a_batch_fetches_all_its_missing_assets_at_once(pushed: Path, yours: Store) -> None:
    remote = remote_at(pushed)
    reads, _ = reads_of(yours, remote, MANY)
    numbers = np.array([5, 1999, 5, 800, 801])
    assert reads.read_many(numbers) == [MANY[number] for number in numbers]
    before = remote.backend.requests
    assert reads.read_many(numbers) == [MANY[number] for number in numbers]
    assert remote.backend.requests == before


def test_reading_one_after_another_looks_ahead(pushed: Path, yours: Store) -> None:
    remote = remote_at(pushed)
    reads, _ = reads_of(yours, remote, MANY)
    remote.index()
    before = remote.backend.requests
    assert [reads.read(number) for number in range(300)] == MANY[:300]
    assert remote.backend.requests - before < 100
    assert yours.missing(ids_of(MANY[600:])).all(), "it looks ahead, but not over everything"


def test_many_single_reads_here_and_there_are_stored_together(pushed: Path, yours: Store) -> None:
    remote = remote_at(pushed)
    reads, _ = reads_of(yours, remote, MANY)
    numbers = np.random.default_rng(2).permutation(len(MANY))[:400]
    publishes = set()
    for number in numbers:
        assert reads.read(int(number)) == MANY[number]
        publishes.add(yours.index_state)
    assert len(publishes) < 40
    assert remote.backend.requests < 410, "an asset is one request"
    lacking = numbers[yours.missing(ids_of(MANY)[numbers])]
    assert 0 < len(lacking) <= 80, "a fifth at most waits to be stored"
    before = remote.backend.requests
    assert [reads.read(int(number)) for number in numbers] == [MANY[number] for number in numbers]
    assert remote.backend.requests == before, "what waits is not fetched again"
    reads.read_many(np.arange(3))
    assert not yours.missing(ids_of(MANY)[numbers]).any()
    check_holds(yours, [MANY[number] for number in numbers])


def test_a_single_read_of_what_is_damaged_or_gone_there_says_so(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    push(mine, remote, CONTENTS)
    reads, _ = reads_of(yours, remote, CONTENTS)
    for pack in (place / "packs").rglob("*.pack"):
        if CONTENTS[5] in (data := pack.read_bytes()):
            harm(pack, data.index(CONTENTS[5]))
    with pytest.raises(DamagedAsset):
        reads.read(5)
    for pack in (place / "packs").rglob("*.pack"):
        pack.rename(pack.with_suffix(".aside"))
    with pytest.raises(AssetsMissing):
        reads.read(9)
    for pack in (place / "packs").rglob("*.aside"):
        pack.rename(pack.with_suffix(".pack"))
    assert reads.read(9) == CONTENTS[9]
    assert reads.read(-1, verify=False) == CONTENTS[-1]


def test_chunks_of_a_slow_remote_stay_small(pushed: Path, yours: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_module, "_CHUNK_S", 0.0)
    reads, _ = reads_of(yours, remote_at(pushed), MANY)
    order = np.random.default_rng(5).permutation(len(MANY))
    ahead = reads.ahead(order)
    assert ahead is not None
    for start in range(0, 1000, 100):
        reads.read_many(order[start : start + 100], ahead=ahead, end=start + 100)
    ahead.close()
    here = (~yours.missing(ids_of(MANY))).sum()
    assert 1000 <= here <= 1000 + 3 * 256


@pytest.mark.parametrize("scattered", [False, True])
def test_batches_are_read_ahead_in_growing_chunks(
    pushed: Path, yours: Store, scattered: bool, readers_ahead: Callable[[], list[threading.Thread]]
) -> None:
    order = np.arange(len(MANY))
    if scattered:
        np.random.default_rng(5).shuffle(order)
    remote = remote_at(pushed)
    reads, opened = reads_of(yours, remote, MANY)
    ahead = reads.ahead(order)
    assert ahead is not None
    assert not opened, "nothing happens before somebody reads"
    for start in range(0, len(order), 100):
        numbers = order[start : start + 100]
        assert reads.read_many(numbers, ahead=ahead, end=start + 100) == [MANY[number] for number in numbers]
        if start == 0:
            while yours.missing(ids_of(MANY)[order[256:768]]).any() and readers_ahead():
                time.sleep(0.01)
            assert yours.missing(ids_of(MANY)[order[1000:]]).all(), "the second chunk ends at 768 rows"
    ahead.close()
    assert len(opened) == 1
    assert not readers_ahead()
    check_holds(yours, MANY)


def test_rows_that_are_here_already_are_not_counted(pushed: Path, yours: Store) -> None:
    fill(yours, MANY[:1500])
    reads, _ = reads_of(yours, remote_at(pushed), MANY)
    ahead = reads.ahead(np.arange(len(MANY)))
    assert ahead is not None
    assert reads.read_many(np.arange(10), ahead=ahead, end=10) == MANY[:10]
    assert not yours.missing(ids_of(MANY[:1700])).any()
    ahead.close()


def test_the_first_batch_does_not_wait_for_the_others(gate: Gate, yours: Store) -> None:
    remote = RemoteStore(CountingBackend(gate))
    reads, _ = reads_of(yours, remote, MANY)
    fill(yours, MANY[:256])
    ahead = reads.ahead(np.arange(len(MANY)))
    assert ahead is not None
    gate.open.set()
    reads.read_many(np.arange(256, 300), ahead=ahead, end=300)
    gate.open.clear()  # whatever is fetched from now on hangs
    assert reads.read_many(np.arange(300, 400), ahead=ahead, end=400) == MANY[300:400]
    assert gate.was_open
    gate.open.set()
    ahead.close()


def test_an_error_ahead_is_raised_to_the_reader_and_a_second_try_can_succeed(
    gate: Gate, yours: Store, readers_ahead: Callable[[], list[threading.Thread]]
) -> None:
    gate.open.set()
    reads, _ = reads_of(yours, RemoteStore(CountingBackend(gate)), MANY)
    ahead = reads.ahead(np.arange(len(MANY)))
    assert ahead is not None
    assert reads.read_many(np.arange(100), ahead=ahead, end=100) == MANY[:100]
    gate.broken = True

    def read_on() -> None:
        for start in range(100, 2000, 100):
            reads.read_many(np.arange(start, start + 100), ahead=ahead, end=start + 100)

    with pytest.raises(AssetsMissing, match="does not answer") as caught:
        read_on()
    assert "datapin fetch" in caught.value.hint
    gate.broken = False
    start = int(np.flatnonzero(yours.missing(ids_of(MANY)))[0])
    assert reads.read_many(np.arange(start, start + 100), ahead=ahead, end=start + 100) == MANY[start : start + 100]
    ahead.close()
    assert not readers_ahead()


def test_no_remote_is_missing_assets_with_the_reason(yours: Store) -> None:
    def nowhere() -> RemoteStore:
        raise BadSettings(path=".dvc/config", where="", problem="no default remote", advice="add one")

    reads = LazyReader(yours, ids_of(CONTENTS), lambda: np.ones(len(CONTENTS), np.int64), Lazy(yours, nowhere, jobs=1))
    with pytest.raises(AssetsMissing, match="no default remote") as caught:
        reads.read(0)
    assert caught.value.hint == "run `datapin fetch`"
    assert caught.value.exit_code == 20


def test_without_lazy_a_missing_asset_is_an_error_at_once(mine: Store, yours: Store, remote: RemoteStore) -> None:
    push(mine, remote, CONTENTS)
    fill(yours, CONTENTS[1:])
    reads = LazyReader(yours, ids_of(CONTENTS), lambda: np.ones(len(CONTENTS), np.int64), None)
    assert reads.ahead(np.arange(3)) is None
    with pytest.raises(AssetsMissing):
        reads.read_many(np.arange(3))


def test_what_the_remote_lacks_too_is_said_to_be_missing_there(yours: Store, remote: RemoteStore) -> None:
    remote.make()
    reads, _ = reads_of(yours, remote, CONTENTS)
    with pytest.raises(AssetsMissing) as caught:
        reads.read(0)
    assert caught.value.where == remote.url


def test_a_reader_that_goes_away_ends_the_thread(
    gate: Gate, yours: Store, readers_ahead: Callable[[], list[threading.Thread]]
) -> None:
    gate.open.set()
    reads, _ = reads_of(yours, RemoteStore(CountingBackend(gate)), MANY)

    def batches() -> Generator[list[bytes]]:
        order = np.arange(len(MANY))
        ahead = reads.ahead(order)
        assert ahead is not None
        try:
            for start in range(0, len(order), 50):
                yield reads.read_many(order[start : start + 50], ahead=ahead, end=start + 50)
        finally:
            ahead.close()

    running = batches()
    next(running)
    assert readers_ahead()
    running.close()
    assert not readers_ahead()
    running = batches()
    next(running)
    next(running)
    del running
    gc.collect()
    assert not readers_ahead()
    assert yours.missing(ids_of(MANY)).any(), "it did not go on to the end"


def test_a_close_does_not_wait_for_a_remote_that_hangs(
    gate: Gate, yours: Store, readers_ahead: Callable[[], list[threading.Thread]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_module, "_LEAVE_S", 0.1)
    reads, _ = reads_of(yours, RemoteStore(CountingBackend(gate)), MANY)
    ahead = reads.ahead(np.arange(len(MANY)))
    assert ahead is not None

    def leave() -> None:
        gate.reached.wait(PATIENCE_S)
        ahead.close()

    closer = threading.Thread(target=leave)
    closer.start()
    ahead.wait(10)
    closer.join()
    assert gate.was_open
    assert yours.missing(ids_of(MANY[:10])).any()
    (hanging,) = readers_ahead()
    gate.open.set()
    hanging.join()


def test_two_readers_fetch_together_what_both_want_only_once(pushed: Path, yours: Store) -> None:
    remote = remote_at(pushed)
    reads, _ = reads_of(yours, remote, MANY)
    numbers = np.arange(500)
    got = []
    threads = [threading.Thread(target=lambda: got.append(reads.read_many(numbers))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [MANY[:500]] * 4
    assert len(yours.index.entries) == 500


def test_a_forked_process_fetches_on_its_own_while_the_parent_fetches_too(
    pushed: Path, gate: Gate, yours: Store
) -> None:
    opened = []

    def opener() -> RemoteStore:
        opened.append(os.getpid())
        return remote_at(pushed) if opened[0] != os.getpid() else RemoteStore(CountingBackend(gate))

    sizes = np.full(len(MANY), 100)
    reads = LazyReader(yours, ids_of(MANY), lambda: sizes, Lazy(yours, opener, jobs=2))
    ahead = reads.ahead(np.arange(len(MANY)))
    assert ahead is not None
    waiting = threading.Thread(target=lambda: reads.read_many(np.arange(100), ahead=ahead, end=100))
    waiting.start()
    # Not at any moment: in the midst of an import, or of a call of Arrow's, no child of threads could go on.
    assert gate.reached.wait(PATIENCE_S)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            told = reads.read_many(np.arange(1000, 1100), ahead=ahead, end=1100)
            ahead.close()
            code = 0 if told == MANY[1000:1100] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gate.open.set()
    waiting.join()
    ahead.close()


def test_who_reads_ahead_stays_behind_when_a_batch_is_sent_away(yours: Store, remote: RemoteStore) -> None:
    reads, _ = reads_of(yours, remote, CONTENTS)
    assert pickle.loads(pickle.dumps(reads.ahead(np.arange(3)))) is None
