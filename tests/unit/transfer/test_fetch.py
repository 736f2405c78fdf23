"""Fetches: what comes spoilt is read again, what came is kept, and what is read is what is wanted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.base.errors import DamagedAsset, RemoteUnreachable
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.downloads import range_calls
from datapin.transfer.fetch import fetch_assets
from tapped_backend import TappedBackend

from .conftest import CONTENTS, check_holds, fill, harm, ids_of, push, remote_at

FEW = CONTENTS[5:50:12]


def tapped_at(place: Path, **taps: Callable[..., Any]) -> tuple[TappedBackend, RemoteStore]:
    tapped = TappedBackend(LocalBackend(place), **taps)
    return tapped, RemoteStore(CountingBackend(tapped))


def spoiling(times: int) -> Callable[[str, str, Any], Any]:
    """Spoils every object and range the first `times` times that it is read."""

    def spoil(name: str, key: str, result: Any) -> Any:
        if name == "iter_chunks":
            seen[key] += 1
            return result[:-1] + bytes([result[-1] ^ 1]) if seen[key] <= times else result
        if name == "get_ranges":
            seen[key] += 1
            return [data[:-1] + bytes([data[-1] ^ 1]) for data in result] if seen[key] <= times else result
        return result

    seen: Counter[str] = Counter()
    return spoil


@pytest.mark.parametrize("wanted", [CONTENTS, FEW, CONTENTS[-1:]])
def test_what_comes_spoilt_twice_is_read_a_third_time(
    mine: Store, yours: Store, remote: RemoteStore, place: Path, wanted: Sequence[bytes]
) -> None:
    push(mine, remote, CONTENTS)
    before = set(yours.root.rglob("*"))
    tapped, far = tapped_at(place, after=spoiling(2))
    fetch_assets(yours, far, ids_of(wanted), jobs=1)
    check_holds(yours, wanted)
    assert max(Counter(key for name, key in tapped.calls if name in ("iter_chunks", "get_ranges")).values()) >= 3
    assert not [path for path in {*yours.root.rglob("*")} - before if path.name.startswith(".tmp-")]


def test_what_always_comes_spoilt_is_damaged(mine: Store, yours: Store, remote: RemoteStore, place: Path) -> None:
    push(mine, remote, CONTENTS)
    with pytest.raises(DamagedAsset) as caught:
        fetch_assets(yours, tapped_at(place, after=spoiling(1000))[1], ids_of(FEW), jobs=1)
    assert str(place) in caught.value.message
    assert len(yours.index) == 0


def test_damage_in_one_asset_leaves_the_others_here_and_names_it(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    push(mine, remote, CONTENTS)
    places = remote.index().locate(ids_of(CONTENTS))
    pack = places.packs[places.pack[20]].hex()
    harm(place / f"packs/{pack[:2]}/{pack}.pack", int(places.offset[20]) + 7)
    with pytest.raises(DamagedAsset) as caught:
        fetch_assets(yours, remote_at(place), ids_of(CONTENTS), jobs=2)
    assert caught.value.asset_id == ids_of(CONTENTS)[20].tobytes().hex()
    check_holds(yours, [data for number, data in enumerate(CONTENTS) if number != 20])


def test_what_came_before_a_failure_is_not_fetched_again(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    def fail_late(name: str, key: str) -> None:
        if name == "iter_chunks" and key.startswith("packs/"):
            asked.append(key)
            if len(asked) > 3:
                raise RemoteUnreachable(remote=str(place), problem="gone for lunch")

    asked: list[str] = []
    push(mine, remote, CONTENTS)
    packs = len(remote.list_packs())
    assert packs > 5
    with pytest.raises(RemoteUnreachable, match="lunch"):
        fetch_assets(yours, tapped_at(place, before=fail_late)[1], ids_of(CONTENTS), jobs=1)
    tapped, far = tapped_at(place)
    fetch_assets(yours, far, ids_of(CONTENTS), jobs=1)
    assert len([1 for name, key in tapped.calls if name == "iter_chunks" and key.startswith("packs/")]) == packs - 3
    check_holds(yours, CONTENTS)


INTERRUPTED = """
import signal, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.base.settings import StoreSettings
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer import fetch
from tapped_backend import TappedBackend

class Seen(fetch._Fetch):
    def __init__(self, *words):
        super().__init__(*words)
        fetches.append(self)

def wait(name, key):
    if name == {call!r}:
        seen.append(key)
        if len(seen) == 4:
            print("now", flush=True)
            fetches[0].stop.wait(600)

seen, fetches = [], []
signal.signal(signal.SIGINT, signal.default_int_handler)
fetch._Fetch = Seen
# One after the other, so that three are through when the fourth begins.
fetch.packs_at_once = fetch.ranges_at_once = lambda jobs: 1
place, mine = Path({place!r}), Path({yours!r})
store = Store.open(mine, StoreSettings(large_asset=8192, pack_size=6000))
remote = RemoteStore(CountingBackend(TappedBackend(LocalBackend(place), wait)))
ids = remote.index().entries.ids
try:
    fetch.fetch_assets(store, remote, ids if {call!r} == "iter_chunks" else ids[::4].copy(), jobs=1, gap_bytes=0)
except KeyboardInterrupt:
    print(len(store.index))
    sys.exit(130)
"""


@pytest.mark.parametrize("call", ["iter_chunks", "get_ranges"])
def test_what_came_before_an_interrupt_is_kept_and_whole(
    mine: Store, yours: Store, remote: RemoteStore, place: Path, call: str
) -> None:
    push(mine, remote, CONTENTS)
    tests = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    script = INTERRUPTED.format(tests=tests, place=str(place), yours=str(yours.root), call=call)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        child.send_signal(signal.SIGINT)
        kept = int(child.stdout.readline())
        assert child.wait() == 130
    assert 0 < kept < len(CONTENTS)
    assert yours.check() == []
    for raw in yours.index.entries.ids:
        yours.read(raw.tobytes().hex())
    fetch_assets(yours, remote_at(place), ids_of(CONTENTS), jobs=2)
    reader = yours.reader(ids_of(CONTENTS))
    assert [reader.read(number) for number in range(len(CONTENTS))] == CONTENTS


def test_packs_that_a_collector_replaced_meanwhile_are_found_in_the_index(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    def repack(name: str, key: str) -> None:
        if name == "iter_chunks" and not done:
            done.append(key)
            index = list((place / "index").iterdir())
            packs = list((place / "packs").rglob("*.pack"))
            for path in [*index, *packs, *(place / "roots").iterdir()]:
                path.unlink()
            push(mine, remote_at(place), wanted[::-1])

    done: list[str] = []
    wanted = CONTENTS[:30]
    push(mine, remote, CONTENTS)
    fetch_assets(yours, tapped_at(place, before=repack)[1], ids_of(wanted), jobs=1)
    assert done
    reader = yours.reader(ids_of(wanted))
    assert [reader.read(number) for number in range(len(wanted))] == wanted


def test_pieces_far_apart_are_read_alone_and_neighbours_together(mine: Store, remote: RemoteStore) -> None:
    push(mine, remote, CONTENTS)
    entries = remote.index().entries
    packed = np.flatnonzero(entries.pack >= 0)
    for gap, expected in ((0, 3), (10_000, 1)):
        (first, *_) = np.argsort(entries.pack, kind="stable")[np.bincount(entries.pack + 1)[0] :]
        same = packed[entries.pack[packed] == entries.pack[first]]
        same = same[np.argsort(entries.offset[same])]
        chosen = same[[0, 1, 3, 5]]
        (call,) = range_calls(entries, chosen, gap)
        assert len(call.spans) == expected
        assert sorted(call.rows) == sorted(chosen)
        assert sum(span.last - span.first + 1 for span in call.spans) == 4


def test_calls_for_ranges_are_bounded(mine: Store, remote: RemoteStore) -> None:
    push(mine, remote, CONTENTS)
    entries = remote.index().entries
    # As if every asset were a MiB: one pack of a gigabyte.
    far = type(entries)(
        np.zeros((1000, 32), np.uint8),
        np.zeros(1000, np.int32),
        np.arange(1000, dtype=np.int64) << 20,
        np.full(1000, 1 << 20, dtype=np.int64),
        np.full(1000, 1 << 20, dtype=np.int64),
        np.zeros(1000, np.uint8),
        entries.packs[:1],
    )
    for gap in (0, 1 << 16):
        calls = list(range_calls(far, np.arange(1000), gap))
        assert max(sum(span.length for span in call.spans) for call in calls) <= 2 << 20
        assert np.concatenate([call.rows for call in calls]).tolist() == list(range(1000))


def test_reads_run_beside_each_other(mine: Store, yours: Store, remote: RemoteStore, place: Path) -> None:
    def meet(name: str, key: str) -> None:
        if name == "iter_chunks" and key.startswith("packs/"):
            tapped._lock.release()
            try:
                together.wait(timeout=600)
            finally:
                tapped._lock.acquire()

    push(mine, remote, CONTENTS)
    assert len(remote.list_packs()) % 2 == 0
    together = threading.Barrier(2)
    tapped, far = tapped_at(place, before=meet)
    fetch_assets(yours, far, ids_of(CONTENTS), jobs=2)
    check_holds(yours, CONTENTS)


def test_a_reader_that_fetches_bit_by_bit_lists_the_index_once(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    push(mine, remote, CONTENTS)
    tapped, far = tapped_at(place)
    for number in range(0, 50, 5):
        fetch_assets(yours, far, ids_of(CONTENTS[number : number + 2]), jobs=1)
    asked = Counter(name for name, _ in tapped.calls)
    assert (asked["get"], asked["iter_objects"]) == (2, 1)
    push(fill(mine, [b"a new one"]), remote_at(place), [b"a new one"])
    fetch_assets(yours, far, ids_of([b"a new one"]), jobs=1)
    check_holds(yours, [b"a new one"])
    assert [name for name, _ in tapped.calls].count("iter_objects") == 2
