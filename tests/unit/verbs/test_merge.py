"""`Repo.resolve`: conflicts of a merge are listed and decided, one by one or many at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapin import Repo
from datapin.errors import DatapinError
from datapin.manifest.merge import Side
from worlds import RAW, World


@pytest.fixture
def torn(world: World) -> World:
    """Two branches gave the rows of class b other labels, and one of them removed what the other edited."""
    Repo.init(world.path, hooks=True)
    world.clone.git("checkout", "-q", "-b", "theirs")
    world.repo.update(RAW, "label = 'theirs'", where="label = 'b'")
    world.repo.update(RAW, "label = 'edited'", where="key = 'c/00.bin'")
    world.clone.commit("theirs")
    world.clone.git("checkout", "-q", "main")
    world.repo.update(RAW, "label = 'ours'", where="label = 'b'")
    world.repo.remove(RAW, where="key = 'c/00.bin'")
    world.clone.commit("ours")
    world.clone.run("git", "merge", "-q", "theirs", code=1)
    return world


def test_conflicts_are_listed(torn: World) -> None:
    report = torn.repo.resolve(RAW)
    assert (report.dataset, report.settled, report.digest) == (RAW, 0, None)
    cells = {(one.key, one.column): (one.base, one.ours, one.theirs) for one in report.conflicts}
    assert cells["b/00.bin", "label"] == ("b", "ours", "theirs")
    (row,) = [one for one in report.conflicts if one.is_whole_row]
    assert row.key == "c/00.bin"


@pytest.mark.parametrize(("side", "label"), [("ours", "ours"), (Side.THEIRS, "theirs")])
def test_a_side_decides_all(torn: World, side: Side, label: str) -> None:
    report = torn.repo.resolve(Path(RAW), side=side)
    assert (report.conflicts, report.rows) == ([], 6 if label == "ours" else 7)
    assert torn.labels()["b/00.bin"] == label
    assert ("c/00.bin" in torn.key_list()) == (label == "theirs")


def test_some_rows_first_then_the_rest(torn: World) -> None:
    some = torn.repo.resolve(RAW, side="theirs", where="key = 'b/00.bin'")
    assert (some.settled, len(some.conflicts), some.digest) == (1, 2, None)
    last = torn.repo.resolve(RAW, side="ours")
    assert last.conflicts == []
    assert torn.labels()["b/00.bin"] == "theirs"
    assert torn.labels()["b/01.bin"] == "ours"


def test_values_of_the_users_own(torn: World) -> None:
    torn.repo.resolve(RAW, side="ours", where="key = 'c/00.bin'")
    report = torn.repo.resolve(RAW, values={"label": "both"})
    assert report.conflicts == []
    assert torn.labels()["b/01.bin"] == "both"
    assert report.digest == torn.repo.show(RAW).digest


def test_nothing_to_resolve(world: World) -> None:
    with pytest.raises(DatapinError) as refused:
        world.repo.resolve(RAW, side="ours")
    assert refused.value.hint
