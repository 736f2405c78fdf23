"""`Repo` and `datapin.open`, `write`: the verbs from Python, with the words and answers of the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import datapin
from clones import ENVIRONMENT, Clone, write_images
from datapin.errors import EXIT_REFUSED, DatapinError, Refused, UnknownDataset

RAW = Path("data/raw")


@pytest.fixture
def opened(repo: Clone, monkeypatch: pytest.MonkeyPatch) -> datapin.Repo:
    """A repository with folders photos/a and photos/b, 3 files each."""
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    write_images(repo.path / "photos", per_class=3)
    return datapin.Repo.find(str(repo.path))


def test_one_name_is_as_good_as_many_and_a_path_as_good_as_text(opened: datapin.Repo, repo: Clone) -> None:
    photos = opened.root / "photos"
    assert opened.add(photos, to=RAW, label="parent").added == 6
    assert opened.add(str(photos), to="data/raw", label="parent").unchanged == 6
    assert opened.add([photos], to=RAW, label="parent").unchanged == 6
    repo.commit("data")
    for named in (RAW, "data/raw", [RAW], ("data/raw",)):
        assert [one.dataset for one in opened.status(named).datasets] == ["data/raw"]
        assert opened.restore(named).datasets[0].dataset == "data/raw"
        assert opened.rollback(named, to="HEAD", dry_run=True).datasets[0].dataset == "data/raw"
    assert opened.update(RAW, "label = 'c'", where="label = 'a'").changed == 3
    assert opened.diff(RAW).changed == 3
    assert opened.ls(RAW, columns="label").column_names == opened.ls(RAW, columns=["label"]).column_names
    assert opened.show("data/raw@HEAD") == opened.show(Path("data/raw@HEAD"))
    assert opened.checkout(RAW, into=opened.root / "out").written == 6
    assert {one.check for one in opened.verify("HEAD", checks="pins.readable").findings} <= {"pins.readable"}
    assert "pins.readable" in [one.name for one in opened.checks()]


def test_rows_are_written_from_arrow_and_from_pandas(opened: datapin.Repo) -> None:
    opened.add(opened.root / "photos", to=RAW)
    rows = opened.open(RAW).to_pandas()
    rows["label"] = "x"
    assert opened.write(RAW, rows).changed == 6
    assert opened.write("data/raw", datapin.open(RAW, repo=opened.root).table).unchanged == 6
    assert datapin.write(RAW, rows, repo=str(opened.root)).unchanged == 6


def test_a_program_may_be_asked_as_the_user_is(opened: datapin.Repo) -> None:
    photos, asked = opened.root / "photos", []

    def confirm(what: str) -> bool:
        asked.append(what)
        return len(asked) > 1

    opened.add(photos, to=RAW)
    for path in [*(photos / "a").iterdir(), *list((photos / "b").iterdir())[:1]]:
        path.unlink()
    with pytest.raises(Refused):
        opened.add(photos, to=RAW, mirror=True, confirm=confirm)
    assert opened.add(photos, to=RAW, mirror=True, confirm=confirm).removed == 4
    assert len(asked) == 2


def test_reports_are_what_json_prints(opened: datapin.Repo, repo: Clone) -> None:
    opened.add(opened.root / "photos", to=RAW)
    repo.commit("data")
    reports: dict[str, Any] = {"show": opened.show(RAW), "diff": opened.diff(RAW), "status": opened.status(RAW)}
    for verb, report in reports.items():
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(report, dataclasses.fields(report)[0].name, "another")
        assert dataclasses.asdict(report) == repo.json(verb, "data/raw"), verb
        assert type(report).__name__ in str(report)


def test_errors_have_one_home(opened: datapin.Repo) -> None:
    with pytest.raises(UnknownDataset) as raised:
        opened.show("data/none")
    assert isinstance(raised.value, DatapinError)
    assert raised.value.kind == "unknown-dataset"
    assert Refused.exit_code == EXIT_REFUSED
