"""Root records: what a push says at its end, what spares the next one its work, and what heals."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datapin.backends.backend import Abilities
from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.base.errors import AssetsMissing, DamagedPack, DatapinError, PushOvertaken
from datapin.base.id_columns import IdMatrix
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.fetch import fetch_assets
from datapin.transfer.push import Manifests, PushVersion, push_versions
from datapin.transfer.root_records import RootRecord, decode_root
from stored import read_roots
from tapped_backend import TappedBackend

from .conftest import CONTENTS, NO_MANIFESTS, SETTINGS, check_holds, fill, ids_of, push, remote_at, version_of


def finals(place: Path) -> list[RootRecord]:
    return [record for _, record in read_roots(remote_at(place)) if record.state == "final"]


def tapped_at(place: Path, **taps: Callable[..., Any]) -> tuple[TappedBackend, RemoteStore]:
    tapped = TappedBackend(LocalBackend(place), **taps)
    return tapped, RemoteStore(CountingBackend(tapped))


def put(place: Path, key: str, said: object) -> None:
    path = place / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(said if isinstance(said, bytes) else json.dumps(said).encode())


def test_a_final_record_names_the_packs_and_loose_assets_of_its_version(
    mine: Store, remote: RemoteStore, place: Path
) -> None:
    version = version_of(CONTENTS)
    push_versions(mine, remote, [version], NO_MANIFESTS, jobs=2, actor="Ada")
    ((key, record),) = read_roots(remote)
    start = hashlib.sha256(f"{version.dataset}\0{version.digest}\0{version.manifest}".encode()).hexdigest()[:32]
    assert key.startswith(f"roots/{start}-")
    assert len(key) == len(f"roots/{start}-0123456789abcdef.json")
    assert (record.state, record.dataset, record.assets, record.actor) == ("final", "data/raw", len(CONTENTS), "Ada")
    assert set(record.packs) == {path.stem for path in (place / "packs").rglob("*.pack")}
    assert set(record.loose) == {hashlib.sha256(data).hexdigest() for data in CONTENTS[-2:]}
    assert record.compare_and_swap
    assert json.loads((place / key).read_bytes())["manifest"] == version.manifest


def test_manifests_go_after_the_index_and_before_the_roots(mine: Store, remote: RemoteStore, place: Path) -> None:
    def look(md5s: Sequence[str]) -> dict[str, DatapinError]:
        assert list((place / "index").iterdir())
        assert not (place / "roots").exists()
        seen.extend(md5s)
        return {}

    seen: list[str] = []
    versions = [version_of(CONTENTS[:9]), version_of(CONTENTS[5:])]
    push_versions(mine, remote, versions, Manifests(look, lambda md5s: md5s), jobs=2)
    assert seen == [one.manifest for one in versions]
    push_versions(mine, remote, versions, Manifests(look, lambda md5s: md5s), jobs=2)
    assert len(seen) == 2


def test_a_push_with_nothing_new_takes_five_requests_for_any_number_of_versions(
    mine: Store, place: Path, tmp_path: Path
) -> None:
    versions = [version_of(CONTENTS[number:]) for number in range(60)]
    push_versions(mine, remote_at(place, tmp_path / "cache"), versions, NO_MANIFESTS, jobs=2)
    asked = []

    def ask() -> IdMatrix:
        asked.append(1)
        return ids_of(CONTENTS)

    same = [PushVersion(one.dataset, one.digest, one.manifest, ask) for one in versions]
    remote = remote_at(place, tmp_path / "cache")
    report = push_versions(mine, remote, same, NO_MANIFESTS, jobs=2)
    assert remote.backend.requests <= 5
    assert (report.assets, report.packs, report.bytes, asked) == (0, 0, 0, [])
    assert len(list((tmp_path / "cache" / "roots").iterdir())) == 60


def test_a_lost_or_spoilt_cache_costs_requests_only(mine: Store, place: Path, tmp_path: Path) -> None:
    push(mine, remote_at(place, tmp_path / "cache"), CONTENTS)
    (kept,) = (tmp_path / "cache" / "roots").iterdir()
    for spoilt in (b"", b"{}", kept.read_bytes().replace(b"sha256:", b"sha256:0"), None):
        if spoilt is None:
            kept.unlink()
        else:
            kept.write_bytes(spoilt)
        assert push(mine, remote_at(place, tmp_path / "cache"), CONTENTS).assets == 0
        assert len(finals(place)) == 1
        assert kept.exists()


def test_the_cache_forgets_what_the_remote_does_not_list(mine: Store, place: Path, tmp_path: Path) -> None:
    push(mine, remote_at(place, tmp_path / "cache"), CONTENTS)
    (kept,) = (tmp_path / "cache" / "roots").iterdir()
    (place / "roots" / kept.name).unlink()
    assert push(mine, remote_at(place, tmp_path / "cache"), CONTENTS).assets == 0
    assert [path.name for path in (tmp_path / "cache" / "roots").iterdir()] != [kept.name]
    assert len(finals(place)) == 1


def test_records_of_the_first_form_count(mine: Store, remote: RemoteStore, place: Path) -> None:
    version = version_of(CONTENTS)
    push(mine, remote, CONTENTS)
    ((key, record),) = read_roots(remote)
    (place / key).unlink()
    said = {name: getattr(record, name) for name in ("state", "dataset", "digest", "manifest", "packs", "loose")}
    put(place, f"roots/{'ab' * 16}.json", said)
    tapped, again = tapped_at(place)
    push_versions(mine, again, [version], NO_MANIFESTS, jobs=2)
    assert not [call for call in tapped.calls if call[0] == "put_if_absent"]
    ((_, found),) = read_roots(again)
    assert (found.assets, found.actor, found.compare_and_swap) == (0, "", False)


def test_versions_share_what_was_sent_and_each_names_only_its_own(
    mine: Store, remote: RemoteStore, place: Path
) -> None:
    versions = [version_of(CONTENTS[:10]), version_of(CONTENTS[5:30]), version_of(CONTENTS[60:])]
    report = push_versions(mine, remote, versions, NO_MANIFESTS, jobs=2)
    assert report.assets >= 34
    for version, contents in zip(versions, (CONTENTS[:10], CONTENTS[5:30], CONTENTS[60:]), strict=True):
        (record,) = [found for _, found in read_roots(remote) if found.digest == version.digest]
        assert record.assets == len(contents)
        held = remote.index().locate(ids_of(contents))
        packs = {held.packs[number].hex() for number in held.pack if number >= 0}
        assert packs <= set(record.packs)


def test_a_version_whose_root_names_a_lost_pack_is_healed(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    push(mine, remote, CONTENTS)
    lost = next((place / "packs").rglob("*.pack"))
    lost.unlink()
    report = push(mine, remote_at(place), CONTENTS)
    assert report.packs == 1
    assert lost.exists()
    fetch_assets(yours, remote_at(place), ids_of(CONTENTS), jobs=1)
    check_holds(yours, CONTENTS)
    assert push(mine, remote_at(place), CONTENTS).packs == 0


def test_a_lost_loose_asset_is_healed(mine: Store, remote: RemoteStore, place: Path) -> None:
    push(mine, remote, CONTENTS)
    lost = next(path for path in (place / "assets").rglob("*") if path.is_file())
    lost.unlink()
    assert push(mine, remote_at(place), CONTENTS).assets == 1
    assert lost.exists()


def test_a_remote_that_lost_its_index_gets_it_again_without_any_pack(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    push(mine, remote, CONTENTS)
    for path in (place / "index").iterdir():
        path.unlink()
    assert push(mine, remote_at(place), CONTENTS).packs == 0
    fetch_assets(yours, remote_at(place), ids_of(CONTENTS), jobs=1)
    check_holds(yours, CONTENTS)


@pytest.mark.parametrize("only", [CONTENTS, CONTENTS[5:50:9]])
def test_what_is_condemned_is_sent_again_under_another_name(
    mine: Store, yours: Store, remote: RemoteStore, place: Path, only: Sequence[bytes]
) -> None:
    push(mine, remote, only)
    ((key, record),) = read_roots(remote)
    (place / key).unlink()
    put(place, "condemned/gc.json", {"packs": record.packs, "loose": record.loose})
    push(mine, remote_at(place), only)
    ((_, fresh),) = read_roots(remote)
    assert fresh.packs
    assert not {*fresh.packs, *fresh.loose} & {*record.packs, *record.loose}
    for pack in record.packs:
        (place / f"packs/{pack[:2]}/{pack}.pack").unlink()
    for asset in record.loose:
        (place / f"assets/{asset[:2]}/{asset}").unlink()
    assert push(mine, remote_at(place), only).assets == 0
    fetch_assets(yours, remote_at(place), ids_of(only), jobs=2)
    reader = yours.reader(ids_of(only))
    assert [reader.read(number) for number in range(len(only))] == only


def test_a_push_that_a_collector_overtakes_starts_again_under_a_new_key(mine: Store, place: Path) -> None:
    def expire_one(name: str, key: str) -> None:
        if name == "get_tagged" and len(expired) < 2:
            path = place / key
            expired.append(key)
            record = decode_root(path.read_bytes(), key, "here")
            path.write_bytes(replace(record, state="expired").encoded())

    expired: list[str] = []
    _, remote = tapped_at(place, before=expire_one)
    push(mine, remote, CONTENTS)
    states = {key: record.state for key, record in read_roots(remote_at(place))}
    assert sorted(states.values()) == ["expired", "expired", "final"]
    assert {states[key] for key in expired} == {"expired"}


def test_a_push_that_is_overtaken_again_and_again_says_so(mine: Store, place: Path) -> None:
    def expire(name: str, key: str) -> None:
        if name == "get_tagged":
            path = place / key
            record = decode_root(path.read_bytes(), key, "here")
            path.write_bytes(replace(record, state="expired").encoded())

    with pytest.raises(PushOvertaken) as caught:
        push(mine, tapped_at(place, before=expire)[1], CONTENTS)
    assert str(place) in caught.value.message
    assert "datapin push" in caught.value.hint
    assert not finals(place)
    push(mine, remote_at(place), CONTENTS)
    assert len(finals(place)) == 1


def test_a_pack_that_vanishes_after_the_announcement_is_sent_again(mine: Store, yours: Store, place: Path) -> None:
    def take_one_away(name: str, key: str) -> None:
        if name == "put_if_absent" and key.startswith("roots/") and not taken:
            taken.append(next((place / "packs").rglob("*.pack")))
            taken[0].unlink()

    taken: list[Path] = []
    push(mine, tapped_at(place, before=take_one_away)[1], CONTENTS)
    assert taken
    assert len(finals(place)) == 1
    fetch_assets(yours, remote_at(place), ids_of(CONTENTS), jobs=1)
    check_holds(yours, CONTENTS)


def test_a_place_without_compare_and_swap_is_said_to_be_one(mine: Store, place: Path) -> None:
    def without(name: str, key: str, result: Any) -> Any:
        return Abilities(exclusive_put=True, replace=False, reason="a test") if name == "abilities" else result

    push(mine, tapped_at(place, after=without)[1], CONTENTS)
    (record,) = finals(place)
    assert record.compare_and_swap is False


def test_a_version_with_assets_that_are_nowhere_is_refused_before_anything_is_sent(
    mine: Store, remote: RemoteStore, place: Path
) -> None:
    push(mine, remote, CONTENTS[:5])
    before = sorted(path for path in place.rglob("*"))
    with pytest.raises(AssetsMissing):
        push(mine, remote_at(place), [*CONTENTS[:7], b"not there"])
    assert sorted(path for path in place.rglob("*")) == before


def test_a_version_that_is_only_on_the_remote_can_be_named_from_elsewhere(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    push(mine, remote, CONTENTS)
    report = push(yours, remote_at(place), CONTENTS[:30])
    assert (report.assets, report.packs, report.skipped) == (0, 0, 30)
    assert len(finals(place)) == 2


@pytest.mark.parametrize(
    "said",
    [b"{", b"[]", b'{"state": 1}', b'{"state": "final", "dataset": "d"}', b'{"state": "new"}', {"packs": ["zz"]}],
)
def test_a_root_record_that_does_not_parse_is_damage_but_stops_no_push(
    mine: Store, remote: RemoteStore, place: Path, said: object
) -> None:
    if isinstance(said, dict):
        said = {"state": "final", "dataset": "d", "digest": "d", "manifest": "m", "loose": []} | said
    put(place, "roots/aa.json", said)
    with pytest.raises(DamagedPack, match="not a root record"):
        list(read_roots(remote))
    push(mine, remote, CONTENTS[:5])


def test_a_record_under_the_name_of_another_version_is_damage(mine: Store, remote: RemoteStore, place: Path) -> None:
    push(mine, remote, CONTENTS[:5])
    ((key, _),) = read_roots(remote)
    (place / "roots" / f"{'0' * 32}-{'1' * 16}.json").write_bytes((place / key).read_bytes())
    with pytest.raises(DamagedPack, match="another version"):
        list(read_roots(remote_at(place)))


def test_a_record_of_the_condemned_that_does_not_parse_stops_a_push(
    mine: Store, remote: RemoteStore, place: Path
) -> None:
    put(place, "condemned/gc.json", b'{"packs": 3}')
    with pytest.raises(DamagedPack, match="condemned"):
        push(mine, remote, CONTENTS[:5])
    assert not (place / "packs").exists()


def test_one_store_pushes_the_same_from_two_processes_at_once(mine: Store, tmp_path: Path, place: Path) -> None:
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            push(Store.open(mine.root, SETTINGS), remote_at(place), CONTENTS)
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    assert {record.digest for record in finals(place)} == {version_of(CONTENTS).digest}
    yours = fill(Store.create(tmp_path / "yours", SETTINGS), [])
    fetch_assets(yours, remote_at(place), ids_of(CONTENTS), jobs=2)
    check_holds(yours, CONTENTS)
