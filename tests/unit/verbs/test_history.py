"""`Repo.diff`, `status`, `log`, `row_log`: what changed, when and by whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapin.errors import UnknownDataset, UnknownKey, UnknownVersion, Usage
from worlds import RAW, World


def test_diff_of_two_versions_and_back(world: World) -> None:
    there, back = world.repo.diff(RAW, "v1", "v2"), world.repo.diff(Path(RAW), "v2", "v1")
    assert (there.added, there.removed, there.changed) == (2, 1, 1) == (back.removed, back.added, back.changed)
    assert there.columns == {"label": 1}
    assert [(row.key, row.change) for row in there.rows] == [
        ("a/00.bin", "changed"), ("b/02.bin", "removed"), ("c/00.bin", "added"), ("c/01.bin", "added"),
    ]  # fmt: skip
    changed = there.rows[0]
    assert (changed.before, changed.after) == ({"label": "a"}, {"label": "c"})
    assert there.differs


def test_diff_is_from_head_to_the_work_tree(world: World) -> None:
    assert not world.repo.diff(RAW).differs
    world.repo.update(RAW, "label = 'z'", where="label = 'b'")
    assert world.repo.diff(RAW).changed == 2
    assert world.repo.diff(RAW, "v1").changed == 2 + 1


def test_diff_of_some_rows_and_a_limit_on_the_list(world: World) -> None:
    assert [row.key for row in world.repo.diff(RAW, "v1", "v2", where="label = 'c'").rows] == [
        "a/00.bin", "c/00.bin", "c/01.bin",
    ]  # fmt: skip
    some = world.repo.diff(RAW, "v1", "v2", limit=1)
    assert (len(some.rows), some.added, some.removed, some.changed) == (1, 2, 1, 1)
    assert world.repo.diff(RAW, "v1", "v2", limit=0).rows == []


def test_diff_writes_a_page(world: World) -> None:
    page = world.path / "out" / "diff.html"
    page.parent.mkdir()
    world.repo.diff(RAW, "v1", "v2", html=page)
    text = page.read_text()
    assert "b/02.bin" in text
    assert "://" not in text, "nothing is loaded from outside"


@pytest.mark.parametrize(("a", "b"), [("v9", None), ("v1", "v9")])
def test_diff_of_a_version_that_is_not_there(world: World, a: str, b: str | None) -> None:
    with pytest.raises(UnknownVersion, match="v9"):
        world.repo.diff(RAW, a, b)


def test_status_of_a_clean_work_tree(world: World) -> None:
    status = world.repo.status()
    assert not status.differs
    assert not status.is_broken
    (raw,) = status.datasets
    assert (raw.dataset, raw.missing_local, raw.is_new, raw.problem) == (RAW, 0, False, None)
    assert raw.head is not None
    assert not raw.head.any
    assert raw == world.repo.status(Path(RAW)).datasets[0] == world.repo.status([RAW]).datasets[0]


def test_status_counts_what_is_not_added_and_not_committed(world: World) -> None:
    (world.path / "photos" / "a" / "01.bin").write_bytes(b"edited")
    world.repo.update(RAW, "label = 'z'", where="label = 'b'")
    (raw,) = world.repo.status(RAW).datasets
    assert raw.tree is not None
    assert raw.head is not None
    assert raw.tree.changed == 1
    assert raw.head.changed == 2
    assert world.repo.status().differs


def test_status_asks_the_remote_when_told_to(world: World) -> None:
    assert world.repo.status(RAW, ask=True).datasets[0].pushed is False
    world.repo.push()
    (raw,) = world.repo.status(RAW, ask=True).datasets
    assert (raw.not_pushed, raw.pushed) == (0, True)


def test_status_of_a_clone_without_data(world: World) -> None:
    world.repo.push()
    second = world.second_clone()
    (raw,) = second.repo.status().datasets
    assert raw.problem is not None
    assert not second.repo.status().is_broken, "it can be fetched"
    second.repo.fetch(RAW, where="label = 'b'")
    assert second.repo.status().datasets[0].missing_local == 5


def test_status_of_an_unknown_dataset(world: World) -> None:
    with pytest.raises(UnknownDataset):
        world.repo.status("data/none")


def test_log_has_every_version_newest_first(world: World) -> None:
    newest, oldest = world.repo.log(RAW)
    assert (newest.subject, newest.tags, newest.back, newest.rows) == ("v2", ["v2"], 0, 7)
    assert (newest.added, newest.removed, newest.changed) == (2, 1, 1)
    assert (oldest.subject, oldest.added, oldest.author, oldest.is_unreadable) == ("v1", 6, "t", False)
    assert [entry.subject for entry in world.repo.log(Path(RAW), limit=1)] == ["v2"]
    assert [entry.subject for entry in world.repo.log(f"{RAW}@v1")] == ["v1"]


def test_log_tells_that_a_dataset_was_removed(world: World) -> None:
    world.clone.git("rm", "-q", f"{RAW}.dvc")
    world.clone.commit("gone")
    newest, *_ = world.repo.log(RAW)
    assert (newest.subject, newest.digest, newest.rows) == ("gone", None, 0)


def test_row_log_follows_one_row(world: World) -> None:
    newest, oldest = world.repo.row_log(RAW, "a/00.bin")
    assert (newest.change, newest.before, newest.after) == ("changed", {"label": "a"}, {"label": "c"})
    assert (oldest.change, oldest.before) == ("added", None)
    assert [entry.change for entry in world.repo.row_log(RAW, "b/02.bin")] == ["removed", "added"]
    assert [entry.change for entry in world.repo.row_log(RAW, "b/02.bin", limit=1)] == ["removed"]
    with pytest.raises(UnknownKey):
        world.repo.row_log(RAW, "zz/none.bin")


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_a_number_of_versions(world: World, limit: int) -> None:
    for read in (world.repo.log, lambda name, limit: world.repo.row_log(name, "a/00.bin", limit=limit)):
        with pytest.raises(Usage, match=f"limit={limit}"):
            read(RAW, limit=limit)
    with pytest.raises(Usage, match="limit=-1"):
        world.repo.diff(RAW, limit=-1)
