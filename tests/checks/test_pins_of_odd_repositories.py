"""Pins of repositories that are laid out in other ways than the template's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from checks.planted import Planted
from clones import Clone, write_images
from datapin.base.findings import Finding
from datapin.base.progress import SILENT
from datapin.verbs.verify.verify import verify
from datapin.verbs.workspace.workspace import Workspace

COPY = """\
stages:
  copy:
    cmd: sh copy.sh
    deps: [data/raw, copy.sh]
    outs: [data/copy]
"""


@pytest.fixture(scope="module")
def once(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, and a stage of a user's own that copies it."""
    clone = Clone(tmp_path_factory.mktemp("odd") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    write_images(clone.path / "img", per_class=2)
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    (clone.path / "dvc.yaml").write_text(COPY)
    (clone.path / "copy.sh").write_text("cp -r data/raw data/copy\n")
    clone.dvc("repro", "-q")
    clone.commit("v1")
    return clone.path


@pytest.fixture
def copied(once: Path, tmp_path: Path) -> Clone:
    shutil.copytree(once, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def pins(repo: Clone, rev: str | None = None, *names: str) -> list[Finding]:
    return verify(Workspace.find(repo.path, progress=SILENT), rev, names=names or ("pins",)).findings


def test_a_repository_without_any_dataset_has_no_findings(repo: Clone) -> None:
    assert pins(repo) == []
    assert pins(repo, "HEAD") == []


def test_a_repository_without_any_commit_has_no_findings(repo: Clone) -> None:
    shutil.rmtree(repo.path / ".git")
    repo.git("init", "-q")
    assert pins(repo) == []


def test_source_datasets_without_a_pipeline_have_no_findings(filled: Clone) -> None:
    assert pins(filled) == []
    assert pins(filled, "HEAD") == []


def test_a_users_stage_that_copies_a_dataset_has_no_findings(copied: Clone) -> None:
    assert pins(copied) == []
    assert pins(copied, "HEAD") == []


def test_a_project_in_a_folder_of_a_larger_repository_has_no_findings(copied: Clone, tmp_path: Path) -> None:
    shutil.rmtree(copied.path / ".git")
    top = Clone(tmp_path / "larger")
    top.path.mkdir()
    shutil.move(copied.path, top.path / "ml")
    top.git("init", "-q", "-b", "main")
    top.commit("all")
    inner = Clone(top.path / "ml")
    assert pins(inner) == []
    assert pins(inner, "HEAD") == []
    (inner.path / "copy.sh").write_text("cp -r data/raw data/copy # again\n")
    top.commit("stale")
    assert {one.check for one in pins(inner, "HEAD")} == {"pins.stale-code"}
    assert pins(inner, "HEAD~1") == []


def test_settings_of_today_that_complete_a_remote_do_not_spoil_an_old_commit(copied: Clone) -> None:
    with (copied.path / ".dvc/config").open("a") as config:
        config.write("['remote \"lab\"']\n    url = s3://nowhere/lab\n")
    (copied.path / ".dvc/config.local").write_text("['remote \"lab\"']\n    access_key_id = x\n")
    assert pins(copied, "HEAD") == []


def test_a_pipeline_that_dvc_is_told_to_ignore_is_not_looked_at(copied: Clone) -> None:
    (copied.path / "template").mkdir()
    (copied.path / "template/dvc.yaml").write_text("stages:\n  never: {cmd: echo, outs: [x]}\n")
    assert [one.where for one in pins(copied)] == ["template/dvc.yaml:never"]
    (copied.path / ".dvcignore").write_text("/template/\n")
    copied.commit("ignored")
    assert pins(copied) == []
    assert pins(copied, "HEAD") == []


@pytest.mark.planted("pins.stale-code", "a folder of code had files that Git ignores when its stage ran")
def test_files_that_git_ignores_in_a_folder_of_code_are_found_in_the_commit(copied: Clone, planted: Planted) -> None:
    (copied.path / "code/__pycache__").mkdir(parents=True)
    (copied.path / "code/a.py").write_text("1")
    (copied.path / "code/__pycache__/a.pyc").write_text("1")
    (copied.path / ".gitignore").write_text("__pycache__\n/img\n")
    (copied.path / "dvc.yaml").write_text(COPY.replace("copy.sh]", "copy.sh, code]"))
    copied.dvc("repro", "-q")
    copied.commit("with a folder of code")
    assert pins(copied) == []
    (found,) = planted.seen(pins(copied, "HEAD"))
    assert ".dvcignore" in found.hint
    (copied.path / ".dvcignore").write_text("__pycache__\n")
    copied.dvc("repro", "-q")
    copied.commit("without them")
    assert pins(copied, "HEAD") == []


def test_a_long_command_is_told_where_it_differs(copied: Clone) -> None:
    long = "sh copy.sh " + "x" * 100
    (copied.path / "dvc.yaml").write_text(COPY.replace("sh copy.sh", f"{long}  y"))
    (copied.path / "dvc.lock").write_text((copied.path / "dvc.lock").read_text().replace("sh copy.sh", f"{long} y"))
    (found,) = pins(copied)
    assert "xx  y'" in found.message
    assert "xx y'" in found.message


def test_another_project_in_a_folder_below_is_not_looked_at(copied: Clone) -> None:
    inner = Clone(copied.path / "inner")
    inner.path.mkdir()
    inner.dvc("init", "-q", "--subdir")
    (inner.path / "dvc.yaml").write_text("stages:\n  never: {cmd: echo, outs: [x]}\n")
    copied.commit("another project")
    assert pins(copied) == []
    assert pins(copied, "HEAD") == []


def test_an_input_that_lies_outside_of_the_repository_is_told(copied: Clone, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("outside")
    (copied.path / "dvc.yaml").write_text(COPY.replace("copy.sh]", f"copy.sh, {tmp_path / 'outside.txt'}]"))
    copied.dvc("repro", "-q")
    checked = verify(Workspace.find(copied.path, progress=SILENT), None, names=("pins",))
    assert checked.findings == []
    assert ["outside.txt" in note for note in checked.notes] == [True]


def test_inputs_above_and_below_a_pinned_folder_are_compared_with_the_pins(copied: Clone) -> None:
    text = (
        "  list:\n    cmd: ls -R data > list.txt\n    deps: [data/raw/part-00000.parquet, data]\n    outs: [list.txt]\n"
    )
    (copied.path / "data/notes.txt").write_text("notes\n")
    (copied.path / "dvc.yaml").write_text(COPY + text)
    copied.dvc("repro", "-q")
    copied.commit("both")
    assert pins(copied) == []
    assert pins(copied, "HEAD") == []
    copied.datapin("update", "data/raw", "--set", "label = 'b'", "--where", "key = 'a/00.bin'", "-q")
    messages = [one.message for one in pins(copied) if one.where == "dvc.yaml:list"]
    assert [message.split()[2] for message in messages] == ["data/raw/part-00000.parquet", "data"]


@pytest.mark.parametrize(
    "spoil",
    [
        ("dvc.yaml", "deps: [data/raw, copy.sh]", "deps: {a: b}"),
        ("dvc.yaml", "cmd: sh copy.sh", "cmd: sh ${no.such} copy.sh"),
        ("dvc.yaml", "stages:\n", "stages: 3\nx:\n"),
        ("dvc.yaml", "    deps", "\t deps"),
    ],
    ids=["not dvc's form", "a template without a value", "no stages", "no YAML"],
)
@pytest.mark.planted("pins.stale-pipeline", "DVC cannot read dvc.yaml")
@pytest.mark.planted("pins.stale-params", "DVC cannot read dvc.yaml")
@pytest.mark.planted("pins.stale-code", "DVC cannot read dvc.yaml")
@pytest.mark.planted("pins.stale-data", "DVC cannot read dvc.yaml")
def test_a_pipeline_that_dvc_cannot_read_passes_no_check(
    copied: Clone, planted: Planted, spoil: tuple[str, str, str]
) -> None:
    file, before, after = spoil
    place = copied.path / file
    assert before in place.read_text()
    place.write_text(place.read_text().replace(before, after, 1))
    copied.commit("spoiled")
    for rev in (None, "HEAD"):
        findings = pins(copied, rev)
        if any(one.check == "pins.readable" for one in findings):
            assert {one.where for one in findings} == {"dvc.yaml"}  # the others leave it at a note
            planted.was_seen = True
        else:
            planted.seen(findings)


HOSTILE: list[Any] = [
    "stages: []\n",
    "stages:\n  copy: 3\n",
    "stages:\n  copy:\n    cmd: x\n    outs: {a: b}\n",
    "stages:\n  copy:\n    cmd: x\n    outs:\n    - path: ../../x\n      md5: ../../../etc/passwd\n",
    "stages:\n  copy:\n    cmd: x\n    outs:\n    - path: data/copy\n      md5: 00000000000000000000000000000000.dir\n",
    "stages:\n  copy:\n    cmd: x\n    params: 3\n",
    "- a\n- b\n",
    "stages: !!python/object/apply:os.system [echo]\n",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_lock_that_no_dvc_wrote_is_an_error_and_no_traceback(copied: Clone, text: str) -> None:
    (copied.path / "dvc.lock").write_text(f"schema: '2.0'\n{text}" if not text.startswith("-") else text)
    copied.commit("hostile")
    for rev in (None, "HEAD"):
        assert any(one.severity == "error" for one in pins(copied, rev))
