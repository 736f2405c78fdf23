"""Pushes beside collectors of garbage: nothing that a final root names is ever deleted.

First as a model that is searched exhaustively, and in which every rule is shown to be needed; then the real push, on a
recording of its calls, and with a collector that takes its steps between any two of them.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.base.errors import DatapinError
from datapin.base.id_columns import IdMatrix
from datapin.base.settings import StoreSettings
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.fetch import fetch_assets
from datapin.transfer.push import Manifests, PushVersion, push_versions
from stored import read_roots
from tapped_backend import TappedBackend

# --- the model: one asset, one atomic step per request, any process may stop for ever at any step
#
# A pusher is (name, step, try, packs seen, condemned seen, pack it relies on); a collector (name, step, dead, live).
# Packs that hold the asset: "old", as everybody packs it, and salted ones, each by its pusher and try.
# A root's key is (pusher, try), its value (state, pack).

RULES = ("condemned is looked at first", "pending first", "checked then", "condemned before packs", "swapped")
COLLECTOR_RULES = ("condemns", "lists roots again")
MOST_TRIES = 2

Packs = frozenset[str]
Condemned = frozenset[tuple[str, str]]  # (collector, pack)
Root = tuple[str, int]
RootValue = tuple[str, str]
Roots = frozenset[tuple[Root, RootValue]]
PusherState = tuple[str, str, int, Packs | None, Packs | None, str]
CollectorState = tuple[str, str, Packs, Packs]
State = tuple[Packs, Condemned, Roots, tuple[PusherState, ...], tuple[CollectorState, ...]]


def put(pairs: Roots, key: Root, value: RootValue) -> Roots:
    return frozenset(pair for pair in pairs if pair[0] != key) | {(key, value)}


def push_steps(
    rules: set[str], pusher: PusherState, packs: Packs, condemned: Condemned, roots: Roots
) -> Iterator[tuple[PusherState, Packs, Roots]]:
    """Every (pusher, packs, roots) that one request of this pusher may lead to."""
    name, step, attempt, seen, avoided, pack = pusher
    known = frozenset(pack for _, pack in condemned)
    root = (name, attempt)

    def at(
        step: str,
        packs: Packs = packs,
        roots: Roots = roots,
        seen: Packs | None = seen,
        avoided: Packs | None = avoided,
        pack: str = pack,
    ) -> tuple[PusherState, Packs, Roots]:
        return (name, step, attempt, seen, avoided, pack), packs, roots

    if step == "look":  # two listings at once: either may be answered first
        if seen is None:
            yield at("look" if avoided is None else "choose", seen=packs)
        if avoided is None:
            noted = known if "condemned is looked at first" in rules else frozenset()
            yield at("look" if seen is None else "choose", avoided=noted)
    elif step == "choose":
        assert seen is not None
        assert avoided is not None
        if good := sorted(seen - avoided):
            yield at("announce", pack=good[0])
        else:
            yield at("send", pack="old" if "old" not in avoided else f"{name}.{attempt}")
    elif step == "send":
        yield at("announce", packs=packs | {pack})
    elif step == "announce":
        later = roots if "pending first" not in rules else put(roots, root, ("pending", pack))
        yield at("check first" if "checked then" in rules else "settle", roots=later)
    elif step in ("check first", "check second"):
        looks_at_condemned = (step == "check first") == ("condemned before packs" in rules)
        is_good = pack not in known if looks_at_condemned else pack in packs
        if is_good:
            yield at("check second" if step == "check first" else "settle")
        elif attempt < MOST_TRIES:
            ours = dict(roots).get(root) == ("pending", pack)
            yield again(name, attempt), packs, put(roots, root, ("expired", pack)) if ours else roots
    elif step == "settle":
        if "swapped" not in rules or "pending first" not in rules or dict(roots).get(root) == ("pending", pack):
            yield at("done", roots=put(roots, root, ("final", pack)))
        elif attempt < MOST_TRIES:
            yield again(name, attempt), packs, roots


def again(name: str, attempt: int) -> PusherState:
    return name, "look", attempt + 1, None, None, ""


def collect_steps(
    rules: set[str], collector: CollectorState, packs: Packs, condemned: Condemned, roots: Roots
) -> Iterator[tuple[CollectorState, Packs, Condemned, Roots]]:
    """Every (collector, packs, condemned, roots) that one request of this collector may lead to."""
    name, step, dead, live = collector
    named = frozenset(pack for _, (state, pack) in roots if state != "expired")
    if step == "mark":
        yield (name, "condemn", packs - named, live), packs, condemned, roots
        for root, (state, pack) in roots:  # by whatever rule of age
            if state == "pending":
                yield collector, packs, condemned, put(roots, root, ("expired", pack))
    elif step == "condemn":
        said = {(name, pack) for pack in dead} if "condemns" in rules else set()
        yield (name, "list again", dead, live), packs, condemned | said, roots
    elif step == "list again":
        yield (name, "delete", dead, named if "lists roots again" in rules else frozenset()), packs, condemned, roots
    elif step == "delete":
        if todo := sorted(pack for pack in dead - live if pack in packs):
            yield (name, "delete", dead, live), packs - {todo[0]}, condemned, roots
        else:
            left = frozenset(said for said in condemned if said[0] != name)
            yield (name, "done", frozenset(), frozenset()), packs, left, roots


def search(pushers: int, collectors: int, rules: set[str]) -> tuple[int, str]:
    """How many states can be reached, and the first bad one."""
    first: State = (
        frozenset({"old"}),
        frozenset(),
        frozenset(),
        tuple((f"p{number}", "look", 0, None, None, "") for number in range(pushers)),
        tuple((f"g{number}", "mark", frozenset(), frozenset()) for number in range(collectors)),
    )
    seen, queue = {first}, deque([first])
    while queue:
        state = packs, condemned, roots, pushing, collecting = queue.popleft()
        if any(kind == "final" and pack not in packs for _, (kind, pack) in roots):
            return len(seen), f"a final root names a pack that is gone: {state}"
        following: list[State] = []
        for place, pusher in enumerate(pushing):
            for moved, new_packs, new_roots in push_steps(rules, pusher, packs, condemned, roots):
                others = (*pushing[:place], moved, *pushing[place + 1 :])
                following.append((new_packs, condemned, new_roots, others, collecting))
        for place, collector in enumerate(collecting):
            for done, new_packs, new_condemned, new_roots in collect_steps(rules, collector, packs, condemned, roots):
                beside = (*collecting[:place], done, *collecting[place + 1 :])
                following.append((new_packs, new_condemned, new_roots, pushing, beside))
        for new in following:
            if new not in seen:
                seen.add(new)
                queue.append(new)
    return len(seen), ""


@pytest.mark.parametrize(("pushers", "collectors"), [(1, 1), (2, 1), (1, 2)])
def test_no_order_of_requests_lets_a_final_root_lose_its_pack(pushers: int, collectors: int) -> None:
    count, bad = search(pushers, collectors, {*RULES, *COLLECTOR_RULES})
    assert not bad
    assert count > 300


@pytest.mark.parametrize("rule", [*RULES[1:], *COLLECTOR_RULES])
def test_every_rule_is_needed(rule: str) -> None:
    rules = {*RULES, *COLLECTOR_RULES} - {rule}
    assert any(search(pushers, collectors, rules)[1] for pushers, collectors in ((1, 1), (2, 1), (1, 2)))


def test_the_first_look_at_what_is_condemned_is_for_progress_not_for_safety() -> None:
    assert not search(1, 2, {*RULES, *COLLECTOR_RULES} - {RULES[0]})[1]


# --- the real push

SETTINGS = StoreSettings(large_asset=4096, pack_size=1500)
NOISE = random.Random(5)
CONTENTS = [*(NOISE.randbytes(400) for _ in range(6)), NOISE.randbytes(5000)]


def ids_of(contents: Sequence[bytes]) -> IdMatrix:
    return np.frombuffer(b"".join(hashlib.sha256(data).digest() for data in contents), np.uint8).reshape(-1, 32)


def store_with(folder: Path, contents: Sequence[bytes]) -> Store:
    store = Store.create(folder, SETTINGS)
    with store.filling() as filling:
        for data in contents:
            filling.put(data)
    return store


def version(number: int, contents: Sequence[bytes]) -> PushVersion:
    return PushVersion("data/raw", f"sha256:{number:064x}", f"{number:032x}.dir", lambda: ids_of(contents))


VERSIONS = [version(1, CONTENTS[:4]), version(2, CONTENTS)]

# What one request is in the protocol; get_tagged belongs to the swap.
STEPS = {
    r"iter_objects (index|roots|packs|condemned|assets)/": "list {0}",
    r"put_if_absent (packs|assets|index|roots)/.*": "put {0}",
    r"head (packs|assets)/.*": "look at {0}",
    r"(replace) roots/.*": "swap roots",
    r"(manifests) ": "put manifests",
}
OTHERS = r"(get|put_if_absent|abilities) format.json|get index/.*|get roots/.*|get condemned/.*|get_tagged roots/.*"


def steps_of(calls: Iterable[tuple[str, str]]) -> Iterator[tuple[int, str]]:
    """The calls as steps, each with the number of its call."""
    for number, call in enumerate(" ".join(call) for call in calls):
        for pattern, step in STEPS.items():
            if match := re.fullmatch(pattern, call):
                yield number, step.format(*match.groups())
                break
        else:
            assert re.fullmatch(OTHERS, call), f"{call} has no place in the protocol"


def test_the_requests_of_a_push_come_in_the_order_of_the_protocol(tmp_path: Path) -> None:
    tapped = TappedBackend(LocalBackend(tmp_path / "remote"))
    store = store_with(tmp_path / "mine", CONTENTS)
    remote = RemoteStore(CountingBackend(tapped))

    def send(md5s: Sequence[str]) -> dict[str, DatapinError]:
        tapped.calls.append(("manifests", ""))
        return {}

    push_versions(store, remote, VERSIONS, Manifests(send, list), jobs=2)
    places: dict[str, list[int]] = {}
    for number, step in steps_of(tapped.calls):
        places.setdefault(step, []).append(number)
    assert len(places["put roots"]) == len(places["swap roots"]) == 2
    assert len(places["list condemned"]) == 2
    order = ["put packs", "put index", "put manifests", "put roots"]
    for earlier, later in pairwise(order):
        assert max(places[earlier]) < min(places[later]), f"{later} before {earlier}"
    assert max(places["put assets"]) < min(places["put index"])
    announced, second_look = max(places["put roots"]), max(places["list condemned"])
    checked, swapped = places["look at packs"] + places["look at assets"], places["swap roots"]
    assert announced < second_look < min(checked)
    assert max(checked) < min(swapped)
    assert {
        record.state for _, record in read_roots(RemoteStore(CountingBackend(LocalBackend(tmp_path / "remote"))))
    } == {"final"}


class Collector:
    """What a later `gc` has to do, one step at a time; it leaves the index as it is, which readers must bear."""

    def __init__(self, place: Path) -> None:
        self.remote = RemoteStore(CountingBackend(LocalBackend(place)))
        self.deleted: list[str] = []
        self.dead: set[str] = set()

    def mark(self) -> None:
        live = self.live()
        held = [found.key for folder in ("packs/", "assets/") for found in self.remote.backend.iter_objects(folder)]
        self.dead = {key for key in held if key.split("/")[-1].removesuffix(".pack") not in live}

    def condemn(self) -> None:
        names = {
            folder: [key.split("/")[-1] for key in self.dead if key.startswith(folder)]
            for folder in ("packs", "assets")
        }
        said = {"packs": [name.removesuffix(".pack") for name in names["packs"]], "loose": names["assets"]}
        self.remote.backend.put_if_absent("condemned/this.json", json.dumps(said).encode())

    def list_again(self) -> None:
        live = self.live()
        self.dead = {key for key in self.dead if key.split("/")[-1].removesuffix(".pack") not in live}

    def delete(self) -> None:
        for key in self.dead:
            if self.remote.backend.head(key) is not None:
                self.remote.backend.delete(key)
                self.deleted.append(key)

    def finish(self) -> None:
        self.remote.backend.delete("condemned/this.json")

    def expire(self) -> None:
        for key, record in read_roots(self.remote):
            if record.state == "pending":
                _, tag = self.remote.backend.get_tagged(key)
                self.remote.backend.replace(key, replace(record, state="expired").encoded(), tag)

    def live(self) -> set[str]:
        return {
            name
            for _, record in read_roots(self.remote)
            if record.state != "expired"
            for name in (*record.packs, *record.loose)
        }


def push_beside_a_collector(
    folder: Path, store: Store, orphans: Mapping[str, bytes], schedule: Mapping[int, Sequence[str]]
) -> tuple[int, Collector]:
    """Push to a remote that holds orphans; before call `n` the collector takes the steps `schedule[n]`."""
    place = folder / "remote"
    for key, data in orphans.items():
        (place / key).parent.mkdir(parents=True, exist_ok=True)
        (place / key).write_bytes(data)
    collector = Collector(place)
    done: list[str] = []

    def before(name: str, key: str) -> None:
        for step in schedule.get(len(tapped.calls), ()):
            getattr(collector, step)()
            done.append(step)

    tapped = TappedBackend(LocalBackend(place), before)
    push_versions(store, RemoteStore(CountingBackend(tapped)), VERSIONS, Manifests(lambda md5s: {}, list), jobs=1)
    calls = len(tapped.calls)
    for step in [step for number in sorted(schedule) for step in schedule[number]][len(done) :]:
        getattr(collector, step)()  # the push was over before: a collector goes on
    return calls, collector


def test_a_collector_between_any_two_requests_deletes_nothing_that_a_final_root_names(tmp_path: Path) -> None:
    store = store_with(tmp_path / "mine", CONTENTS)
    push_versions(
        store,
        RemoteStore(CountingBackend(LocalBackend(tmp_path / "first"))),
        VERSIONS,
        Manifests(lambda md5s: {}, list),
        jobs=1,
    )
    # What a push that was cut off before its roots leaves behind: everything may be reused, nothing is named.
    kept = [path for path in (tmp_path / "first").rglob("*") if path.is_file() and path.parent.name != "roots"]
    orphans = {str(path.relative_to(tmp_path / "first")): path.read_bytes() for path in kept if path.name[0] != "."}
    calls, _ = push_beside_a_collector(tmp_path / "quiet", store, orphans, {})
    deleted = tries = 0
    turns = [(start, end) for start in range(1, calls + 1, 2) for end in range(start, calls + 8, 5)]
    for number, (start, end) in enumerate(turns):
        expires, early = ["expire"] * (number % 3 == 2), number % 2
        steps = [(start, [*expires, "mark", "condemn"]), (start if early else end, ["list_again"]), (end, ["delete"])]
        schedule: dict[int, list[str]] = {}
        for call, names in [*steps, (end + number % 7, ["finish"])]:
            schedule[call] = [*schedule.get(call, []), *names]
        folder = tmp_path / str(number)
        made, collector = push_beside_a_collector(folder, store, orphans, schedule)
        deleted += bool(collector.deleted)
        tries += made > calls + 10
        remote = RemoteStore(CountingBackend(LocalBackend(folder / "remote")))
        held = remote.list_packs().keys() | remote.list_loose().keys()
        final = [record for _, record in read_roots(remote) if record.state == "final"]
        assert {record.digest for record in final} == {one.digest for one in VERSIONS}, (start, end)
        for record in final:
            assert {*map(bytes.fromhex, (*record.packs, *record.loose))} <= held, (start, end)
        if number % 5 == 0:
            fetched = fetch_assets(Store.create(folder / "yours", SETTINGS), remote, ids_of(CONTENTS), jobs=1)
            assert fetched.assets >= len(CONTENTS)
    assert deleted > 10
    assert tries > 10
