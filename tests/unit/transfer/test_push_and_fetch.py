"""Push and fetch between real stores and a directory: everything arrives, verified, and nothing twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from datapin.base import failpoints
from datapin.base.errors import AssetsMissing, DamagedAsset, DamagedPack, RemoteUnreachable, StoreFormat
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.fetch import fetch_assets
from stored import read_roots

from .conftest import CONTENTS, SETTINGS, check_holds, files_below, fill, harm, ids_of, push, remote_at


def test_what_is_pushed_can_be_fetched_elsewhere(mine: Store, yours: Store, place: Path) -> None:
    pushed = push(mine, remote_at(place), CONTENTS)
    fetched = fetch_assets(yours, remote_at(place), ids_of(CONTENTS), jobs=2)
    check_holds(yours, CONTENTS)
    assert pushed.assets == fetched.assets == len(CONTENTS)
    assert pushed.packs == fetched.packs
    assert pushed.bytes == fetched.bytes
    assert pushed.skipped == fetched.skipped == 0


def test_the_remote_is_itself_a_store_in_the_same_layout(mine: Store, remote: RemoteStore, place: Path) -> None:
    push(mine, remote, CONTENTS)
    opened = Store.open(place, SETTINGS)
    check_holds(opened, CONTENTS)
    before = opened.index_state
    assert opened.rebuild_index().assets == len(CONTENTS)
    assert opened.index_state == before


def test_whole_packs_keep_their_names(mine: Store, yours: Store, remote: RemoteStore, place: Path) -> None:
    push(mine, remote, CONTENTS)
    fetch_assets(yours, remote, ids_of(CONTENTS), jobs=2)
    packs = sorted(path.name for path in (mine.root / "packs").rglob("*.pack"))
    assert len(packs) > 3
    for root in (place, yours.root):
        assert sorted(path.name for path in (root / "packs").rglob("*.pack")) == packs


def test_nothing_moves_twice(mine: Store, yours: Store, remote: RemoteStore, place: Path) -> None:
    push(mine, remote, CONTENTS)
    before = files_below(place)
    again = push(mine, remote_at(place), CONTENTS)
    assert (again.assets, again.packs, again.bytes, again.skipped) == (0, 0, 0, len(CONTENTS))
    assert files_below(place) == before
    fetch_assets(yours, remote, ids_of(CONTENTS), jobs=1)
    state = yours.index_state
    again = fetch_assets(yours, remote, ids_of(CONTENTS), jobs=1)
    assert (again.assets, again.packs, again.bytes, again.skipped) == (0, 0, 0, len(CONTENTS))
    assert yours.index_state == state


def test_a_few_assets_are_taken_out_of_their_packs(mine: Store, yours: Store, remote: RemoteStore, place: Path) -> None:
    push(mine, remote, CONTENTS)
    few = CONTENTS[5:50:12]
    report = fetch_assets(yours, remote, ids_of(few), jobs=2)
    assert report.assets == len(few)
    assert report.packs == 1
    check_holds(yours, few)
    assert len(yours.index) == len(few)


def test_a_push_of_a_few_assets_repacks_them(mine: Store, remote: RemoteStore, place: Path) -> None:
    few = CONTENTS[5:50:12]
    report = push(mine, remote, few)
    assert (report.assets, report.packs) == (len(few), 1)
    check_holds(Store.open(place, SETTINGS), few)
    assert len(remote.index()) == len(few)


def test_two_people_push_what_the_other_has_not(mine: Store, yours: Store, remote: RemoteStore, place: Path) -> None:
    fill(yours, [*CONTENTS[:20], b"only mine", b"only mine too"])
    push(mine, remote, CONTENTS)
    report = push(yours, remote_at(place), [*CONTENTS[:20], b"only mine"])
    assert (report.assets, report.skipped) == (1, 20)
    fetch_assets(mine, remote, ids_of([b"only mine"]), jobs=1)
    check_holds(mine, [*CONTENTS, b"only mine"])


def test_a_dry_run_says_what_would_move_and_moves_nothing(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    plan = push(mine, remote, CONTENTS, dry_run=True)
    assert (plan.assets, plan.skipped, plan.requests) == (len(CONTENTS), 0, 0)
    assert not place.exists()
    done = push(mine, remote, CONTENTS)
    assert done.assets == plan.assets
    plan = fetch_assets(yours, remote, ids_of(CONTENTS), jobs=1, dry_run=True)
    assert plan.assets == len(CONTENTS)
    assert len(yours.index) == 0


def test_assets_that_are_nowhere_are_named_with_the_right_advice(
    mine: Store, yours: Store, remote: RemoteStore
) -> None:
    with pytest.raises(AssetsMissing) as caught:
        push(yours, remote, CONTENTS[:3])
    assert caught.value.count == 3
    assert "datapin fetch" in caught.value.hint
    with pytest.raises(AssetsMissing) as caught:
        fetch_assets(yours, remote, ids_of(CONTENTS[:3]), jobs=1)
    assert caught.value.names[0] == hashlib.sha256(CONTENTS[0]).hexdigest()
    assert str(remote.url) in caught.value.message
    assert "datapin push" in caught.value.hint


def test_a_damaged_pack_here_is_not_pushed(mine: Store, remote: RemoteStore, place: Path) -> None:
    for path in (mine.root / "packs").rglob("*.pack"):
        harm(path)
    with pytest.raises(DamagedAsset):
        push(mine, remote, CONTENTS)
    assert not (place / "roots").exists()


def test_the_good_assets_of_a_damaged_pack_are_pushed(mine: Store, remote: RemoteStore, place: Path) -> None:
    places = mine.locate(ids_of(CONTENTS[:10]))
    pack = mine.pack_path(places.packs[int(places.pack[0])])
    harm(pack, int(places.offset[3]) + 5)
    wanted = [data for number, data in enumerate(CONTENTS[:10]) if number != 3]
    report = push(mine, remote, wanted)
    assert report.assets >= len(wanted)
    check_holds(Store.open(place, SETTINGS), wanted)


def test_a_damaged_loose_asset_is_not_pushed(mine: Store, remote: RemoteStore) -> None:
    harm(mine.loose_path(hashlib.sha256(CONTENTS[-1]).digest()))
    with pytest.raises(DamagedAsset):
        push(mine, remote, CONTENTS)


def test_damage_on_the_remote_never_arrives(mine: Store, yours: Store, remote: RemoteStore, place: Path) -> None:
    push(mine, remote, CONTENTS)
    for path in [p for folder in ("packs", "assets") for p in (place / folder).rglob("*") if p.is_file()]:
        whole = path.read_bytes()
        for broken in (whole[:-1], whole[:10], whole[:60] + bytes([whole[60] ^ 1]) + whole[61:], b""):
            path.write_bytes(broken)
            try:
                fetch_assets(yours, remote_at(place), ids_of(CONTENTS), jobs=1)
            except (DamagedAsset, AssetsMissing):
                pass
            else:
                # Only damage outside of every asset can be got around: the assets were taken out one by one.
                check_holds(yours, CONTENTS)
            for raw in yours.index.entries.ids:
                assert hashlib.sha256(yours.read(raw.tobytes().hex())).digest() == raw.tobytes()
            yours = Store.create(yours.root.with_name(f"{path.name[:8]}-{len(broken)}"), SETTINGS)
        path.write_bytes(whole)


def test_a_pack_that_is_gone_from_the_remote_is_got_around_or_named(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    push(mine, remote, CONTENTS)
    next((place / "packs").rglob("*.pack")).unlink()
    with pytest.raises((DamagedAsset, AssetsMissing)):
        fetch_assets(yours, remote, ids_of(CONTENTS), jobs=1)


def test_another_copy_on_the_remote_is_used_when_one_is_damaged(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    few = CONTENTS[5:50:12]
    push(mine, remote, few)
    (first,) = (place / "packs").rglob("*.pack")
    other = fill(Store.create(place.parent / "other", SETTINGS), [*few, b"one more"])
    for key, data in files_below(other.root).items():
        (place / key).parent.mkdir(parents=True, exist_ok=True)
        (place / key).write_bytes(data)
    harm(first)
    fetch_assets(yours, remote_at(place), ids_of(few), jobs=1)
    check_holds(yours, few)


def test_a_pack_with_a_right_name_but_wrong_ids_is_refused(
    mine: Store, yours: Store, remote: RemoteStore, place: Path
) -> None:
    """Whoever may write to the remote can name a pack rightly and lie about what is in it."""
    from datapin.pack.table import records_from_bytes
    from datapin.pack.writer import PackWriter
    from datapin.store.index import entries_of_table

    remote.make()
    writer = PackWriter(place / "lie")
    writer.append(hashlib.sha256(b"true").digest(), b"a lie")
    sealed = writer.seal()
    pack = bytes.fromhex(sealed.pack_id)
    remote.put_object(f"packs/{sealed.pack_id[:2]}/{sealed.pack_id}.pack", Path(sealed.path), sealed.size_bytes)
    remote.publish_index(entries_of_table(pack, records_from_bytes(sealed.table)))
    with pytest.raises(DamagedAsset):
        fetch_assets(yours, remote, ids_of([b"true"]), jobs=1)
    assert len(yours.index) == 0


def test_a_remote_of_another_format_is_refused(mine: Store, yours: Store, remote: RemoteStore, place: Path) -> None:
    place.mkdir(parents=True)
    (place / "format.json").write_text('{"format": 9}')
    with pytest.raises(StoreFormat):
        push(mine, remote, CONTENTS)
    with pytest.raises(StoreFormat):
        fetch_assets(yours, remote, ids_of(CONTENTS), jobs=1)


def test_a_damaged_index_on_the_remote_is_told(mine: Store, yours: Store, remote: RemoteStore, place: Path) -> None:
    push(mine, remote, CONTENTS)
    harm(next((place / "index").iterdir()))
    with pytest.raises(DamagedPack):
        fetch_assets(yours, remote_at(place), ids_of(CONTENTS), jobs=1)


def test_an_object_of_another_size_under_a_packs_name_is_an_alarm(
    mine: Store, remote: RemoteStore, place: Path
) -> None:
    push(mine, remote, CONTENTS)
    pack = next((place / "packs").rglob("*.pack"))
    os.truncate(pack, 50)
    for path in (place / "index").iterdir():
        path.unlink()
    with pytest.raises(DamagedPack, match="holds 50 bytes"):
        push(mine, remote_at(place), CONTENTS)


@pytest.mark.parametrize("point", ["backend.put.written", "backend.put.synced", "backend.put.linked"])
def test_a_push_cut_off_before_the_index_stays_invisible_and_a_rerun_sends_the_rest(
    mine: Store, yours: Store, place: Path, point: str
) -> None:
    for hit in (2, 4):
        cut_off(f"{point}:{hit}:exit", lambda: push(mine, remote_at(place), CONTENTS))
        assert len(remote_at(place).index()) == 0
    there = len([key for key in files_below(place) if key.startswith(("packs/", "assets/")) and ".tmp-" not in key])
    total = len(list((mine.root / "packs").rglob("*.pack"))) + 2
    report = push(mine, remote_at(place), CONTENTS)
    assert report.packs == total - there
    fetch_assets(yours, remote_at(place), ids_of(CONTENTS), jobs=1)
    check_holds(yours, CONTENTS)


def cut_off(armed: str, action: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        failpoints._armed = armed
        try:
            action()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == failpoints.KILLED


def test_transfers_cut_off_at_any_failpoint_finish_when_run_again(mine: Store, tmp_path: Path) -> None:
    wanted = [*CONTENTS[:40], *CONTENTS[45:60:7], *CONTENTS[-4:]]

    def transfer(folder: Path) -> None:
        remote = remote_at(folder / "remote")
        push(mine, remote, wanted)
        fetch_assets(Store.create(folder / "yours", SETTINGS), remote, ids_of(wanted), jobs=1)

    log = tmp_path / "log"
    child = os.fork()
    if child == 0:
        failpoints._log = str(log)
        transfer(tmp_path / "clean")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    points = set(log.read_text().split())
    assert points >= {
        "push.packs.sent",
        "push.index.sent",
        "push.root.settled",
        "push.manifests.sent",
        "fetch.pack.synced",
        "fetch.staged",
    }
    for point in sorted(points):
        folder = tmp_path / point
        cut_off(f"{point}:1:exit", partial(transfer, folder))
        transfer(folder)
        check_holds(Store.open(folder / "yours", SETTINGS), wanted)
        states = [record.state for _, record in read_roots(remote_at(folder / "remote"))]
        assert states.count("final") == 1


def test_a_remote_that_refuses_is_one_error(mine: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(RemoteUnreachable):
        push(mine, remote_at(tmp_path / "file" / "datapin"), CONTENTS)
