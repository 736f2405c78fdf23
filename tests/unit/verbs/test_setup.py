"""`Repo.find`, `init`, `doctor`, `rebuild_index`: a repository is made ready, and says what is wrong with it."""

from __future__ import annotations

import shutil

import pytest

from clones import Clone
from datapin import Repo
from datapin.base.progress import SILENT
from datapin.errors import DatapinError, NoRepository, Usage
from worlds import RAW, SECOND, World


def test_find_from_anywhere_below(world: World) -> None:
    for start in (world.path, str(world.path), world.path / "data"):
        assert Repo.find(start, progress=SILENT, jobs=1).root == world.path
    with pytest.raises(NoRepository):
        Repo.find(world.path.parent)
    with pytest.raises(Usage, match="jobs=0"):
        Repo.find(world.path, jobs=0)


def test_find_from_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.path / "data")
    assert Repo.find().root == world.path


def test_init_is_safe_to_repeat(clone: Clone) -> None:
    first = Repo.init(clone.path, progress=SILENT)
    assert first.created
    again = Repo.init(str(clone.path))
    assert (again.created, again.changed) == ([], [])


def test_init_with_a_remote_originals_and_a_job_for_ci(clone: Clone) -> None:
    clone.dvc("remote", "add", "-q", "lab", str(clone.path.parent / "remote"))
    (clone.path / "photos").mkdir()
    report = Repo.init(clone.path, remote="lab", ci="github", originals="photos")
    assert any(".github" in name for name in report.created)
    assert "/photos" in (clone.path / ".gitignore").read_text()
    assert 'remote = "lab"' in (clone.path / ".datapin" / "config.toml").read_text()
    with pytest.raises(DatapinError, match="nowhere"):
        Repo.init(clone.path, remote="nowhere")
    assert any("gitlab" in name for name in Repo.init(clone.path, ci="gitlab").created)
    with pytest.raises(DatapinError, match="jenkins"):
        Repo.init(clone.path, ci="jenkins")  # type: ignore[arg-type]


def test_init_with_a_template_writes_over_nothing(clone: Clone) -> None:
    (clone.path / "params.yaml").write_text("mine: 1\n")
    report = Repo.init(clone.path, template="image")
    assert "dvc.yaml" in report.created
    assert [note for note in report.notes if note.startswith("params.yaml as it is")]
    assert (clone.path / "params.yaml").read_text() == "mine: 1\n"
    with pytest.raises(DatapinError, match="video"):
        Repo.init(clone.path, template="video")


def test_hooks_come_and_go(clone: Clone) -> None:
    hook = clone.path / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\necho mine\n")
    hook.chmod(0o755)
    Repo.init(clone.path, hooks=True)
    assert "datapin" in hook.read_text()
    Repo.init(clone.path, hooks=False)
    assert hook.read_text() == "#!/bin/sh\necho mine\n"


def test_doctor_finds_nothing_and_something(world: World) -> None:
    assert world.repo.doctor().ok
    (world.path / ".dvc" / "config").write_text("[core]\n    remote = lost\n")
    report = world.repo.doctor()
    assert report.findings
    assert all(finding.hint for finding in report.findings if finding.severity == "error")


def test_an_index_that_is_lost_is_built_again(world: World) -> None:
    store = world.path / ".git" / "datapin" / "store"
    shutil.rmtree(store / "index")
    report = world.repo.rebuild_index()
    assert (report.assets, report.problems) == (8, ())
    assert [sample.key for sample in world.repo.open(RAW) if sample.read()] == SECOND


def test_an_index_is_built_of_what_is_there(world: World) -> None:
    shutil.rmtree(world.path / ".git" / "datapin" / "store" / "packs")
    report = world.repo.rebuild_index()
    assert (report.packs, report.loose, report.assets) == (0, 0, 0)
    assert world.repo.status(RAW).datasets[0].missing_local == 7
    assert world.repo.rebuild_index() == report


def test_a_store_that_is_gone_is_an_empty_one(world: World) -> None:
    shutil.rmtree(world.path / ".git" / "datapin" / "store")
    assert world.repo.rebuild_index().assets == 0
    assert world.repo.status(RAW).datasets[0].missing_local == 7
