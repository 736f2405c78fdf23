"""`push --again`: what is damaged on the remote is replaced by what is good here; nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from datapin.base.errors import DamagedPack
from datapin.store.layout import loose_key, pack_key
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.fetch import fetch_assets
from datapin.transfer.push import push_versions
from datapin.transfer.report import TransferReport

from .conftest import (
    CONTENTS,
    NO_MANIFESTS,
    SETTINGS,
    check_holds,
    files_below,
    fill,
    ids_of,
    push,
    remote_at,
    version_of,
)


def again(
    store: Store, remote: RemoteStore, contents: Sequence[bytes] = CONTENTS, dry_run: bool = False
) -> TransferReport:
    report = push_versions(store, remote, [version_of(contents)], NO_MANIFESTS, jobs=2, again=True, dry_run=dry_run)
    assert not report.failures
    return report


def spoil(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def cut(path: Path) -> None:
    spoil(path, path.read_bytes()[:-9])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    spoil(path, bytes(data))


def assets_below(place: Path) -> dict[str, bytes]:
    return {name: data for name, data in files_below(place).items() if name.startswith(("packs/", "assets/"))}


def check_mended(place: Path, before: dict[str, bytes], yours: Store) -> None:
    assert assets_below(place) == before
    fetch_assets(yours, remote_at(place), ids_of(CONTENTS), jobs=2)
    check_holds(yours, CONTENTS)


@pytest.fixture
def before(mine: Store, remote: RemoteStore, place: Path) -> dict[str, bytes]:
    """The packs and loose assets on the remote, once all was pushed."""
    push(mine, remote, CONTENTS)
    return assets_below(place)


@pytest.mark.parametrize("harm", [cut, lambda path: spoil(path, b""), lambda path: spoil(path, b"x" * 50_000)])
@pytest.mark.parametrize("pattern", ["packs/*/*", "assets/*/*"])
def test_an_object_of_another_size_is_replaced(
    mine: Store, yours: Store, place: Path, before: dict[str, bytes], pattern: str, harm: Callable[[Path], None]
) -> None:
    for path in sorted(place.glob(pattern))[:2]:
        harm(path)
    again(mine, remote_at(place))
    check_mended(place, before, yours)


def test_a_damaged_object_that_no_index_names_is_replaced(
    mine: Store, yours: Store, place: Path, before: dict[str, bytes]
) -> None:
    for path in place.glob("index/*"):
        path.unlink()
    cut(next(place.glob("packs/*/*")))
    with pytest.raises(DamagedPack):
        push(mine, remote_at(place), CONTENTS[:50])
    again(mine, remote_at(place))
    check_mended(place, before, yours)


@pytest.mark.parametrize("pattern", ["packs/*/*", "assets/*/*"])
def test_what_a_deep_check_here_found_damaged_is_replaced(
    mine: Store, yours: Store, place: Path, before: dict[str, bytes], tmp_path: Path, pattern: str
) -> None:
    victim, good = sorted(place.glob(pattern))[:2]
    flip(victim)
    key = {"packs/*/*": pack_key, "assets/*/*": loose_key}[pattern]
    remote = remote_at(place, tmp_path / "cache")
    remote.note_damage([key(victim.stem), key(good.stem)])
    report = again(mine, remote)
    assert report.packs == 1, "what is good is read, and stays"
    check_mended(place, before, yours)
    assert remote.noted_damage() == frozenset()


@pytest.mark.parametrize("harm", [cut, flip])
@pytest.mark.parametrize("known", [True, False])
def test_an_index_is_put_back_or_read_from_the_packs(
    mine: Store,
    yours: Store,
    place: Path,
    before: dict[str, bytes],
    tmp_path: Path,
    harm: Callable[[Path], None],
    known: bool,
) -> None:
    remote = remote_at(place, tmp_path / "cache")
    if known:
        remote.index()
    (index,) = place.glob("index/*")
    harm(index)
    again(mine, remote)
    check_mended(place, before, yours)


def test_an_index_that_named_the_assets_of_others_names_them_afterwards(
    mine: Store, yours: Store, place: Path, before: dict[str, bytes], tmp_path: Path
) -> None:
    others = [b"only theirs", b"theirs, too"]
    theirs = fill(Store.create(tmp_path / "theirs", SETTINGS), others)
    push(theirs, remote_at(place), others)
    for index in place.glob("index/*"):
        cut(index)
    again(mine, remote_at(place))
    fetch_assets(yours, remote_at(place), ids_of([*CONTENTS, *others]), jobs=2)
    check_holds(yours, [*CONTENTS, *others])


def test_what_has_no_good_copy_here_stays_as_it_lies(
    mine: Store, yours: Store, place: Path, before: dict[str, bytes]
) -> None:
    victim = next(place.glob("packs/*/*"))
    fetch_assets(yours, remote_at(place), ids_of(CONTENTS[1::3]), jobs=2)
    cut(victim)
    harmed = victim.read_bytes()
    again(yours, remote_at(place), CONTENTS[1::3])
    assert victim.read_bytes() == harmed, "a cut-off pack may still hold good assets"
    reader = Store.create(place.parent / "reader", SETTINGS)
    fetch_assets(reader, remote_at(place), ids_of(CONTENTS[1::3]), jobs=2)
    check_holds(reader, CONTENTS[1::3])


def test_a_dry_run_changes_nothing(mine: Store, place: Path, before: dict[str, bytes]) -> None:
    cut(next(place.glob("packs/*/*")))
    harmed = files_below(place)
    assert again(mine, remote_at(place), dry_run=True).packs == 1
    assert files_below(place) == harmed


@pytest.mark.parametrize("said", [b"[", b"{}", b"[1]", json.dumps(["../../outside"]).encode()])
def test_a_note_that_is_damaged_is_no_note(
    mine: Store, place: Path, before: dict[str, bytes], tmp_path: Path, said: bytes
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "damaged.json").write_bytes(said)
    assert again(mine, remote_at(place, tmp_path / "cache")).packs == 0
