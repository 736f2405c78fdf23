"""`Repo.verify`, `checks`: does what is pinned hold, and which rows differ from a base?"""

from __future__ import annotations

import pytest

from datapin.errors import DatapinError, UnknownVersion, Usage
from worlds import RAW, World


def test_a_commit_that_holds(world: World) -> None:
    report = world.repo.verify("HEAD")
    assert report.ok, report.findings
    assert (report.rev, len(report.commit or "")) == ("HEAD", 40)
    assert [(one.dataset, one.rows) for one in report.datasets] == [(RAW, 7)]
    assert {check.name for check in report.checks} <= {check.name for check in world.repo.checks()}


def test_the_work_tree_with_an_edit_that_is_not_saved(world: World) -> None:
    assert world.repo.verify().rev is None
    shard = next((world.path / RAW).glob("*.parquet"))
    shard.chmod(0o644)
    shard.write_bytes(shard.read_bytes()[:-8])
    report = world.repo.verify()
    assert not report.ok
    assert all(finding.message for finding in report.findings)
    assert world.repo.verify("HEAD").ok, "the commit's rows are in DVC's cache"


@pytest.mark.parametrize("names", ["pins", ["pins.readable"], ("pins", "hygiene")])
def test_checks_by_name_and_group(world: World, names: str | list[str]) -> None:
    ran = {check.name for check in world.repo.verify("HEAD", checks=names).checks}
    wanted = [names] if isinstance(names, str) else names
    assert ran
    assert all(any(name == one or name.startswith(f"{one}.") for one in wanted) for name in ran)


def test_an_unknown_check(world: World) -> None:
    with pytest.raises(DatapinError, match=r"pins\.nothing"):
        world.repo.verify("HEAD", checks="pins.nothing")


def test_deep_reads_every_byte(world: World) -> None:
    report = world.repo.verify("HEAD", deep=True)
    assert report.ok
    needs = {check.name for check in world.repo.checks() if check.needs_bytes}
    assert needs & {check.name for check in report.checks}
    pack = next(path for path in (world.path / ".git" / "datapin" / "store" / "packs").rglob("*") if path.is_file())
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    data[20] ^= 1
    pack.write_bytes(data)
    assert not world.repo.verify("HEAD", deep=True).ok


def test_remote_asks_the_remote(world: World) -> None:
    assert not world.repo.verify("HEAD", remote=True).ok, "nothing was pushed"
    world.repo.push()
    report = world.repo.verify("HEAD", remote=True)
    assert report.ok, report.findings
    assert {check.name for check in report.checks} > {check.name for check in world.repo.verify("HEAD").checks}
    deep = world.repo.verify("HEAD", remote=True, deep=True)
    assert "deep.remote" in [check.name for check in deep.checks]
    elsewhere = world.repo.verify("HEAD", remote=True, remote_name="nowhere")
    assert [finding for finding in elsewhere.findings if "nowhere" in finding.message + finding.where]
    assert not elsewhere.ok
    assert world.repo.verify("HEAD", remote=True, remote_name="lab").ok


def test_a_base_shows_which_rows_differ(world: World) -> None:
    diff = world.repo.verify("HEAD", base="v1").diff
    assert diff is not None
    (raw,) = diff.datasets
    assert (raw.dataset, raw.added, raw.removed, raw.changed, raw.differs) == (RAW, 2, 1, 1, True)
    assert raw.columns == {"label": 1}
    assert world.repo.verify("HEAD").diff is None


def test_repro_without_stages_computes_nothing(world: World) -> None:
    report = world.repo.verify("HEAD", repro=True, sample=2)
    assert report.ok, report.findings
    with pytest.raises(Usage, match="sample=0"):
        world.repo.verify("HEAD", repro=True, sample=0)


def test_a_revision_that_is_not_there(world: World) -> None:
    for name in ("v9", "\0"):
        for asked in ({"rev": name}, {"rev": "HEAD", "base": name}):
            with pytest.raises(UnknownVersion, match=name):
                world.repo.verify(**asked)  # type: ignore[arg-type]
