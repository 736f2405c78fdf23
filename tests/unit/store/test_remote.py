"""The store on a remote: its index and abilities are read once, kept in a cache, and verified when read from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datapin.backends.backend import Abilities
from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.base.errors import DamagedPack, StoreFormat
from datapin.store.index import entries_of_loose
from datapin.store.remote import KeptObjects, RemoteStore
from tapped_backend import TappedBackend


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "remote" / "datapin"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def remote_at(place: Path, cache: Path | None = None, **taps: Callable[..., Any]) -> tuple[TappedBackend, RemoteStore]:
    tapped = TappedBackend(LocalBackend(place), **taps)
    return tapped, RemoteStore(CountingBackend(tapped), cache)


def publish(place: Path, *numbers: int) -> list[str]:
    _, remote = remote_at(place)
    remote.make()
    return [remote.publish_index(entries_of_loose([bytes([number]) * 32], [number])) for number in numbers]


def reads(tapped: TappedBackend) -> list[str]:
    return [key for name, key in tapped.calls if name == "get" and key.startswith("index/")]


def test_index_files_are_read_once_by_all_processes(place: Path, cache: Path) -> None:
    publish(place, 1, 2, 3)
    first, remote = remote_at(place, cache)
    assert len(remote.index()) == 3
    second, again = remote_at(place, cache)
    assert len(again.index()) == 3
    assert (len(reads(first)), len(reads(second))) == (3, 0)
    publish(place, 4)
    assert len(again.index()) == 4
    assert len(reads(second)) == 1


def test_a_spoilt_index_file_in_the_cache_is_read_from_the_remote(place: Path, cache: Path) -> None:
    publish(place, 1, 2)
    remote_at(place, cache)[1].index()
    first, second = sorted((cache / "index").iterdir())
    whole = first.read_bytes()
    first.write_bytes(whole[:-1])
    second.write_bytes(b"")
    tapped, remote = remote_at(place, cache)
    assert len(remote.index()) == 2
    assert len(reads(tapped)) == 2
    assert first.read_bytes() == whole


def test_an_index_file_that_is_not_listed_any_more_is_forgotten(place: Path, cache: Path) -> None:
    one, two = publish(place, 1, 2)
    _, remote = remote_at(place, cache)
    assert len(remote.index()) == 2
    (place / "index" / f"{one}.parquet").unlink()
    assert len(remote.index()) == 1
    assert [path.name for path in (cache / "index").iterdir()] == [f"{two}.parquet"]


def test_an_index_that_comes_damaged_is_read_again_twice(place: Path, cache: Path) -> None:
    def spoil(name: str, key: str, result: Any) -> Any:
        if name == "get" and key.startswith("index/"):
            times.append(key)
            return result[:-1] + b"?" if len(times) <= spoilt else result
        return result

    publish(place, 1)
    times: list[str] = []
    spoilt = 2
    assert len(remote_at(place, cache, after=spoil)[1].index()) == 1
    times, spoilt = [], 3
    with pytest.raises(DamagedPack):
        remote_at(place, after=spoil)[1].index()
    assert len(times) == 3


def test_an_index_file_that_is_merged_away_while_it_is_read_is_listed_again(place: Path) -> None:
    def merge(name: str, key: str) -> None:
        if name == "get" and key.startswith("index/") and not merged:
            merged.extend(publish(place, 3))
            (place / key).unlink()

    merged: list[str] = []
    publish(place, 1, 2)
    assert len(remote_at(place, before=merge)[1].index()) == 2


def test_abilities_are_asked_once_for_a_place(place: Path, cache: Path) -> None:
    publish(place)
    tapped, remote = remote_at(place, cache)
    assert remote.abilities() == remote.abilities() == Abilities(exclusive_put=True, replace=True)
    assert remote_at(place, cache)[1].abilities().replace
    assert [name for name, _ in tapped.calls].count("abilities") == 1
    remote.abilities(fresh=True)
    assert [name for name, _ in tapped.calls].count("abilities") == 2
    elsewhere, other = remote_at(place.with_name("other"), cache)
    other.make()
    other.abilities()
    assert [name for name, _ in elsewhere.calls].count("abilities") == 1


@pytest.mark.parametrize("spoilt", [b"", b"{}", b"[]", b'{"url": 3}'])
def test_spoilt_abilities_are_asked_again(place: Path, cache: Path, spoilt: bytes) -> None:
    publish(place)
    remote_at(place, cache)[1].abilities()
    (cache / "abilities.json").write_bytes(spoilt)
    assert remote_at(place, cache)[1].abilities().replace


def test_listings_pass_over_what_is_not_named_as_an_object_of_a_store(place: Path) -> None:
    publish(place, 1)
    for name in ("packs/aa/readme.txt", "packs/stray", "assets/zz/x", "index/notes.parquet"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"!")
    _, remote = remote_at(place)
    assert (remote.list_packs(), remote.list_loose(), len(remote.list_index())) == ({}, {}, 1)


@pytest.mark.parametrize("said", [b"{", b"3", b'{"format": 2}'])
def test_another_format_is_refused(place: Path, said: bytes) -> None:
    place.mkdir(parents=True)
    (place / "format.json").write_bytes(said)
    with pytest.raises(StoreFormat):
        remote_at(place)[1].make()


def test_a_cache_that_cannot_be_written_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    kept = KeptObjects(tmp_path / "file" / "folder")
    kept.keep("name", b"data")
    kept.forget_all_but(set())
    assert kept.find("name") is None
    assert KeptObjects(None).find("name") is None
